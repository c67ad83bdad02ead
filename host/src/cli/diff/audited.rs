//! The callers in the audit log.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use serde_json::Value;
use witgate_audit::select::{EntryFilter, scan};
use witgate_base::party::{ANONYMOUS, UNCHECKED};
use witgate_plugin::Identity;

use crate::access::known_principals::KnownPrincipal;
use crate::cli::audit::LogPlace;
use crate::cli::context::Context;
use crate::cli::outcome::CommandFailure;

/// The most callers.
const MOST: usize = 500;

/// A caller in the audit log. Its entries do not tell their roles and scopes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AuditedCaller {
    pub(super) upstream: String,
    subject: String,
    issuer: Option<String>,
    proven_by: String,
}

impl AuditedCaller {
    /// None: the entry names nobody.
    fn of(entry: &Value) -> Option<Self> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
        let proven_by =
            text("proven_by").filter(|policy| ![ANONYMOUS, UNCHECKED].contains(&policy.as_str()))?;
        Some(Self {
            upstream: text("upstream")?,
            subject: text("subject")?,
            issuer: text("issuer"),
            proven_by,
        })
    }

    pub(super) fn principal(&self) -> KnownPrincipal {
        let (subject, issuer) = (self.subject.clone(), self.issuer.clone());
        let identity = Identity { subject, issuer, ..Identity::default() };
        KnownPrincipal::assumed("subject", self.subject.clone(), identity, &self.proven_by)
    }
}

/// The callers in the audit log of the configuration, if it has one.
pub(super) fn callers(
    context: &Context,
    place: &LogPlace,
    notes: &mut Vec<String>,
) -> Result<Vec<AuditedCaller>, CommandFailure> {
    let directory = match place.directory(context) {
        Ok(directory) if directory.is_dir() => directory,
        _ => return Ok(Vec::new()),
    };
    let members = vec![("kind".to_owned(), "decision".to_owned())];
    let filter = EntryFilter { members, ..EntryFilter::default() };
    let mut callers = BTreeSet::new();
    let take = |_: &str, entry: &Value| {
        callers.extend(AuditedCaller::of(entry));
        match callers.len() > MOST {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    scan(&directory, 0, &filter, take)
        .map_err(|error| CommandFailure::new(format!("{} cannot be read: {error}", directory.display())))?;
    if callers.len() > MOST {
        notes.push(format!("of the callers in the audit, {MOST} are compared"));
    }
    if !callers.is_empty() {
        notes.push(
            "callers in the audit are compared without roles and scopes, which it does not tell".to_owned(),
        );
    }
    Ok(callers.into_iter().take(MOST).collect())
}
