//! The lists of upstreams, and what authorization servers say of themselves: asked live, or read from a file.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cli::outcome::CommandFailure;
use witgate_base::whole_file;
use witgate_config::pins::EntryKind;

/// The version of the form.
const VERSION: u32 = 1;

/// The largest file.
const LARGEST: u64 = 256 << 20;

/// The lists of all upstreams at one time. What is missing is unknown, so no lint says that it does not exist.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::cli) struct ListSnapshot {
    version: u32,
    /// By the name of the upstream.
    #[serde(default)]
    pub(super) upstreams: BTreeMap<String, UpstreamSnapshot>,
    /// By the issuer.
    #[serde(default)]
    pub(super) issuers: BTreeMap<String, IssuerSnapshot>,
}

/// The complete lists of an upstream, as it gives them.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct UpstreamSnapshot {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tools: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prompts: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resources: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resource_templates: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rate_limit: Option<StatedRate>,
}

/// The rate of requests that a server states in the header `RateLimit-Policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StatedRate {
    pub(super) count: u64,
    pub(super) seconds: u64,
}

/// The metadata of an authorization server (RFC 8414).
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct IssuerSnapshot {
    /// None: it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) scopes_supported: Option<Vec<String>>,
}

impl Default for ListSnapshot {
    fn default() -> Self {
        Self { version: VERSION, upstreams: BTreeMap::new(), issuers: BTreeMap::new() }
    }
}

impl UpstreamSnapshot {
    pub(super) fn list(&self, kind: EntryKind) -> Option<&[Value]> {
        match kind {
            EntryKind::Tool => self.tools.as_deref(),
            EntryKind::Prompt => self.prompts.as_deref(),
            EntryKind::Resource => self.resources.as_deref(),
            EntryKind::ResourceTemplate => self.resource_templates.as_deref(),
        }
    }

    pub(super) fn set(&mut self, kind: EntryKind, entries: Vec<Value>) {
        let list = match kind {
            EntryKind::Tool => &mut self.tools,
            EntryKind::Prompt => &mut self.prompts,
            EntryKind::Resource => &mut self.resources,
            EntryKind::ResourceTemplate => &mut self.resource_templates,
        };
        *list = Some(entries);
    }
}

impl ListSnapshot {
    /// Reads a file that [`ListSnapshot::write`] has written.
    pub(in crate::cli) fn read(path: &Path) -> Result<Self, CommandFailure> {
        let failed = |why: String| {
            CommandFailure::new(format!("the lists in {} cannot be read: {why}", path.display()))
        };
        let size = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
        if size > LARGEST {
            return Err(failed(format!("the file has more than {} MiB", LARGEST >> 20)));
        }
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let snapshot: Self = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
        match snapshot.version {
            VERSION => Ok(snapshot),
            other => Err(failed(format!("its version is {other}, and this Witgate reads {VERSION}"))),
        }
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), CommandFailure> {
        let text = serde_json::to_string_pretty(self);
        let text = text.map_err(|error| CommandFailure::new(error.to_string()))?;
        let written = whole_file::replace(path, |file| writeln!(file, "{text}"));
        written.map_err(|error| {
            CommandFailure::new(format!("the lists cannot be written to {}: {error}", path.display()))
        })
    }

    /// All entries of a list of these upstreams. None: the list of one of them is unknown, or there is no upstream.
    pub(super) fn every(&self, upstreams: &[String], kind: EntryKind) -> Option<Vec<&Value>> {
        let lists: Option<Vec<_>> =
            upstreams.iter().map(|name| self.upstreams.get(name)?.list(kind)).collect();
        lists.filter(|lists| !lists.is_empty()).map(|lists| lists.into_iter().flatten().collect())
    }

    /// The known entries of a list of these upstreams.
    pub(super) fn known(&self, upstreams: &[String], kind: EntryKind) -> Vec<&Value> {
        let lists = upstreams.iter().filter_map(|name| self.upstreams.get(name)?.list(kind));
        lists.flatten().collect()
    }

    /// The entries of a list of an upstream. None: the list is unknown.
    pub(in crate::cli) fn entries(&self, upstream: &str, kind: EntryKind) -> Option<&[Value]> {
        self.upstreams.get(upstream)?.list(kind)
    }

    /// The names of all known tools, prompts and resources of an upstream, as patterns write them.
    pub(in crate::cli) fn names(&self, upstream: &str) -> Vec<String> {
        let own = [upstream.to_owned()];
        let named = |kind: EntryKind| {
            let prefix = super::coverage::prefix(kind.target_kind());
            let entries = self.known(&own, kind).into_iter();
            entries.filter_map(move |entry| Some(format!("{prefix}{}", kind.name_of(entry)?)))
        };
        EntryKind::TARGETS.into_iter().flat_map(named).collect()
    }
}
