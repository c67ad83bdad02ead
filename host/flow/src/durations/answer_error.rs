//! The error in an answer of an upstream, found in one pass over its bytes.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use super::ErrorType;

/// The parts of a JSON-RPC response that say whether it is an error.
#[derive(Debug)]
pub(in super::super) struct AnswerPeek {
    /// The code of the error, if it has one.
    pub(in super::super) code: Option<i64>,
    /// True if there is an error.
    has_error: bool,
    /// True if there is a result.
    has_result: bool,
    /// True for the result of a tool that reports an error.
    is_tool_error: bool,
}

impl AnswerPeek {
    /// The parts of `message`, if it is a JSON object. Results of tools are looked into.
    pub(in super::super) fn of(message: &[u8], is_tool_call: bool) -> Option<Self> {
        if !message.trim_ascii_start().starts_with(b"{") {
            return None;
        }
        if is_tool_call { Self::read::<ToolResult>(message) } else { Self::read::<UnreadResult>(message) }
    }

    /// The parts of a message that has been read, by its members `error` and `isError` of the result.
    pub(in super::super) fn of_members(
        error: Option<&RawValue>,
        has_result: bool,
        is_error: Option<&RawValue>,
    ) -> Self {
        Self {
            code: error.and_then(code_of),
            has_error: error.is_some(),
            has_result,
            is_tool_error: is_error.is_some_and(|is_error| is_error.get() == "true"),
        }
    }

    fn read<'m, R: Deserialize<'m> + Into<bool>>(message: &'m [u8]) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(bound(deserialize = "R: Deserialize<'de>, 'de: 'a"))]
        struct ResponseMembers<'a, R> {
            #[serde(borrow)]
            error: Option<&'a RawValue>,
            #[serde(default = "Option::default", deserialize_with = "some")]
            result: Option<R>,
        }
        let ResponseMembers { error, result } =
            serde_json::from_slice::<ResponseMembers<'_, R>>(message).ok()?;
        Some(Self {
            code: error.and_then(code_of),
            has_error: error.is_some(),
            has_result: result.is_some(),
            is_tool_error: result.is_some_and(Into::into),
        })
    }

    /// True for a response; false for a request or notification of the server.
    pub(super) fn is_response(&self) -> bool {
        self.has_error || self.has_result
    }

    /// The error that the answer reports.
    pub(in super::super) fn error(&self) -> Option<ErrorType> {
        match (self.has_error, self.code) {
            (true, Some(code)) => Some(ErrorType::of_code(code)),
            (true, None) => Some(ErrorType::OTHER),
            (false, _) => self.is_tool_error.then_some(ErrorType::TOOL),
        }
    }
}

fn code_of(error: &RawValue) -> Option<i64> {
    #[derive(Deserialize)]
    struct ErrorCode {
        code: i64,
    }
    serde_json::from_str::<ErrorCode>(error.get()).ok().map(|error| error.code)
}

/// A member that is there has a value, even if that is `null`.
fn some<'de, D: Deserializer<'de>, R: Deserialize<'de>>(deserializer: D) -> Result<Option<R>, D::Error> {
    R::deserialize(deserializer).map(Some)
}

/// A result that is not looked into.
struct UnreadResult;

impl<'de> Deserialize<'de> for UnreadResult {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl From<UnreadResult> for bool {
    fn from(_: UnreadResult) -> Self {
        false
    }
}

/// The result of a tool: whether its member `isError` is true. Results that are no objects have no such member.
struct ToolResult(bool);

impl From<ToolResult> for bool {
    fn from(result: ToolResult) -> Self {
        result.0
    }
}

impl<'de> Deserialize<'de> for ToolResult {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ToolResultVisitor).map(Self)
    }
}

struct ToolResultVisitor;

impl<'de> Visitor<'de> for ToolResultVisitor {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a result")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<bool, A::Error> {
        let mut is_error = false;
        while let Some(IsErrorKey(is_named)) = members.next_key()? {
            if is_named {
                is_error = members.next_value::<Truth>()?.0;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(is_error)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(false)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E: de::Error>(self) -> Result<bool, E> {
        Ok(false)
    }
}

/// A member's name: whether it is `isError`.
struct IsErrorKey(bool);

impl<'de> Deserialize<'de> for IsErrorKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IsErrorKeyVisitor;
        impl Visitor<'_> for IsErrorKeyVisitor {
            type Value = bool;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<bool, E> {
                Ok(name == "isError")
            }
        }
        deserializer.deserialize_identifier(IsErrorKeyVisitor).map(Self)
    }
}

/// A value: whether it is `true`.
struct Truth(bool);

impl<'de> Deserialize<'de> for Truth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|value| Self(value.get() == "true"))
    }
}

#[cfg(test)]
mod tests {
    use super::AnswerPeek;

    fn error(message: &str, is_tool_call: bool) -> Option<&'static str> {
        AnswerPeek::of(message.as_bytes(), is_tool_call).unwrap().error().map(|error| error.name())
    }

    #[test]
    fn the_error_of_an_answer_is_found() {
        for (message, of_tool, of_other) in [
            (r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true}}"#, Some("tool_error"), None),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"isError":true}],"isError":false}}"#,
                None,
                None,
            ),
            (r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":"true"}}"#, None, None),
            (r#"{"result":{"structuredContent":{"isError":true}}}"#, None, None),
            (r#"{"result":[{"isError":true},2]}"#, None, None),
            (r#"{"result":null}"#, None, None),
            (r#"{"result":"isError"}"#, None, None),
            (r#"{"result":-1.5}"#, None, None),
            (r#"{"result":17}"#, None, None),
            (r#"{"result":{}}"#, None, None),
            (r#"{"error":{"code":-32601,"message":"no"}}"#, Some("-32601"), Some("-32601")),
            (r#"{"error":{"code":7,"message":"no"}}"#, Some("_OTHER"), Some("_OTHER")),
            (r#"{"error":{"code":"7"}}"#, Some("_OTHER"), Some("_OTHER")),
            (r#"{"error":{"code":1e400}}"#, Some("_OTHER"), Some("_OTHER")),
        ] {
            assert_eq!((error(message, true), error(message, false)), (of_tool, of_other), "{message}");
        }
        for message in ["", "[]", "{", r#"{"error":}"#, r#"{"result":{}} x"#] {
            assert!(AnswerPeek::of(message.as_bytes(), true).is_none(), "{message}");
        }
    }

    #[test]
    fn only_a_response_is_one() {
        let is_response = |message: &str| AnswerPeek::of(message.as_bytes(), true).unwrap().is_response();
        assert!(is_response(r#"{"id":1,"result":null}"#) && is_response(r#"{"id":1,"error":{}}"#));
        assert!(!is_response(r#"{"method":"notifications/progress","params":{"result":1}}"#));
    }
}
