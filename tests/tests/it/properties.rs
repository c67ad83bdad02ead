//! Properties that hold for all rules, names, answers and moments.

use std::sync::LazyLock;

use proptest::test_runner::Config;
use tokio::runtime::Runtime;

mod combination;
mod explained_requests;
mod explanations;
mod generation_setup;
mod generations;
mod held_back_pipelines;
mod lists;
mod outcomes;
mod passwords;
mod patterns;
mod random_requests;
mod readers;

/// The number of trials, which take little time; `PROPTEST_CASES` sets another.
pub(crate) fn cases(usual: u32) -> Config {
    let number = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    Config { cases: number.unwrap_or(usual), failure_persistence: None, ..Config::default() }
}

/// Properties are synchronous; the code under test is async.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap());
