//! `subscriptions/listen` of the stateless era: the parts of a subscription for each upstream, and one acknowledgement of
//! theirs.

use std::collections::HashSet;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use witgate_message::fault::MessageFault;
use witgate_message::json::{Members, span_in, splice, unquote};
use witgate_plugin::TargetKind;

use crate::names::NamePlan;

const RESOURCES: &str = "resourceSubscriptions";
const TASKS: &str = "taskIds";

/// A message for each upstream, by its place.
pub(crate) type Parts = Vec<(usize, Bytes)>;

/// The subscriptions of a client at each upstream, by its place. An upstream of which nothing is wanted has no part.
///
/// # Errors
/// If a resource or a task belongs to no upstream. `of_task` finds that of a task.
pub(crate) fn parts(
    plan: &NamePlan,
    body: &Bytes,
    of_task: impl Fn(&str) -> Option<usize>,
) -> Result<Parts, MessageFault> {
    let written = written(body).ok_or_else(|| bad("params.notifications must be an object"))?;
    let mut wanted: Map<String, Value> =
        serde_json::from_str(written).map_err(|_| bad("it cannot be read"))?;
    let of_uri = |uri: &str| plan.target(TargetKind::Resource, uri).map(|(place, _)| place);
    let resources = by_upstream(plan, &wanted, RESOURCES, of_uri)?;
    let tasks = by_upstream(plan, &wanted, TASKS, of_task)?;
    let is_of_nothing = wanted.is_empty();
    for member in [RESOURCES, TASKS] {
        wanted.remove(member);
    }
    let mut parts = Vec::new();
    for (place, (resources, tasks)) in resources.into_iter().zip(tasks).enumerate() {
        let mut part = wanted.clone();
        for (member, of_upstream) in [(RESOURCES, resources), (TASKS, tasks)] {
            if !of_upstream.is_empty() {
                part.insert(member.to_owned(), json!(of_upstream));
            }
        }
        let span = span_in(body, written).ok_or_else(|| bad("it cannot be read"))?;
        // Somebody has to acknowledge a subscription to nothing.
        if !part.is_empty() || (place == 0 && is_of_nothing) {
            parts.push((place, splice(body, &mut [(span, &Value::from(part).to_string())])));
        }
    }
    Ok(parts)
}

/// The texts of a member of the subscription, for each upstream.
fn by_upstream(
    plan: &NamePlan,
    wanted: &Map<String, Value>,
    member: &str,
    owner: impl Fn(&str) -> Option<usize>,
) -> Result<Vec<Vec<String>>, MessageFault> {
    let mut by_upstream: Vec<Vec<String>> = plan.places().map(|_| Vec::new()).collect();
    let mut known = HashSet::new();
    for text in wanted.get(member).and_then(Value::as_array).into_iter().flatten() {
        let text = text.as_str().ok_or_else(|| bad("it cannot be read"))?;
        if !known.insert(text) {
            continue;
        }
        let own = owner(text).and_then(|place| by_upstream.get_mut(place));
        own.ok_or_else(|| bad(&format!("params.notifications.{member} names what no server has")))?
            .push(text.to_owned());
    }
    Ok(by_upstream)
}

/// `params.notifications` of a message.
fn written(message: &[u8]) -> Option<&str> {
    let params = Members::read(std::str::from_utf8(message).ok()?)?.came("params")?;
    Members::read(params)?.came("notifications")
}

/// True if a message acknowledges a subscription.
pub(crate) fn is_acknowledgement(message: &[u8]) -> bool {
    let method = std::str::from_utf8(message).ok().and_then(Members::read);
    let method = method.and_then(|members| members.get("method").and_then(unquote));
    method.as_deref() == Some("notifications/subscriptions/acknowledged")
}

