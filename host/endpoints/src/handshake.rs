//! The handshake of an endpoint: one answer, made from those of the upstreams.

use serde_json::{Map, Value, json};
use witgate_config::PREFIX_END;
use witgate_message::headers::agree::{STATEFUL, STATELESS};
use witgate_message::json::{Members, quote, span_in, splice};

use crate::capabilities;
use crate::names::NamePlan;
use bytes::Bytes;

/// The name of a server in `_meta` of the stateless era.
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// An upstream's answer to a handshake.
#[derive(Clone, Debug)]
pub(crate) struct OpenedUpstream {
    pub(crate) place: usize,
    /// The version of `initialize`, or those of `server/discover`, that Witgate knows.
    pub(crate) versions: Vec<String>,
    capabilities: Map<String, Value>,
    instructions: Option<String>,
}

impl OpenedUpstream {
    /// Reads the result of `initialize` or `server/discover`. None: Witgate knows none of its versions.
    pub(crate) fn read(place: usize, result: &str) -> Option<Self> {
        let result = Members::read(result)?;
        let text = |name| result.get(name).and_then(|text| serde_json::from_str::<String>(text).ok());
        let several = result.get("supportedVersions").and_then(|text| serde_json::from_str(text).ok());
        let mut versions: Vec<String> = several.or_else(|| Some(vec![text("protocolVersion")?]))?;
        versions.retain(|version| STATEFUL.iter().chain(STATELESS).any(|known| known == version));
        let capabilities = result.get("capabilities").and_then(|text| serde_json::from_str(text).ok());
        let (capabilities, instructions) = (capabilities.unwrap_or_default(), text("instructions"));
        (!versions.is_empty()).then_some(Self { place, versions, capabilities, instructions })
    }

    /// The agreed version of `initialize`.
    pub(crate) fn version(&self) -> &str {
        self.versions.first().map_or("", String::as_str)
    }
}

/// The version that all upstreams speak: the oldest that one of them has answered. Versions are dates.
pub(crate) fn common_version(opened: &[OpenedUpstream]) -> Option<&str> {
    opened.iter().map(OpenedUpstream::version).min()
}

/// The `initialize` request `body` with this version.
pub(crate) fn request_with(body: &Bytes, version: &str) -> Option<Bytes> {
    let params = Members::read(std::str::from_utf8(body).ok()?)?.came("params")?;
    let span = span_in(body, Members::read(params)?.came("protocolVersion")?)?;
    Some(splice(body, &mut [(span, &quote(version))]))
}

/// The result of `initialize`. `missing` are the upstreams without an answer.
pub(crate) fn initialize_result(
    (plan, name): (&NamePlan, &str),
    opened: &[OpenedUpstream],
    version: &str,
    missing: &[usize],
) -> String {
    let mut result = common_result(plan, opened);
    result.insert("protocolVersion".to_owned(), json!(version));
    result.insert("serverInfo".to_owned(), server_info(name));
    if !missing.is_empty() {
        result.insert("_meta".to_owned(), Value::from(unavailable(plan, missing)));
    }
    Value::from(result).to_string()
}

/// The result of `server/discover`.
pub(crate) fn discover_result(
    (plan, name): (&NamePlan, &str),
    opened: &[OpenedUpstream],
    missing: &[usize],
) -> String {
    let mut result = common_result(plan, opened);
    let first = opened.first().map(|first| first.versions.clone()).unwrap_or_default();
    let is_common = |version: &String| opened.iter().all(|other| other.versions.contains(version));
    let versions: Vec<_> = first.into_iter().filter(is_common).collect();
    result.insert("supportedVersions".to_owned(), json!(versions));
    result.insert("resultType".to_owned(), json!("complete"));
    result.insert("ttlMs".to_owned(), json!(0));
    result.insert("cacheScope".to_owned(), json!("private"));
    let mut meta = unavailable(plan, missing);
    meta.insert(SERVER_INFO.to_owned(), server_info(name));
    result.insert("_meta".to_owned(), Value::from(meta));
    Value::from(result).to_string()
}

fn common_result(plan: &NamePlan, opened: &[OpenedUpstream]) -> Map<String, Value> {
    let parts = opened.iter().map(|part| (&part.capabilities, plan.offers_resources(part.place)));
    let mut result = Map::new();
    result.insert("capabilities".to_owned(), Value::from(capabilities::joined(parts)));
    let told = |part: &OpenedUpstream| {
        let (upstream, instructions) = (plan.upstream(part.place), part.instructions.as_ref()?);
        Some(format!(
            "Of the server `{upstream}`, whose names begin with `{upstream}{PREFIX_END}`:\n{instructions}"
        ))
    };
    let told: Vec<_> = opened.iter().filter_map(told).collect();
    if !told.is_empty() {
        result.insert("instructions".to_owned(), json!(told.join("\n\n")));
    }
    result
}

fn server_info(name: &str) -> Value {
    json!({ "name": name, "version": env!("CARGO_PKG_VERSION") })
}

/// `_meta` of an answer that lacks the part of these upstreams.
pub(crate) fn unavailable(plan: &NamePlan, missing: &[usize]) -> Map<String, Value> {
    let names: Vec<_> = missing.iter().map(|place| plan.upstream(*place)).collect();
    let member = ("witgate/unavailable".to_owned(), json!(names));
    if missing.is_empty() { Map::new() } else { Map::from_iter([member]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::plan;

    fn opened(place: usize, version: &str) -> OpenedUpstream {
        let result = format!(
            r#"{{"protocolVersion":"{version}","capabilities":{{"tools":{{}}}},"instructions":"Do.","serverInfo":{{}}}}"#
        );
        OpenedUpstream::read(place, &result).unwrap()
    }

    #[test]
    fn the_oldest_version_is_common() {
        let both = [opened(0, "2025-11-25"), opened(1, "2025-06-18")];
        assert_eq!(common_version(&both), Some("2025-06-18"));
        let request = Bytes::from_static(
            br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"capabilities":{},"protocolVersion":"2025-11-25"}}"#,
        );
        let again = request_with(&request, "2025-06-18").unwrap();
        assert!(again.ends_with(br#""capabilities":{},"protocolVersion":"2025-06-18"}}"#));
        assert!(OpenedUpstream::read(0, r#"{"protocolVersion":"0001-01-01"}"#).is_none());
    }

    #[test]
    fn one_answer_tells_of_all_and_of_those_that_are_missing() {
        let plan = plan(&[("a", &[]), ("b", &[])]);
        let result = initialize_result((&plan, "all"), &[opened(0, "2025-11-25")], "2025-11-25", &[1]);
        let result: Value = serde_json::from_str(&result).unwrap();
        assert_eq!(result["_meta"]["witgate/unavailable"], json!(["b"]));
        assert_eq!(result["serverInfo"]["name"], json!("all"));
        assert_eq!(result["instructions"], json!("Of the server `a`, whose names begin with `a__`:\nDo."));
        let parts = [
            OpenedUpstream::read(0, r#"{"supportedVersions":["2026-07-28","2025-11-25"]}"#).unwrap(),
            OpenedUpstream::read(1, r#"{"supportedVersions":["2026-07-28","1.0"]}"#).unwrap(),
        ];
        let result = discover_result((&plan, "all"), &parts, &[]);
        let result: Value = serde_json::from_str(&result).unwrap();
        assert_eq!(result["supportedVersions"], json!(["2026-07-28"]));
        assert_eq!(result["_meta"].as_object().map(Map::len), Some(1));
    }
}
