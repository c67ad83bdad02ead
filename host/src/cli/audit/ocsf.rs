//! Entries as events of the Open Cybersecurity Schema Framework (OCSF) 1.5: decisions are API Activity (6003), all other
//! entries are Application Lifecycle (6002).

use std::time::UNIX_EPOCH;

use serde_json::{Map, Value, json};

/// The version of the schema.
const VERSION: &str = "1.5.0";

/// The activity "Other": its name is in `activity_name`.
const OTHER: u64 = 99;

/// The members of decisions that have a place in the event. All others are under `unmapped`.
const MAPPED: [&str; 12] = [
    "seq", "time", "kind", "id", "outcome", "upstream", "method", "target", "subject", "issuer", "reason",
    "peer",
];

/// The members of other entries that have a place in the event.
const MAPPED_OF_LIFECYCLE: [&str; 4] = ["seq", "time", "kind", "id"];

/// The event of an entry.
pub(super) fn event(entry: &Value) -> Value {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let kind = text("kind").unwrap_or_default();
    let (event, mapped) = match kind {
        "decision" => (decision(entry), MAPPED.as_slice()),
        _ => (lifecycle(kind), MAPPED_OF_LIFECYCLE.as_slice()),
    };
    let mut event = present(event);
    let unmapped: Map<String, Value> = entry
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !mapped.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if let Some(event) = event.as_object_mut() {
        event.insert("time".to_owned(), json!(text("time").and_then(milliseconds)));
        event.insert(
            "metadata".to_owned(),
            json!({
                "version": VERSION,
                "uid": text("id").map_or_else(|| entry["seq"].to_string(), str::to_owned),
                "sequence": entry["seq"],
                "log_name": "witgate audit",
                "product": { "name": "Witgate", "vendor_name": "Witgate" },
            }),
        );
        event.insert("unmapped".to_owned(), unmapped.into());
    }
    event
}

fn decision(entry: &Value) -> Value {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let is_allowed = text("outcome") == Some("allowed");
    let targets = match entry.get("target") {
        Some(Value::Array(targets)) => targets.clone(),
        Some(target) => vec![target.clone()],
        None => Vec::new(),
    };
    let resources: Vec<_> = targets.into_iter().map(|name| json!({ "name": name })).collect();
    json!({
        "category_uid": 6,
        "class_uid": 6003,
        "class_name": "API Activity",
        "activity_id": OTHER,
        "activity_name": text("method").unwrap_or("unread message"),
        "type_uid": 600_300 + OTHER,
        "severity_id": if is_allowed { 1 } else { 3 },
        "status_id": if is_allowed { 1 } else { 2 },
        "status": if is_allowed { "Success" } else { "Failure" },
        "status_code": text("reason").or(text("outcome")),
        "status_detail": text("outcome"),
        "actor": { "user": { "uid": text("subject"), "domain": text("issuer") } },
        "api": { "operation": text("method"), "service": { "name": text("upstream") } },
        "src_endpoint": { "ip": text("peer") },
        "resources": resources,
    })
}

fn lifecycle(kind: &str) -> Value {
    let (activity, name) = match kind {
        "start" => (3, "Start"),
        "stop" => (4, "Stop"),
        other => (OTHER, other),
    };
    json!({
        "category_uid": 6,
        "class_uid": 6002,
        "class_name": "Application Lifecycle",
        "activity_id": activity,
        "activity_name": name,
        "type_uid": 600_200 + activity,
        "severity_id": 1,
        "app": { "name": "Witgate", "vendor_name": "Witgate" },
    })
}

/// A value without members that are null or have no members themselves: the schema has no null.
fn present(value: Value) -> Value {
    let Value::Object(members) = value else { return value };
    let members = members.into_iter().map(|(name, value)| (name, present(value)));
    let is_absent = |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
    members.filter(|(_, value)| !is_absent(value)).collect::<Map<_, _>>().into()
}

fn milliseconds(time: &str) -> Option<u64> {
    let at = humantime::parse_rfc3339(time).ok()?;
    u64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_an_api_activity() {
        let entry = json!({
            "prev": "00", "seq": 7, "kind": "decision", "time": "1970-01-01T00:00:01.500000Z", "id": "ab",
            "outcome": "denied", "upstream": "files", "method": "tools/call", "target": "delete",
            "subject": "alice", "reason": "not-allowed", "peer": "192.0.2.1", "micros": 3,
        });
        let event = event(&entry);
        assert_eq!((&event["class_uid"], &event["type_uid"]), (&json!(6003), &json!(600_399)));
        assert_eq!((&event["time"], &event["metadata"]["uid"]), (&json!(1500), &json!("ab")));
        assert_eq!((&event["status_id"], &event["status_code"]), (&json!(2), &json!("not-allowed")));
        assert_eq!(event["actor"]["user"]["uid"], "alice");
        assert_eq!(event["resources"], json!([{ "name": "delete" }]));
        assert_eq!(event["unmapped"], json!({ "prev": "00", "micros": 3 }));
    }

    #[test]
    fn an_event_has_no_null_for_an_absent_member() {
        let entry = json!({
            "prev": "00", "seq": 7, "kind": "decision", "time": "1970-01-01T00:00:01.500000Z", "id": "ab",
            "outcome": "malformed", "upstream": "files", "reason": "malformed",
        });
        let event = event(&entry);
        assert!(!event.to_string().contains("null"), "{event}");
        assert_eq!((event.get("actor"), event.get("src_endpoint")), (None, None), "{event}");
        assert_eq!(event["api"], json!({ "service": { "name": "files" } }));
    }

    #[test]
    fn an_entry_of_the_lifecycle_keeps_its_members() {
        let entry =
            json!({ "seq": 3, "kind": "recovered", "time": "1970-01-01T00:00:00.000000Z", "reason": "full" });
        assert_eq!(event(&entry)["unmapped"], json!({ "reason": "full" }));
    }

    #[test]
    fn other_entries_are_of_the_lifecycle() {
        let entry = json!({ "seq": 0, "kind": "start", "time": "1970-01-01T00:00:00.000000Z", "pid": 4 });
        let event = event(&entry);
        assert_eq!((&event["class_uid"], &event["activity_id"]), (&json!(6002), &json!(3)));
        assert_eq!((&event["metadata"]["uid"], &event["unmapped"]), (&json!("0"), &json!({ "pid": 4 })));
    }
}