/// One acknowledgement of what one of the upstreams has acknowledged. An upstream cannot acknowledge resources of another
/// one.
pub(crate) fn joint_acknowledgement(plan: &NamePlan, acknowledgements: &[(usize, Bytes)]) -> Option<Bytes> {
    let (_, first) = acknowledgements.first()?;
    let mut all = Map::new();
    for (place, acknowledgement) in acknowledgements {
        let part: Option<Map<String, Value>> =
            written(acknowledgement).and_then(|text| serde_json::from_str(text).ok());
        for (member, mut value) in part.unwrap_or_default() {
            if let (RESOURCES, Value::Array(uris)) = (member.as_str(), &mut value) {
                uris.retain(|uri| uri.as_str().is_some_and(|uri| is_of(plan, *place, uri)));
            }
            match (all.get_mut(&member), value) {
                (Some(Value::Array(known)), Value::Array(others)) => known.extend(others),
                (Some(Value::Bool(known)), Value::Bool(other)) => *known |= other,
                (Some(_), _) => {}
                (None, value) => _ = all.insert(member, value),
            }
        }
    }
    let span = span_in(first, written(first)?)?;
    Some(splice(first, &mut [(span, &Value::from(all).to_string())]))
}

/// True if the upstream at `place` owns a resource.
fn is_of(plan: &NamePlan, place: usize, uri: &str) -> bool {
    plan.shown(place, TargetKind::Resource, uri).is_some()
}

fn bad(what: &str) -> MessageFault {
    MessageFault::InvalidParams(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::plan;

    fn of(notifications: &Value) -> Result<Vec<(usize, Value)>, MessageFault> {
        let plan = plan(&[("a", &["resource:a:*"]), ("b", &["resource:b:*"])]);
        let message = json!({ "jsonrpc": "2.0", "id": 1, "params": { "notifications": notifications } });
        let of_task = |task: &str| (task == "t").then_some(1);
        let parts = parts(&plan, &Bytes::from(message.to_string()), of_task)?;
        let read =
            |body: Bytes| serde_json::from_slice::<Value>(&body).unwrap()["params"]["notifications"].take();
        Ok(parts.into_iter().map(|(place, body)| (place, read(body))).collect())
    }

    #[test]
    fn each_upstream_gets_what_is_its_own() {
        assert_eq!(
            of(&json!({ "toolsListChanged": true, RESOURCES: ["b:1", "a:1", "b:1"], TASKS: ["t", "t"] }))
                .unwrap(),
            [
                (0, json!({ "toolsListChanged": true, RESOURCES: ["a:1"] })),
                (1, json!({ "toolsListChanged": true, RESOURCES: ["b:1"], TASKS: ["t"] })),
            ]
        );
        assert_eq!(of(&json!({ RESOURCES: ["b:1"] })).unwrap(), [(1, json!({ RESOURCES: ["b:1"] }))]);
        assert_eq!(of(&json!({})).unwrap(), [(0, json!({}))]);
        assert!(of(&json!({ RESOURCES: ["c:1"] })).is_err() && of(&json!({ TASKS: ["other"] })).is_err());
    }

    #[test]
    fn acknowledgements_become_one() {
        let acknowledgement = |notifications: Value| {
            Bytes::from(
                json!({
                    "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
                    "params": { "_meta": { "io.modelcontextprotocol/subscriptionId": 1 }, "notifications": notifications },
                })
                .to_string(),
            )
        };
        let parts = [
            (0, acknowledgement(json!({ "toolsListChanged": false, RESOURCES: ["a:1"] }))),
            (1, acknowledgement(json!({ "toolsListChanged": true, RESOURCES: ["b:1", "a:2", 3] }))),
        ];
        let plan = plan(&[("a", &["resource:a:*"]), ("b", &["resource:b:*"])]);
        let joint = joint_acknowledgement(&plan, &parts).unwrap();
        assert!(is_acknowledgement(&joint));
        let joint: Value = serde_json::from_slice(&joint).unwrap();
        assert_eq!(
            joint["params"]["notifications"],
            json!({ "toolsListChanged": true, RESOURCES: ["a:1", "b:1"] })
        );
        assert_eq!(joint["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], json!(1));
    }
}
