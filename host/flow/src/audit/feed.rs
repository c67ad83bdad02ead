//! Decisions as they are made, for operators who watch them. While nobody does, a message costs one relaxed load.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use parking_lot::Mutex;
use serde::Serialize;
use witgate_message::call::Target;

use super::entry::DecisionEntry;
use super::facts::AuditFacts;
use crate::request::Request;
use witgate_services::subject::AnsweredHook;

/// The maximum number of operators who watch at the same time.
const MOST: usize = 16;

/// The memory for decisions that an operator has not read yet, in bytes. Further decisions are lost, and counted.
const WAITING: usize = 4 << 20;

/// The decisions of all flows of a process.
#[derive(Debug, Default)]
pub struct DecisionFeed {
    /// The number of watchers.
    watching: AtomicUsize,
    watchers: Mutex<Vec<Arc<DecisionWatcher>>>,
}

/// Conditions on decisions. All of them have to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecisionFilter {
    /// The subject of the caller.
    pub subject: Option<String>,
    /// A tool, prompt, resource or method that the message names, with or without its kind.
    pub target: Option<String>,
    /// The outcome.
    pub outcome: Option<String>,
    /// The upstream.
    pub upstream: Option<String>,
}

/// An operator who watches.
#[derive(Debug)]
struct DecisionWatcher {
    filter: DecisionFilter,
    waiting: Mutex<WaitingDecisions>,
}

/// The decisions that an operator has not read yet.
#[derive(Debug, Default)]
struct WaitingDecisions {
    lines: VecDeque<String>,
    bytes: usize,
    lost: u64,
    reader: Option<Waker>,
}

/// The decisions that fulfil a filter, each as a JSON object in one line. Dropping it ends the watching.
#[derive(Debug)]
pub struct WatchedDecisions {
    feed: Arc<DecisionFeed>,
    watcher: Arc<DecisionWatcher>,
}

/// A decision. `docs/explain.md` describes its members.
#[derive(Serialize)]
struct WatchedDecision<'a> {
    #[serde(flatten)]
    entry: &'a DecisionEntry<'a>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    hooks: &'a [WatchedHook],
    /// The number of decisions before this one that were lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<u64>,
}

/// A hook that was asked about the message.
#[derive(Serialize)]
struct WatchedHook {
    policy: Arc<str>,
    hook: &'static str,
    form: &'static str,
    verdict: &'static str,
    micros: u64,
}

impl DecisionFeed {
    /// Watches the decisions that fulfil `filter`. None: too many operators watch already.
    pub fn watch(self: &Arc<Self>, filter: DecisionFilter) -> Option<WatchedDecisions> {
        let mut watchers = self.watchers.lock();
        if watchers.len() >= MOST {
            return None;
        }
        let watcher = Arc::new(DecisionWatcher { filter, waiting: Mutex::default() });
        watchers.push(Arc::clone(&watcher));
        self.watching.store(watchers.len(), Ordering::Relaxed);
        Some(WatchedDecisions { feed: Arc::clone(self), watcher })
    }

    /// True if somebody watches.
    pub(super) fn is_watched(&self) -> bool {
        self.watching.load(Ordering::Relaxed) > 0
    }

    /// Shows a decision to all who watch.
    pub(super) fn show(&self, facts: &AuditFacts<'_>, request: Option<&Request>, node: &str) {
        let admits = |watcher: &&Arc<DecisionWatcher>| watcher.filter.admits(facts);
        let watchers: Vec<_> = self.watchers.lock().iter().filter(admits).cloned().collect();
        if watchers.is_empty() {
            return;
        }
        let hooks = request.and_then(|request| request.hooks.get()).map(|hooks| hooks.all());
        let hooks: Vec<_> = hooks.into_iter().flatten().map(WatchedHook::of).collect();
        let entry = DecisionEntry::of(facts, node);
        watchers.iter().for_each(|watcher| watcher.show(&entry, &hooks));
    }

    fn forget(&self, watcher: &Arc<DecisionWatcher>) {
        let mut watchers = self.watchers.lock();
        watchers.retain(|other| !Arc::ptr_eq(other, watcher));
        self.watching.store(watchers.len(), Ordering::Relaxed);
    }
}

impl DecisionFilter {
    fn admits(&self, facts: &AuditFacts<'_>) -> bool {
        let is = |wanted: &Option<String>, fact: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| fact == Some(wanted))
        };
        is(&self.subject, facts.subject)
            && is(&self.outcome, Some(facts.outcome))
            && is(&self.upstream, Some(facts.upstream))
            && self.target.as_deref().is_none_or(|wanted| facts.targets.iter().any(|at| is_named(at, wanted)))
    }
}

/// True if `name` is the name of the target, alone or after its kind.
fn is_named(target: &Target, name: &str) -> bool {
    *target.name == *name || name.strip_prefix(target.prefix()) == Some(&*target.name)
}

