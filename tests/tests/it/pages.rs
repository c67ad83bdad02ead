//! Pages that describe the code, compared with the code.

use std::sync::Arc;

use witgate_component::failure::Failure;
use witgate_credentials::fault::{MissingSource, OutboundFault, OutboundProblem};
use witgate_flow::reject::{Rejection, UpstreamFault};
use witgate_message::fault::MessageFault;
use witgate_policy::answer::Failed;
use witgate_tests::gateway::workspace;

/// Every setting must be described, and every description must have a setting.
#[test]
fn the_configuration_page_has_every_key() {
    let page = page("docs/configuration.md");
    let schema = witgate_config::raw::schema();
    let mut keys = properties(schema);
    for definition in schema["$defs"].as_object().unwrap().values() {
        keys.extend(properties(definition));
    }
    keys.sort();
    keys.dedup();
    let documented: Vec<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(key, _)| key.to_owned())
        // A row about a whole table, or in the table of effects about a key of one.
        .filter(|key| !key.starts_with('[') && !key.contains('.'))
        .collect();
    let untold: Vec<_> = keys.iter().filter(|key| !documented.contains(key)).collect();
    let unknown: Vec<_> = documented.iter().filter(|key| !keys.contains(key)).collect();
    assert!(untold.is_empty(), "docs/configuration.md says nothing on {untold:?}");
    assert!(unknown.is_empty(), "docs/configuration.md has what the schema has not: {unknown:?}");
}

/// The table of duties names existing tests.
#[test]
fn the_authorization_page_names_existing_tests() {
    let page = page("docs/mcp-authorization.md");
    let mut sources = String::new();
    let mut directories = vec![workspace().join("tests/tests/it"), workspace().join("host")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.extension().and_then(|suffix| suffix.to_str()) {
                _ if path.is_dir() => directories.push(path),
                Some("rs") => sources += &std::fs::read_to_string(path).unwrap(),
                _ => {}
            }
        }
    }
    let cells = page.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.rsplit('|').nth(1));
    let named: Vec<_> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let missing: Vec<_> = named
        .iter()
        .filter(|name| !name.contains('/') && !sources.contains(&format!("fn {name}(")))
        .collect();
    assert!(named.len() > 40, "{named:?}");
    assert!(missing.is_empty(), "docs/mcp-authorization.md names tests that there are not: {missing:?}");
}

fn properties(schema: &serde_json::Value) -> Vec<String> {
    schema["properties"].as_object().into_iter().flat_map(|all| all.keys().cloned()).collect()
}

/// `docs/mcp.md` says for every refusal which answer the caller gets.
#[test]
fn the_protocol_page_has_every_refusal() {
    let page = page("docs/mcp.md");
    for rejection in rejections() {
        let wire = rejection.wire();
        let cells = format!("| {} | {} |", wire.status.as_u16(), wire.code);
        let reason = format!("`{}`", wire.reason);
        let is_documented =
            page.lines().any(|line| line.starts_with('|') && line.contains(&reason) && line.contains(&cells));
        assert!(is_documented, "docs/mcp.md has no line with {reason} and `{cells}`");
    }
}

/// The label of a rejection in the metrics is the code that the caller gets.
#[test]
fn every_refusal_counts_under_its_code() {
    for rejection in rejections() {
        assert_eq!(rejection.code(), rejection.wire().code, "{rejection:?}");
    }
}

fn rejections() -> Vec<Rejection> {
    let text = String::new;
    let failed = |failure| {
        Rejection::Failed(Failed { policy: Arc::from("p"), failure, detail: text(), retry_after: None })
    };
    let upstream = |fault| Rejection::Upstream { fault, message: text() };
    let outbound = |problem| Rejection::from(OutboundFault::new(&Arc::from("c"), problem));
    let mut all = vec![
        Rejection::Malformed(MessageFault::Parse(text())),
        Rejection::Malformed(MessageFault::InvalidRequest(text())),
        Rejection::Malformed(MessageFault::InvalidParams(text())),
        Rejection::Malformed(MessageFault::HeaderMismatch(text())),
        Rejection::Malformed(MessageFault::UnsupportedVersion { requested: text(), supported: Vec::new() }),
        Rejection::Malformed(MessageFault::MissingExtension("extension")),
        Rejection::Malformed(MessageFault::UnknownMethod(text())),
        Rejection::Malformed(MessageFault::TooLarge),
        Rejection::BodyTimeout,
        Rejection::TooManyBodies,
        Rejection::TooManyConnections,
        Rejection::Malformed(MessageFault::UnsupportedMediaType),
        Rejection::Malformed(MessageFault::NotAcceptable),
        Rejection::Malformed(MessageFault::MethodNotAllowed),
        Rejection::Malformed(MessageFault::ForbiddenOrigin),
        Rejection::Malformed(MessageFault::ForbiddenHost),
        Rejection::Malformed(MessageFault::BadCredential(text())),
        Rejection::NoCredential,
        Rejection::Refused { policy: None, reason: "unrecognised".to_owned(), detail: None },
        Rejection::Denied { policy: None, denial: Default::default() },
        Rejection::TaskNotFound,
        Rejection::SessionRequired,
        Rejection::SessionNotFound,
        Rejection::RateLimited { retry_after: 1 },
        Rejection::UnsendableIdentity("why"),
        outbound(OutboundProblem::Missing(MissingSource::File)),
        outbound(OutboundProblem::Rejected),
        outbound(OutboundProblem::Refused { error: Arc::from("e") }),
        outbound(OutboundProblem::Unreachable { why: Arc::from("w") }),
        outbound(OutboundProblem::NoCallerToken),
        outbound(OutboundProblem::Ended),
        outbound(OutboundProblem::NotConnected),
        outbound(OutboundProblem::NoPrincipal),
        outbound(OutboundProblem::ConnectDenied { why: Arc::from("w") }),
        outbound(OutboundProblem::StateMismatch),
    ];
    all.extend(
        [
            Failure::Timeout,
            Failure::Memory,
            Failure::Trap,
            Failure::HostDenied,
            Failure::BadOutput,
            Failure::Unavailable,
            Failure::Config,
        ]
        .map(failed),
    );
    all.extend(
        [
            UpstreamFault::Unreachable,
            UpstreamFault::Timeout,
            UpstreamFault::BadAnswer,
            UpstreamFault::Flood,
            UpstreamFault::SecretExpired,
        ]
        .map(upstream),
    );
    all
}

fn page(path: &str) -> String {
    std::fs::read_to_string(workspace().join(path)).unwrap()
}
