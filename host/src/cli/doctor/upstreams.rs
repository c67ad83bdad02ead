//! The upstreams: each is started or asked once, as a client would, and gives its lists.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::{ACCEPT, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{Request, StatusCode};
use http_body_util::Full;
use secrecy::ExposeSecret as _;
use tokio::time::timeout;
use url::{Host, Url};

use super::finding::{CheckFinding, FindingLevel};
use super::http_probe::{ProbedAnswer, send};
use super::installation::Installation;
use super::outcome::CheckOutcome;
use crate::cli::live_lists::{ListAnswers, ListedUpstream, read_all};
use witgate_base::clock::{self, Clock};
use witgate_cases::factory::Factory;
use witgate_component::compile::Compiler;
use witgate_component::engine::Engine;
use witgate_component::load::Loader;
use witgate_config::credentials::OutboundSource;
use witgate_config::pins::EntryKind;
use witgate_config::{Upstream, UpstreamTarget};
use witgate_credentials::grant_key::GrantKey;
use witgate_credentials::grant_store::GrantStore;
use witgate_upstream::child::program;
use witgate_upstream::child::trial::{CommandTrial, try_command};
use witgate_upstream::era::SpokenEras;

/// Maximum time for all lists of an upstream.
const LONGEST_LISTS: Duration = Duration::from_secs(60);

/// The length of a text in `headers` or `env` from which on it may be a secret.
const SHORTEST_SECRET: usize = 8;

/// A message that changes nothing at a server.
const PING: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

pub(super) async fn examine(installation: Arc<Installation>) -> CheckOutcome {
    let engine = match Engine::new() {
        Ok(engine) => engine,
        Err(error) => return CheckFinding::skip(format!("no upstream was asked: {error}")).into(),
    };
    let loader = Loader::new(engine, Compiler::own(), None);
    let factory = Factory::new(loader, installation.environment.clone(), Clock::System);
    let places = 0..installation.config.upstreams.len();
    let examined = places.map(|place| of_upstream(&installation, &factory, place));
    join_all(examined).await.into_iter().collect()
}

async fn of_upstream(installation: &Installation, factory: &Factory, place: usize) -> CheckOutcome {
    let Some(upstream) = installation.config.upstreams.get(place) else { return CheckOutcome::default() };
    let name = &upstream.name;
    if installation.config.broken.upstreams.contains(name) {
        return CheckOutcome::default();
    }
    let target = match &upstream.target {
        UpstreamTarget::Command { argv, .. } => {
            if let Err(why) = program::check(argv) {
                return placed(installation, name, "command", vec![missing_program(name, &why)]);
            }
            "command"
        }
        UpstreamTarget::Url { .. } | UpstreamTarget::Sse { .. } => "url",
        UpstreamTarget::OwnTools => "own_tools",
        UpstreamTarget::Embedded => {
            return CheckFinding::skip(format!("`{name}` is a service of the program that embeds Witgate"))
                .into();
        }
        UpstreamTarget::Broken => return CheckOutcome::default(),
    };
    if installation.is_offline && target != "own_tools" {
        return CheckFinding::skip(format!("`{name}` was not asked (--offline)")).into();
    }
    let mut outcome = CheckOutcome::default();
    if let UpstreamTarget::Url { url, .. } = &upstream.target {
        outcome.extend(without_credential(installation, upstream, url).await);
    }
    if let Some(why) = obstacle(upstream) {
        outcome.findings.push(CheckFinding::skip(format!("`{name}` was not asked for its lists: {why}")));
        return outcome;
    }
    let is_ready = match try_command(upstream).await {
        None => true,
        Some(tried) => {
            let (is_ready, findings) = of_trial(name, tried);
            outcome.extend(placed(installation, name, target, findings));
            is_ready
        }
    };
    // Without an answer, there are no lists.
    if is_ready && outcome.findings.iter().all(|finding| finding.level != FindingLevel::Fail) {
        outcome.extend(placed(
            installation,
            name,
            target,
            vec![of_lists(installation, factory, place, upstream).await],
        ));
    }
    outcome
}

