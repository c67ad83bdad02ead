//! The recording upstream over stdio: `recording-upstream FILE`.

fn main() -> std::io::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "recorded.txt".to_owned());
    witgate_tests::recorder::record_stdio(&path)
}
