pub(crate) enum End { Once, OnSignal }
pub(crate) fn run(_: &std::path::Path, _: End) -> anyhow::Result<()> { Ok(()) }
