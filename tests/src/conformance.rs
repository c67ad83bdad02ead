//! Runs the official MCP conformance suite against a URL and compares two runs check for check.
//!
//! ```no_run
//! # use witgate_tests::conformance::{Baseline, Suite, compare};
//! # fn main() -> anyhow::Result<()> {
//! # let (node, direct, through, output) = ("node".as_ref(), "", "", std::path::Path::new("."));
//! let suite = Suite::installed(node);
//! let direct = suite.run(direct, "2026-07-28", &output.join("direct"))?;
//! let through = suite.run(through, "2026-07-28", &output.join("through"))?;
//! let baseline = Baseline::installed()?;
//! assert_eq!(compare(&direct, &through, &baseline.of("2026-07-28", "http")), vec![]);
//! # Ok(())
//! # }
//! ```

mod baseline;
mod compare;
mod key_proxy;
mod results;
mod suite;

pub use baseline::{Baseline, Expected, Outcome};
pub use compare::{Difference, compare};
pub use key_proxy::KeyProxy;
pub use results::{Check, Status};
pub use suite::Suite;

use std::path::PathBuf;

/// The directory of the suite, its lockfile and the baseline.
fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("conformance")
}