/// Findings at a setting of an upstream.
fn placed(
    installation: &Installation,
    name: &str,
    setting: &str,
    findings: Vec<CheckFinding>,
) -> CheckOutcome {
    let place = installation.place(&["upstreams", name, setting]);
    let at = |finding: CheckFinding| {
        if finding.fix.is_some() && finding.place.is_none() { finding.at(place.clone()) } else { finding }
    };
    findings.into_iter().map(at).collect::<Vec<_>>().into()
}

fn missing_program(name: &str, why: &str) -> CheckFinding {
    CheckFinding::fail(format!("`{name}`: {why}"))
        .because("`witgate serve` does not start")
        .fix("install the program, or write its full path; arguments are further elements of the list")
}

/// The findings about a trial, and true if the command can be asked for its lists.
fn of_trial(name: &str, tried: Result<CommandTrial, String>) -> (bool, Vec<CheckFinding>) {
    let trial = match tried {
        Ok(trial) => trial,
        Err(why) => return (false, vec![missing_program(name, &why)]),
    };
    let mut findings = Vec::new();
    if !trial.has_answered {
        let message = match trial.has_ended_early {
            true => format!("the command of `{name}` ended without an answer"),
            false => format!("the command of `{name}` did not answer in time"),
        };
        findings.push(
            CheckFinding::fail(message)
                .because("no call of this upstream works")
                .fix("run the command in a shell: it has to be an MCP server over stdio, with its variables under `env`"),
        );
    }
    if trial.noise > 0 {
        findings.push(
            CheckFinding::warn(format!("the command of `{name}` writes {} lines to stdout that are no messages", trial.noise))
                .because("Witgate skips them, and clients without Witgate may break; ten thousand within ten seconds end it")
                .fix("let the server write its log to stderr"),
        );
    }
    if trial.has_answered && !trial.ends_with_input {
        findings.push(
            CheckFinding::warn(format!("the command of `{name}` goes on when its stdin is closed"))
                .because("Witgate has to end it by a signal, and without Witgate it stays behind (MCP, \"stdio\")")
                .fix("let the server end at the end of its input; a package runner or a shell before it may be the cause"),
        );
    }
    (trial.has_answered, findings)
}

/// Asks a server without a credential, which shows whether it requires one.
async fn without_credential(installation: &Installation, upstream: &Upstream, url: &Url) -> CheckOutcome {
    let name = &upstream.name;
    let asked = match ping(url) {
        Ok(request) => send(&installation.ways, request).await,
        Err(why) => Err(why),
    };
    let answer = match asked {
        Ok(answer) => answer,
        Err(why) => {
            let finding = CheckFinding::fail(format!("`{name}` gives no answer: {why}"))
                .because("no call of this upstream works")
                .fix("start the server, or correct its `url`; a proxy is named under `[network]`");
            return placed(installation, name, "url", vec![finding]);
        }
    };
    let finding = declared(upstream, url, &answer);
    let mut outcome = placed(installation, name, "url", finding.into_iter().collect());
    outcome.clocks.extend(answer.clock);
    outcome
}

fn ping(url: &Url) -> Result<Request<Full<Bytes>>, String> {
    Request::post(url.as_str())
        .header(ACCEPT, "application/json, text/event-stream")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from_static(PING)))
        .map_err(|error| error.to_string())
}

