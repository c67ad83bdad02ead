//! The certificate of `[server.tls]`, and the URL under which clients call.

use url::Url;

use super::finding::CheckFinding;
use super::installation::Installation;
use witgate_base::clock;
use witgate_config::Transport;
use witgate_server::tls::TlsState;

/// The time before the end of a certificate from which on it is a warning.
const SOON_S: u64 = 14 * 86_400;

pub(super) fn examine(installation: &Installation) -> Vec<CheckFinding> {
    let config = &installation.config;
    if config.server.transport != Transport::Http {
        return Vec::new();
    }
    let Some(settings) = config.server.tls.clone() else { return without_tls(installation) };
    match TlsState::load(settings) {
        Ok(state) => of_certificate(installation, &state),
        Err(error) => vec![
            CheckFinding::fail(error.message)
                .because("`witgate serve` does not start")
                .fix(format!("correct `{}`", error.setting))
                .at(installation.place(&["server", "tls", error.setting])),
        ],
    }
}

/// Without TLS here, a proxy in front has to terminate it. On loopback, none is needed.
fn without_tls(installation: &Installation) -> Vec<CheckFinding> {
    let server = &installation.config.server;
    if server.listen.ip().is_loopback() {
        return Vec::new();
    }
    vec![
        CheckFinding::warn(format!("{} takes plain HTTP from other machines", server.listen))
            .because("keys and tokens are readable on the way, unless a proxy in front terminates TLS")
            .fix("set `[server.tls]`, or listen on loopback behind a proxy")
            .at(installation.place(&["server", "listen"])),
    ]
}

fn of_certificate(installation: &Installation, state: &TlsState) -> Vec<CheckFinding> {
    let place = installation.place(&["server", "tls", "certificate"]);
    let mut findings: Vec<_> =
        validity(state.expires_at(), clock::since_epoch().as_secs()).into_iter().collect();
    for upstream in &installation.config.upstreams {
        let url = Url::parse(&upstream.resource).ok().filter(|url| url.scheme() == "https");
        let host = url.as_ref().and_then(Url::host_str);
        if let Some(host) = host.filter(|host| !state.is_for(host)) {
            let message = format!(
                "the certificate is not for `{host}`, the host of the resource of `{}`",
                upstream.name
            );
            let finding = CheckFinding::fail(message)
                .because("clients that call this host refuse the certificate")
                .fix("get a certificate with this name, or correct `resource`");
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    if findings.is_empty() {
        findings.push(CheckFinding::pass("the certificate and its key fit, and are valid"));
    }
    findings
        .into_iter()
        .map(|finding| if finding.fix.is_some() { finding.at(place.clone()) } else { finding })
        .collect()
}

fn validity(expires_at: Option<u64>, now: u64) -> Option<CheckFinding> {
    let end = expires_at?;
    let days = end.saturating_sub(now) / 86_400;
    if end <= now {
        return Some(
            CheckFinding::fail("a certificate of the chain has expired")
                .because("clients refuse the connection")
                .fix("renew the certificate; the files are read again when they change"),
        );
    }
    (end - now < SOON_S).then(|| {
        CheckFinding::warn(format!("a certificate of the chain expires in {days} days"))
            .because("clients will refuse the connection then")
            .fix("renew the certificate, and see why that does not happen by itself")
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::FindingLevel;
    use super::super::installation::tests::{OPEN, installed, installed_with};
    use super::*;
    use witgate_config::environment::Environment;
    use witgate_testing::keys::{CERTIFICATE, PRIVATE};

    fn examined(resource: &str, certificate: &str) -> Vec<CheckFinding> {
        let text = format!(
            "[server]\nresource = '{resource}'\n[server.tls]\ncertificate = 'c.pem'\nkey = {{ file = 'k.pem' }}\n[upstreams.a]\n\
             own_tools = true\n{OPEN}"
        );
        let files = [("c.pem", certificate), ("k.pem", PRIVATE)];
        let (_folder, installation) = installed_with(&text, &files, Environment::default());
        examine(&installation)
    }

    #[test]
    fn a_certificate_for_the_host_of_the_resource_passes() {
        let findings = examined("https://mcp.example.com/mcp", CERTIFICATE);
        assert_eq!(
            findings.iter().map(|one| one.level).collect::<Vec<_>>(),
            [FindingLevel::Pass],
            "{findings:?}"
        );
    }

    #[test]
    fn a_certificate_for_another_host_fails() {
        let findings = examined("https://other.example.com/mcp", CERTIFICATE);
        assert!(findings[0].message.contains("not for `other.example.com`"), "{findings:?}");
        assert_eq!(findings[0].place.as_ref().unwrap().line, 4);
    }

    #[test]
    fn a_file_that_is_no_certificate_fails() {
        assert_eq!(examined("https://mcp.example.com/mcp", "none")[0].level, FindingLevel::Fail);
    }

    #[test]
    fn the_end_of_a_certificate_is_told_in_time() {
        assert_eq!(validity(Some(SOON_S + 100), 100), None);
        assert_eq!(validity(Some(SOON_S + 99), 100).unwrap().level, FindingLevel::Warn);
        assert_eq!(validity(Some(100), 100).unwrap().level, FindingLevel::Fail);
    }

    #[test]
    fn plain_http_for_other_machines_is_a_warning() {
        let open = |listen: &str| {
            let text = format!("[server]\nlisten = '{listen}'\n[upstreams.a]\nown_tools = true\n{OPEN}");
            examine(&installed(&text).1).len()
        };
        assert_eq!((open("0.0.0.0:8787"), open("127.0.0.1:8787")), (1, 0));
    }
}
