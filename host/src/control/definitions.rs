//! The definitions that upstreams show, in comparison with the approved ones, for `witgate upstream`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use witgate_base::digest::digest_text;
use witgate_config::pins::EntryKind;
use witgate_flow::definitions::{DefinitionWatches, SeenEntry};
use witgate_policy::generation::{Generation, Pipeline};

/// The upstreams of the live generation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct UpstreamsReport {
    /// The number of the live generation.
    pub generation: u64,
    /// In the order of the configuration.
    pub upstreams: Vec<UpstreamPins>,
}

/// The comparison of the definitions of one upstream, in short.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct UpstreamPins {
    pub name: String,
    /// `off`, `warn` or `hold`.
    pub pins: String,
    /// The number of approved definitions.
    pub approved: usize,
    /// The number of listed definitions that are not approved, as far as lists have shown them.
    pub unapproved: usize,
}

/// The definitions that the lists of one upstream have shown.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ShownByLists {
    /// The number of the live generation.
    pub generation: u64,
    /// The digest of its approved definitions. None: definitions are not compared.
    pub approved: Option<String>,
    /// The kinds of entries whose lists have been read to their ends.
    pub complete: Vec<String>,
    /// The entries, with their latest definitions.
    pub entries: Vec<ShownEntry>,
}

/// An entry that a list has shown.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ShownEntry {
    /// `tool`, `prompt`, `resource` or `resource template`.
    pub kind: String,
    pub name: String,
    /// The digest of its definition. None: it cannot be read.
    pub digest: Option<String>,
    /// Its definition. None: it cannot be read, or is too large to be kept.
    pub definition: Option<Value>,
    /// True if the last list has it.
    pub listed: bool,
}

/// The upstreams at this moment.
pub(super) fn upstreams(live: &Generation, watches: &DefinitionWatches) -> UpstreamsReport {
    let upstreams = live.served().map(|pipeline| of_pipeline(pipeline, watches)).collect();
    UpstreamsReport { generation: live.number(), upstreams }
}

/// The upstreams whose definitions are compared.
pub(super) fn compared(live: &Generation, watches: &DefinitionWatches) -> Vec<UpstreamPins> {
    let compared = live.pipelines().iter().filter(|pipeline| pipeline.pins().is_some());
    compared.map(|pipeline| of_pipeline(pipeline, watches)).collect()
}

/// The comparison of the definitions of one upstream.
pub(super) fn of_pipeline(pipeline: &Pipeline, watches: &DefinitionWatches) -> UpstreamPins {
    let name = pipeline.upstream.to_string();
    let Some(pins) = pipeline.pins() else {
        return UpstreamPins { name, pins: "off".to_owned(), ..UpstreamPins::default() };
    };
    let unapproved = watches.of(&name).iter().map(|watch| watch.unapproved(&pins.approved)).sum();
    UpstreamPins { name, pins: pins.mode.name().to_owned(), approved: pins.approved.len(), unapproved }
}

/// The definitions that the lists of one upstream have shown.
///
/// # Errors
/// If there is no such upstream.
pub(super) fn shown(
    live: &Generation,
    watches: &DefinitionWatches,
    upstream: &str,
) -> Result<ShownByLists, String> {
    let pipeline = live.served().find(|pipeline| &*pipeline.upstream == upstream);
    let pipeline = pipeline.ok_or_else(|| format!("there is no upstream `{upstream}`"))?;
    let mut report = ShownByLists {
        generation: live.number(),
        approved: pipeline.pins().map(|pins| digest_text(pins.approved.digest())),
        ..ShownByLists::default()
    };
    for watch in watches.of(upstream) {
        let (entries, complete) = watch.seen();
        report.entries.extend(entries.into_iter().map(entry));
        report.complete.extend(complete.into_iter().map(EntryKind::name).map(str::to_owned));
    }
    Ok(report)
}

fn entry(seen: SeenEntry) -> ShownEntry {
    ShownEntry {
        kind: seen.kind.name().to_owned(),
        name: seen.name,
        digest: seen.digest.as_ref().map(digest_text),
        definition: seen.definition,
        listed: seen.is_listed,
    }
}
