//! The names of tools and prompts at an endpoint, and the owners of resources. The configuration alone decides: what an
//! upstream announces never changes the meaning of a name, so that no upstream can take the calls of another one.

use std::borrow::Cow;

use serde_json::Value;
use witgate_config::{CombinedEndpoint, EndpointUpstream, PREFIX_END};
use witgate_message::json::{quote, unquote};
use witgate_plugin::TargetKind;

/// The upstreams of an endpoint, and the names that they own. An upstream is named by its place.
#[derive(Debug)]
pub struct NamePlan {
    upstreams: Vec<EndpointUpstream>,
}

impl NamePlan {
    /// The names at `endpoint`.
    pub fn new(endpoint: &CombinedEndpoint) -> Self {
        Self { upstreams: endpoint.upstreams.clone() }
    }

    /// The name of the upstream at `place`.
    pub(crate) fn upstream(&self, place: usize) -> &str {
        self.upstreams.get(place).map_or("", |upstream| &upstream.name)
    }

    /// The places of all upstreams.
    pub(crate) fn places(&self) -> std::ops::Range<usize> {
        0..self.upstreams.len()
    }

    /// The place of the upstream with this name.
    pub(crate) fn place(&self, upstream: &str) -> Option<usize> {
        self.upstreams.iter().position(|known| known.name == upstream)
    }

    /// The name at the endpoint of what the upstream at `place` calls `name`. None: it is not offered here, or has no name.
    pub fn shown<'a>(&self, place: usize, kind: TargetKind, name: &'a str) -> Option<Cow<'a, str>> {
        let is_named = !name.is_empty();
        let is_owned = self.owner(kind, name) == Some(place);
        match kind {
            TargetKind::Tool | TargetKind::Prompt if !is_named => None,
            TargetKind::Tool | TargetKind::Prompt if is_owned && self.prefixed(name).is_none() => {
                Some(name.into())
            }
            TargetKind::Tool | TargetKind::Prompt => {
                Some(format!("{}{PREFIX_END}{name}", self.upstream(place)).into())
            }
            TargetKind::Resource => (is_owned && is_named).then(|| name.into()),
            TargetKind::Method => None,
        }
    }

    /// The upstream that a name at the endpoint belongs to, and the upstream's own name. None: there is no such name.
    /// A name has one form: that of [`Self::shown`], which lists contain.
    pub fn target<'a>(&self, kind: TargetKind, shown: &'a str) -> Option<(usize, &'a str)> {
        let prefixed = || self.prefixed(shown).filter(|_| kind != TargetKind::Resource);
        let (place, name) = prefixed().or_else(|| Some((self.owner(kind, shown)?, shown)))?;
        let is_its_form = self.shown(place, kind, name).is_some_and(|form| form == shown);
        is_its_form.then_some((place, name))
    }

    /// True if the upstream at `place` offers resources here.
    pub(crate) fn offers_resources(&self, place: usize) -> bool {
        self.upstreams.get(place).is_some_and(|upstream| upstream.offers_resources)
    }

    /// The first upstream that owns the name.
    fn owner(&self, kind: TargetKind, name: &str) -> Option<usize> {
        let owns = |upstream: &EndpointUpstream| upstream.owns.iter().any(|own| own.matches(kind, name));
        self.upstreams.iter().position(owns)
    }

    /// The upstream that the name begins with, and the rest.
    fn prefixed<'a>(&self, name: &'a str) -> Option<(usize, &'a str)> {
        let (prefix, rest) = name.split_once(PREFIX_END)?;
        Some((self.place(prefix)?, rest))
    }

    /// An id or a progress token of the upstream at `place`, as JSON text, so that its answer finds the way back.
    pub(crate) fn shown_id(&self, place: usize, id: &str) -> String {
        quote(&format!("{}{PREFIX_END}{id}", self.upstream(place)))
    }

    /// The upstream that an id of [`Self::shown_id`] comes from, and its own id. None: it comes from none.
    pub(crate) fn own_id(&self, shown: &str) -> Option<(usize, String)> {
        let shown = unquote(shown)?;
        let (place, id) = self.prefixed(&shown)?;
        let is_id = match serde_json::from_str(id).ok()? {
            Value::String(_) => true,
            Value::Number(number) => number.is_i64() || number.is_u64(),
            _ => false,
        };
        is_id.then(|| (place, id.trim().to_owned()))
    }
}

#[cfg(test)]
pub(crate) mod tests;