/// The finding about the answer to a request without a credential.
fn declared(upstream: &Upstream, url: &Url, answer: &ProbedAnswer) -> Option<CheckFinding> {
    let name = &upstream.name;
    let refuses = matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let sends = upstream.credentials.own.is_some() || !upstream.target.texts().is_empty();
    if refuses && !sends {
        let scheme = answer.headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let scheme = scheme.and_then(|value| value.split_whitespace().next());
        let kind = scheme.map_or_else(String::new, |scheme| format!(" ({scheme})"));
        return Some(
            CheckFinding::fail(format!(
                "`{name}` requires a credential{kind}, and the configuration has none"
            ))
            .because("each call is refused by the server")
            .fix("name one: `credential = \"NAME\"` with `[credentials.NAME]`, or `headers` with a secret"),
        );
    }
    let is_here = match url.host() {
        Some(Host::Domain(domain)) => domain == "localhost" || domain.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    (!refuses && answer.status.as_u16() < 500 && !is_here).then(|| {
        CheckFinding::warn(format!("`{name}` answers requests without a credential"))
            .because("whoever reaches the server can call it without Witgate")
            .fix("let the server require a credential, or let the network admit Witgate alone")
    })
}

/// The reason why the lists cannot be asked for without using something up.
fn obstacle(upstream: &Upstream) -> Option<String> {
    let of_children = &upstream.credentials.of_children;
    if !of_children.apis.is_empty() || !of_children.token_files.is_empty() {
        return Some("its process gets tokens that might be renewed; `witgate can` asks it".to_owned());
    }
    let own = upstream.credentials.own.as_ref()?;
    let name = &own.name;
    match &own.source {
        OutboundSource::Exchange(_) => Some(format!("`{name}` is made from the token of a caller")),
        OutboundSource::Grant(grant) if grant.connect.is_some() => {
            Some(format!("each caller has an account of their own for `{name}`"))
        }
        OutboundSource::Grant(grant) => {
            let now = clock::since_epoch().as_secs();
            let stored = GrantStore::of(grant).read(&GrantKey::shared(name)).ok().flatten();
            let lasts = stored.is_some_and(|stored| {
                // A renewal would use up the refresh token.
                let longest = now + LONGEST_LISTS.as_secs();
                !stored.has_ended && stored.renewal.or(stored.end).is_none_or(|end| end > longest)
            });
            (!lasts).then(|| format!("the token of `{name}` would have to be renewed; `witgate credential test {name} --send` does that"))
        }
        source if source.missing().is_some() => Some(format!("`{name}` is missing")),
        _ => None,
    }
}

async fn of_lists(
    installation: &Installation,
    factory: &Factory,
    place: usize,
    upstream: &Upstream,
) -> CheckFinding {
    let (name, began) = (&upstream.name, Instant::now());
    let (config, environment) = (&installation.config, &installation.environment);
    let listed = ListedUpstream { config, place, factory, environment };
    let why = match timeout(LONGEST_LISTS, read_all(listed, &EntryKind::TARGETS)).await {
        Ok(Ok(lists)) => return CheckFinding::pass(summary(name, &lists, began.elapsed())),
        Ok(Err(failure)) => redacted(upstream, failure.to_string()),
        Err(_) => format!("it takes longer than {LONGEST_LISTS:?}"),
    };
    CheckFinding::fail(format!("`{name}` gives no lists: {why}"))
        .because("clients see no tools")
        .fix("correct the target or its credential; `witgate can` repeats the question")
}

/// The text of a server, which knows the secrets that it gets.
fn redacted(upstream: &Upstream, text: String) -> String {
    let secrets = upstream.target.texts().iter().map(|(_, secret)| secret.expose_secret());
    let parts = secrets.flat_map(|secret| [secret, secret.rsplit(' ').next().unwrap_or(secret)]);
    parts.filter(|part| part.len() >= SHORTEST_SECRET).fold(text, |text, part| text.replace(part, "****"))
}

fn summary(name: &str, lists: &ListAnswers, time: Duration) -> String {
    let count = |kind: EntryKind, what: &str| {
        let list = lists.lists.iter().find(|list| list.kind == kind)?;
        let more = if list.is_cut { " at least" } else { "" };
        Some(format!("{} {what}{more}", list.entries.len()))
    };
    let kinds =
        [(EntryKind::Tool, "tools"), (EntryKind::Prompt, "prompts"), (EntryKind::Resource, "resources")];
    let counts: Vec<_> = kinds.into_iter().filter_map(|(kind, what)| count(kind, what)).collect();
    let era = lists.eras.map_or("", era);
    format!("`{name}` answers: {}{era}, within {:.1} s", counts.join(", "), time.as_secs_f64())
}

fn era(eras: SpokenEras) -> &'static str {
    match (eras.legacy, eras.modern) {
        (Some(false), true) => "; stateless era (2026-07-28)",
        (_, true) => "; both eras",
        (_, false) => "; stateful era (until 2025-11-25)",
    }
}

#[cfg(test)]
mod tests {
    use super::super::installation::tests::{OPEN, installed, installed_with};
    use super::*;
    use witgate_config::environment::Environment;
    use witgate_testing::http_double::{HttpDouble, HttpDoubleAnswer};

