//! The collector of traces.

use std::sync::Arc;

use super::finding::CheckFinding;
use super::installation::Installation;
use super::outcome::CheckOutcome;
use crate::traces::try_collector;

pub(super) async fn examine(installation: Arc<Installation>) -> CheckOutcome {
    let Some(settings) = &installation.config.telemetry else { return CheckOutcome::default() };
    // A path or a query may contain the key of an account.
    let collector = settings.traces_url.origin().ascii_serialization();
    if installation.is_offline {
        return CheckFinding::skip(format!("{collector} was not asked (--offline)")).into();
    }
    match try_collector(settings, &installation.ways).await {
        Ok(()) => CheckFinding::pass(format!("{collector} takes traces")),
        Err(why) => CheckFinding::fail(format!("{collector} takes no traces: {why}"))
            .because("spans are lost; calls go on")
            .fix("name the collector's port for OTLP over HTTP (4318 by default), or leave `otlp_endpoint` out")
            .at(installation.place(&["telemetry", "otlp_endpoint"])),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::super::finding::FindingLevel;
    use super::super::installation::tests::{OPEN, installed};
    use super::*;
    use witgate_testing::http_double::{HttpDouble, HttpDoubleAnswer};

    async fn found(endpoint: &str) -> CheckFinding {
        let (_folder, installation) = installed(&format!(
            "[telemetry]\notlp_endpoint = '{endpoint}'\n[upstreams.a]\nown_tools = true\n{OPEN}"
        ));
        examine(Arc::new(installation)).await.findings.remove(0)
    }

    #[tokio::test]
    async fn a_collector_that_takes_nothing_passes() {
        let server = HttpDouble::start(|request| {
            HttpDoubleAnswer::new(if request.path == "/v1/traces" { 200 } else { 404 }, "")
        });
        assert_eq!(found(&server.url("")).await.level, FindingLevel::Pass);
    }

    #[tokio::test]
    async fn a_collector_that_is_away_or_refuses_fails_at_its_setting() {
        let away = found("http://127.0.0.1:1").await;
        assert_eq!((away.level, away.place.unwrap().line), (FindingLevel::Fail, 2));
        let server = HttpDouble::start(|_| HttpDoubleAnswer::new(404, ""));
        assert_eq!(found(&server.url("")).await.level, FindingLevel::Fail);
    }
}
