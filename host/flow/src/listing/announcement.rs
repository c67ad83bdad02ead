//! The capabilities in the answer to a handshake, with what Witgate itself tells clients.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::request::Route;
use witgate_config::PolicyKind;
use witgate_policy::generation::Pipeline;

/// The capabilities with the announcements of `route`. None: they stay as they are.
pub(super) fn announced(route: &Route, pipeline: &Pipeline, capabilities: &str) -> Option<String> {
    if route.extensions.is_empty() && !route.advertise_auth {
        return None;
    }
    // The claims of a server that Witgate cannot read are not passed on, because a client may read them.
    let mut capabilities: Map<String, Value> = serde_json::from_str(capabilities).unwrap_or_default();
    if !route.extensions.is_empty() {
        let extensions = object(&mut capabilities, "extensions")?;
        extensions.extend(route.extensions.iter().map(|extension| (extension.name().to_owned(), json!({}))));
    }
    if route.advertise_auth {
        object(&mut capabilities, "experimental")?
            .insert("authentication".to_owned(), authentication(pipeline));
    }
    Some(Value::from(capabilities).to_string())
}

/// The member `name`, as an object. Another value, which no server may send, is replaced.
fn object<'a>(capabilities: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Map<String, Value>> {
    let member = capabilities.entry(name).or_insert_with(|| json!({}));
    if !member.is_object() {
        *member = json!({});
    }
    member.as_object_mut()
}

/// The accepted kinds of credentials, and `required`. It replaces what the server says of itself.
fn authentication(pipeline: &Pipeline) -> Value {
    let required = pipeline.anonymous.is_none() && !pipeline.unchecked;
    let kinds = pipeline.authenticate.iter().filter(|_| !pipeline.unchecked);
    let types: BTreeSet<_> = kinds.map(|policy| credential_type(policy.kind())).collect();
    json!({ "required": required, "types": types })
}

fn credential_type(kind: PolicyKind) -> String {
    match kind {
        PolicyKind::Jwt | PolicyKind::Introspection => "oauth2".to_owned(),
        kind => kind.name().replace('-', "_"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(advertise_auth: bool) -> Route {
        let (extensions, disagreements) = Default::default();
        let (upstream, resource) = ("a".into(), "https://a.example/mcp".into());
        Route { upstream, resource, pipeline: 0, extensions, advertise_auth, disagreements }
    }

    #[test]
    fn a_claim_of_the_server_is_replaced() {
        let said = |pipeline: &Pipeline, capabilities: &str| {
            let text = announced(&route(true), pipeline, capabilities).unwrap();
            serde_json::from_str::<Value>(&text).unwrap()
        };
        let closed = Pipeline::default();
        let claim = r#"{"tools":{"x":1},"experimental":{"authentication":{"required":false},"other":{}}}"#;
        assert_eq!(
            said(&closed, claim),
            json!({ "tools": { "x": 1 }, "experimental": {
                "authentication": { "required": true, "types": [] }, "other": {},
            } })
        );
        let experimental = &said(&closed, r#"{"experimental":true}"#)["experimental"];
        assert_eq!(experimental["authentication"]["required"], json!(true));
        for open in [
            Pipeline { anonymous: Some(Vec::new()), ..Pipeline::default() },
            Pipeline { unchecked: true, ..Pipeline::default() },
        ] {
            assert_eq!(said(&open, "{}")["experimental"]["authentication"]["required"], json!(false));
        }
        assert_eq!(announced(&route(false), &closed, claim), None);
        // A number that Witgate cannot read, in a claim that a client may.
        for unread in ["[]", r#"{"experimental":{"authentication":{"required":false}},"x":1e999}"#] {
            let text = announced(&route(true), &closed, unread).unwrap();
            let said: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(
                said,
                json!({ "experimental": { "authentication": { "required": true, "types": [] } } })
            );
        }
    }

    #[test]
    fn kinds_have_the_names_that_clients_know() {
        for (kind, name) in [
            (PolicyKind::ApiKey, "api_key"),
            (PolicyKind::Jwt, "oauth2"),
            (PolicyKind::Introspection, "oauth2"),
            (PolicyKind::ClientCertificate, "client_certificate"),
            (PolicyKind::Custom, "custom"),
        ] {
            assert_eq!(credential_type(kind), name);
        }
    }
}