    async fn examined(upstream: &str) -> Vec<CheckFinding> {
        let (_folder, installation) = installed(&format!("[upstreams.a]\n{upstream}\n{OPEN}"));
        examine(Arc::new(installation)).await.findings
    }

    #[tokio::test]
    async fn an_upstream_that_gives_its_lists_passes() {
        let findings = examined("own_tools = true").await;
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].message.starts_with("`a` answers: "), "{findings:?}");
        assert_eq!(findings[0].level, FindingLevel::Pass);
    }

    #[tokio::test]
    async fn a_missing_program_and_one_that_ends_fail_at_the_command() {
        let missing = examined("command = ['no-such-program-x']").await;
        assert!(missing[0].message.contains("`no-such-program-x` is not installed"), "{missing:?}");
        assert_eq!((missing[0].level, missing[0].place.as_ref().unwrap().line), (FindingLevel::Fail, 2));
        let ended = examined("command = ['true']").await;
        assert!(ended[0].message.contains("ended without an answer"), "{ended:?}");
    }

    #[test]
    fn a_command_that_misbehaves_is_told() {
        let good = CommandTrial { has_answered: true, ends_with_input: true, ..CommandTrial::default() };
        assert_eq!(of_trial("a", Ok(good)), (true, Vec::new()));
        let (is_ready, findings) =
            of_trial("a", Ok(CommandTrial { noise: 2, ends_with_input: false, ..good }));
        assert!(is_ready && findings.iter().all(|finding| finding.level == FindingLevel::Warn));
        assert!(findings[0].message.contains("2 lines to stdout"), "{findings:?}");
        assert!(findings[1].message.contains("stdin is closed"), "{findings:?}");
    }

    #[tokio::test]
    async fn a_server_that_repeats_its_secret_does_not_show_it() {
        let server = HttpDouble::start(|request| {
            let error = format!(r#"{{"code":-32000,"message":"bad: {}"}}"#, request.authorization);
            HttpDoubleAnswer::json(200, format!(r#"{{"jsonrpc":"2.0","id":1,"error":{error}}}"#))
        });
        let text = format!(
            "[upstreams.a]\nurl = '{}'\nheaders = {{ Authorization = {{ env = 'T', prefix = 'Bearer ' }} }}\n{OPEN}",
            server.url("/mcp")
        );
        let environment: Environment = [("T", "hidden-value")].into_iter().collect();
        let (_folder, installation) = installed_with(&text, &[], environment);
        let findings = examine(Arc::new(installation)).await.findings;
        assert!(!format!("{findings:?}").contains("hidden-value"), "{findings:?}");
    }

    #[tokio::test]
    async fn a_server_that_is_away_fails() {
        let findings = examined("url = 'http://127.0.0.1:1/mcp'").await;
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!((findings[0].level, findings[0].place.as_ref().unwrap().line), (FindingLevel::Fail, 2));
    }

    #[tokio::test]
    async fn a_server_that_requires_a_credential_needs_one() {
        let server = HttpDouble::start(|_| {
            HttpDoubleAnswer::json(401, "{}").header("WWW-Authenticate", "Bearer realm=\"x\"")
        });
        let findings = examined(&format!("url = '{}'", server.url("/mcp"))).await;
        assert!(findings[0].message.contains("requires a credential (Bearer)"), "{findings:?}");
    }

    #[test]
    fn a_server_elsewhere_that_requires_no_credential_is_a_warning() {
        let declared_at = |url: &str, status: u16| {
            let (_folder, installation) = installed(&format!("[upstreams.a]\nurl = '{url}'\n{OPEN}"));
            let answer = ProbedAnswer {
                status: status.try_into().unwrap(),
                headers: Default::default(),
                body: Bytes::new(),
                clock: None,
            };
            let upstream = &installation.config.upstreams[0];
            declared(upstream, &url.parse().unwrap(), &answer).map(|finding| finding.level)
        };
        assert_eq!(declared_at("https://mcp.example.com/mcp", 400), Some(FindingLevel::Warn));
        assert_eq!(declared_at("https://mcp.example.com/mcp", 503), None);
        assert_eq!(declared_at("http://127.0.0.1:9/mcp", 400), None);
    }
}
