//! The entries of Witgate's own tools and resources in lists, and the form of their answers.

use bytes::Bytes;
use serde_json::{Value, json};

use super::caller_tools::CallerAnswer;
use witgate_config::{OwnResource, OwnTool};
use witgate_message::era::Era;

/// JSON-RPC's code for an internal error, for a resource that cannot be read.
const INTERNAL: i32 = -32603;

/// A list that has own entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnList {
    /// `tools/list`.
    Tools,
    /// `resources/list`.
    Resources,
}

impl OwnList {
    /// The list that a method asks for.
    pub(super) fn of(method: &str) -> Option<Self> {
        match method {
            "tools/list" => Some(Self::Tools),
            "resources/list" => Some(Self::Resources),
            _ => None,
        }
    }

    /// The member of the result, which is also the name of the capability.
    pub(super) fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Resources => "resources",
        }
    }

    /// The member of an entry that names it.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Tools => "name",
            Self::Resources => "uri",
        }
    }
}

/// An own tool or resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnTarget {
    /// A tool.
    Tool(OwnTool),
    /// A resource.
    Resource(OwnResource),
}

impl OwnTarget {
    /// The name or URI.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tool(tool) => tool.name(),
            Self::Resource(resource) => resource.uri(),
        }
    }

    /// The entry in a list.
    pub(super) fn entry(self) -> Value {
        match self {
            Self::Tool(tool) => tool_entry(tool),
            Self::Resource(resource) => json!({
                "uri": resource.uri(),
                "name": resource.tool().name(),
                "description": description(resource.tool()),
                "mimeType": "application/json",
            }),
        }
    }

    /// The response with an answer, under this id as JSON text.
    pub(super) fn response(self, id: &str, era: Era, answer: CallerAnswer) -> Bytes {
        let (mut result, is_read) = match (self, answer) {
            (Self::Tool(_), Ok(data)) => (
                json!({
                    "content": [{ "type": "text", "text": data.to_string() }],
                    "structuredContent": data,
                    "isError": false,
                }),
                false,
            ),
            (Self::Tool(_), Err(sentence)) => {
                (json!({ "content": [{ "type": "text", "text": sentence }], "isError": true }), false)
            }
            (Self::Resource(resource), Ok(data)) => {
                let text = data.to_string();
                let content = json!({ "uri": resource.uri(), "mimeType": "application/json", "text": text });
                (json!({ "contents": [content] }), true)
            }
            (Self::Resource(_), Err(sentence)) => {
                let error = json!({ "code": INTERNAL, "message": sentence });
                return Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#));
            }
        };
        if let (Era::Stateless, Some(members)) = (era, result.as_object_mut()) {
            members.insert("resultType".to_owned(), "complete".into());
            if is_read {
                members.insert("ttlMs".to_owned(), 0.into());
                members.insert("cacheScope".to_owned(), "private".into());
            }
        }
        message(id, &result.to_string())
    }
}

/// A response under the id, both as JSON.
pub(super) fn message(id: &str, result: &str) -> Bytes {
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
}

fn tool_entry(tool: OwnTool) -> Value {
    let (properties, required) = arguments(tool);
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if let (false, Some(members)) = (required.is_empty(), schema.as_object_mut()) {
        members.insert("required".to_owned(), json!(required));
    }
    json!({
        "name": tool.name(),
        "description": description(tool),
        "inputSchema": schema,
        "annotations": { "readOnlyHint": !tool.changes_something(), "openWorldHint": false },
    })
}

fn description(tool: OwnTool) -> &'static str {
    match tool {
        OwnTool::HealthCheck => {
            "Tells whether the gateway works, and which credentials it has for the server"
        }
        OwnTool::AuthStatus => "Tells whether authentication is enabled and a key is configured",
        OwnTool::LimitsStatus => "Tells the limits of calls, and what remains of them",
        OwnTool::IssueToken => "Makes a token with which the caller can call for a while",
        OwnTool::AuthenticateUser => "Tells who the caller is, or where a person logs in",
        OwnTool::AuthenticateWithApiKey => "Tells who the caller is, or how a program shows its API key",
        OwnTool::Logout => "Ends the login of the program that calls",
        OwnTool::GetUserProfile => "Tells the caller's name, roles and scopes",
        OwnTool::CreateApiKey => "Makes an API key of the caller, and shows it once",
        OwnTool::ListAuditEvents => "Lists the latest entries of the audit log",
        OwnTool::GetSecuritySummary => "Counts outcomes, pauses, logins and keys of the last day",
    }
}

/// The properties of the arguments, and the required ones.
fn arguments(tool: OwnTool) -> (Value, &'static [&'static str]) {
    let text = |description: &str| json!({ "type": "string", "description": description });
    match tool {
        OwnTool::IssueToken => {
            let description = "The lifetime of the token in seconds. It may be shorter";
            (json!({ "expires_in": { "type": "integer", "minimum": 1, "description": description } }), &[])
        }
        OwnTool::CreateApiKey => {
            let scopes = "The scopes of the key, of those that the caller has";
            let properties = json!({
                "name": { "type": "string", "minLength": 1, "maxLength": 64, "description": "The name of the key" },
                "scopes": { "type": "array", "items": { "type": "string" }, "description": scopes },
                "expires": text("The end: a duration such as `7d`, or a time (RFC 3339). Default: as late as possible, at most 90d"),
            });
            (properties, &["name"])
        }
        OwnTool::ListAuditEvents => {
            let properties = json!({
                "since": text("The earliest time: a duration before now such as `2h`, or a time (RFC 3339)"),
                "outcome": text("The outcome, such as `denied`"),
                "subject": text("The subject of the caller"),
                "limit": { "type": "integer", "minimum": 1, "maximum": 500, "description": "Default: 50" },
            });
            (properties, &[])
        }
        _ => (json!({}), &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(bytes: &Bytes) -> Value {
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn answers_have_the_form_of_their_method_and_era() {
        let tool = OwnTarget::Tool(OwnTool::GetUserProfile);
        let data = json!({ "subject": "ada" });
        let told = value(&tool.response("7", Era::Stateful, Ok(data.clone())));
        assert_eq!((&told["id"], &told["result"]["structuredContent"]), (&json!(7), &data));
        let refused = value(&tool.response("7", Era::Stateless, Err("No".to_owned())));
        let text = json!([{ "type": "text", "text": "No" }]);
        assert_eq!(refused["result"], json!({ "content": text, "isError": true, "resultType": "complete" }));

        let resource = OwnTarget::Resource(OwnResource::UserProfile);
        let read = value(&resource.response("7", Era::Stateless, Ok(data)));
        assert_eq!(read["result"]["contents"][0]["text"], r#"{"subject":"ada"}"#);
        assert_eq!((&read["result"]["ttlMs"], &read["result"]["cacheScope"]), (&json!(0), &json!("private")));
        let unread = value(&resource.response("7", Era::Stateful, Err("No".to_owned())));
        assert_eq!(unread["error"], json!({ "code": -32603, "message": "No" }));
    }
}
