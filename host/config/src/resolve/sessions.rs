//! Limits on an upstream's sessions, and the form of its denials.

use super::resolver::Resolver;
use crate::raw;
use crate::{Denials, SessionBounds};

impl Resolver<'_> {
    pub(super) fn sessions(&mut self, name: &str, written: &raw::Upstream) -> SessionBounds {
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let bounds = SessionBounds {
            most: written.max_sessions.map(count),
            most_of_one: written.max_sessions_per_caller.map(count),
        };
        if let SessionBounds { most: Some(most), most_of_one: Some(of_one) } = bounds
            && of_one > most
        {
            let message = format!("one caller cannot have {of_one} sessions of {most}");
            let help = "raise `max_sessions`, or lower this one";
            self.error(&["upstreams", name, "max_sessions_per_caller"], message, help);
        }
        bounds
    }
}

impl From<raw::Denials> for Denials {
    fn from(written: raw::Denials) -> Self {
        match written {
            raw::Denials::Http => Self::Http,
            raw::Denials::JsonRpc => Self::JsonRpc,
            raw::Denials::Result => Self::Result,
        }
    }
}
