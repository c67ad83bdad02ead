//! The attribute `error.type` of operations.

use crate::reject::Rejection;

/// The kinds of errors: the codes of JSON-RPC, MCP and HTTP as text, and three without a code. Codes that are not here
/// share the last one, because an upstream can send any number.
const NAMES: [&str; 28] = [
    "tool_error",
    "cancelled",
    "401",
    "403",
    "400",
    "404",
    "405",
    "406",
    "408",
    "413",
    "415",
    "429",
    "500",
    "502",
    "503",
    "504",
    "-32700",
    "-32603",
    "-32602",
    "-32601",
    "-32600",
    "-32042",
    "-32022",
    "-32021",
    "-32020",
    "-32002",
    "-32000",
    "_OTHER",
];

/// The kind of an error, as a place in the list of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ErrorType(u8);

impl ErrorType {
    /// A tool that reports an error in its result (`isError`).
    pub(in super::super) const TOOL: Self = Self(0);
    /// The caller has disconnected, or the stream has ended without an answer.
    pub(in super::super) const CANCELLED: Self = Self(1);
    /// An error with a code that has no name of its own.
    pub(in super::super) const OTHER: Self = Self(NAMES.len() as u8 - 1);
    /// The number of kinds, and one for no error.
    pub(super) const PLACES: usize = NAMES.len() + 1;

    /// The kind of an error with this code.
    pub(super) fn of_code(code: i64) -> Self {
        let place = NAMES.iter().position(|name| name.parse() == Ok(code));
        place.and_then(|place| u8::try_from(place).ok()).map_or(Self::OTHER, Self)
    }

    /// The kind of a rejection.
    pub(in super::super) fn of(rejection: &Rejection) -> Self {
        Self::of_code(rejection.code())
    }

    /// The name, for the label.
    pub(in super::super) fn name(self) -> &'static str {
        NAMES.get(usize::from(self.0)).copied().unwrap_or("_OTHER")
    }

    /// The place of an error or of none.
    pub(super) fn place(error: Option<Self>) -> usize {
        error.map_or(NAMES.len(), |error| usize::from(error.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_name_or_the_common_one() {
        assert_eq!((ErrorType::TOOL.name(), ErrorType::CANCELLED.name()), ("tool_error", "cancelled"));
        assert_eq!(ErrorType::of_code(-32601).name(), "-32601");
        assert_eq!(ErrorType::of_code(403).name(), "403");
        for unknown in [0, 1, -1, 418, i64::MIN, i64::MAX] {
            assert_eq!(ErrorType::of_code(unknown), ErrorType::OTHER);
        }
        assert_eq!(ErrorType::of(&Rejection::NoCredential).name(), "401");
        let places: std::collections::BTreeSet<_> = (0..NAMES.len())
            .map(|place| ErrorType::place(Some(ErrorType(place as u8))))
            .chain([ErrorType::place(None)])
            .collect();
        assert_eq!(places.len(), ErrorType::PLACES);
    }
}