impl DecisionWatcher {
    /// Adds a decision. It is written without the lock, so that flows on other threads do not wait for that.
    fn show(&self, entry: &DecisionEntry<'_>, hooks: &[WatchedHook]) {
        let Some(lost) = self.room() else { return };
        let lost = Some(lost).filter(|lost| *lost > 0);
        let Ok(line) = serde_json::to_string(&WatchedDecision { entry, hooks, lost }) else { return };
        let mut waiting = self.waiting.lock();
        waiting.bytes += line.len();
        waiting.lines.push_back(line);
        if let Some(reader) = waiting.reader.take() {
            reader.wake();
        }
    }

    /// If there is room for a decision, the number of decisions that were lost before it.
    fn room(&self) -> Option<u64> {
        let mut waiting = self.waiting.lock();
        if waiting.bytes < WAITING {
            return Some(std::mem::take(&mut waiting.lost));
        }
        waiting.lost += 1;
        None
    }
}

impl WatchedHook {
    fn of(hook: AnsweredHook) -> Self {
        let AnsweredHook { policy, hook, form, verdict, from, to } = hook;
        let micros = u64::try_from((to - from).as_micros()).unwrap_or(u64::MAX);
        Self { policy, hook, form, verdict, micros }
    }
}

impl Stream for WatchedDecisions {
    type Item = String;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<String>> {
        let mut waiting = self.watcher.waiting.lock();
        match waiting.lines.pop_front() {
            Some(line) => {
                waiting.bytes -= line.len();
                Poll::Ready(Some(line))
            }
            None => {
                waiting.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for WatchedDecisions {
    fn drop(&mut self) {
        self.feed.forget(&self.watcher);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _};
    use serde_json::Value;
    use witgate_plugin::TargetKind;

    use super::super::facts::tests::facts;
    use super::*;

    fn filter(target: &str) -> DecisionFilter {
        DecisionFilter { target: Some(target.to_owned()), ..DecisionFilter::default() }
    }

    fn next(decisions: &mut WatchedDecisions) -> Option<Value> {
        let line = decisions.next().now_or_never().flatten()?;
        Some(serde_json::from_str(&line).unwrap())
    }

    #[test]
    fn each_operator_sees_the_decisions_of_their_filter() {
        let feed = Arc::<DecisionFeed>::default();
        assert!(!feed.is_watched());
        let mut all = feed.watch(DecisionFilter::default()).unwrap();
        let mut tools = feed.watch(filter("search")).unwrap();
        let mut resources = feed.watch(filter("resource:file:///a")).unwrap();
        let subject = DecisionFilter { subject: Some("ada".to_owned()), ..DecisionFilter::default() };
        let mut of_nobody = feed.watch(subject).unwrap();
        assert!(feed.is_watched());
        let tool = [Target { kind: TargetKind::Tool, name: "search".into() }];
        let resource = [Target { kind: TargetKind::Resource, name: "file:///a".into() }];
        feed.show(&facts(&tool, "x"), None, "one");
        feed.show(&facts(&resource, "x"), None, "one");
        assert_eq!(next(&mut all).unwrap()["target"], "search");
        assert_eq!(next(&mut all).unwrap()["target"], "resource:file:///a");
        assert_eq!(next(&mut all), None);
        assert_eq!(next(&mut tools).unwrap()["target"], "search");
        assert_eq!(next(&mut tools), None);
        assert_eq!(next(&mut resources).unwrap()["target"], "resource:file:///a");
        assert_eq!(next(&mut of_nobody), None);
        drop((all, tools, resources));
        assert!(feed.is_watched());
        drop(of_nobody);
        assert!(!feed.is_watched());
    }

    #[test]
    fn the_number_of_operators_is_bounded() {
        let feed = Arc::<DecisionFeed>::default();
        let watching: Vec<_> = (0..MOST).map(|_| feed.watch(DecisionFilter::default()).unwrap()).collect();
        assert!(feed.watch(DecisionFilter::default()).is_none());
        drop(watching);
        assert!(feed.watch(DecisionFilter::default()).is_some());
    }

    #[test]
    fn an_operator_who_does_not_read_loses_decisions_and_learns_how_many() {
        let feed = Arc::<DecisionFeed>::default();
        let mut decisions = feed.watch(DecisionFilter::default()).unwrap();
        let long = "x".repeat(8 << 10);
        let show = || feed.show(&facts(&[], &long), None, "one");
        (0..WAITING / long.len()).for_each(|_| show());
        let waiting = decisions.watcher.waiting.lock().bytes;
        assert!(waiting < WAITING + 10 * long.len(), "{waiting} bytes wait");
        let lost = decisions.watcher.waiting.lock().lost;
        assert!(lost > 0);
        while let Some(decision) = next(&mut decisions) {
            assert_eq!(decision.get("lost"), None);
        }
        show();
        assert_eq!(next(&mut decisions).unwrap()["lost"], lost);
        assert_eq!(decisions.watcher.waiting.lock().bytes, 0);
    }
}
