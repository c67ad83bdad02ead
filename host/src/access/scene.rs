//! Policies that only explain, with the configuration that they were built from.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use witgate_config::Config;
use witgate_flow::authorize::EntryAccess;
use witgate_flow::explanation::{ExplainedCause, Explanation, explain, listed};
use witgate_flow::request::Route;
use witgate_plugin::TargetKind;
use witgate_policy::generation::Generation;

use super::question::{CallQuestion, QuestionError};

/// A view of policies that only explain. Their traces belong to one question at a time, so callers ask one after the
/// other.
#[derive(Clone, Copy)]
pub(crate) struct DecisionScene<'s> {
    pub(crate) config: &'s Config,
    pub(crate) generation: &'s Arc<Generation>,
    /// The routes to the upstreams, in the order of the configuration.
    pub(crate) routes: &'s [Arc<Route>],
    /// The clock of the policies.
    pub(crate) clock: &'s AtomicU64,
}

impl DecisionScene<'_> {
    /// The place of the upstream of this name.
    pub(crate) fn place(&self, upstream: &str) -> Option<usize> {
        self.config.upstreams.iter().position(|known| known.name == upstream)
    }

    /// The answer of the policies to a question.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub(crate) async fn explain(&self, question: &CallQuestion) -> Result<Explanation, QuestionError> {
        let route = self.prepare(question)?;
        let (arrival, caller) = question.arrival(self.config)?;
        Ok(explain(self.generation, route, arrival, caller).await)
    }

    /// True for each of `names` that the sender of `question`, which asks for a list, sees in it; or the reason why they get
    /// no list.
    ///
    /// # Errors
    /// If the question cannot be asked.
    pub(crate) async fn lists(
        &self,
        question: &CallQuestion,
        kind: TargetKind,
        names: &[&str],
    ) -> Result<Result<Vec<bool>, ExplainedCause>, QuestionError> {
        let route = self.prepare(question)?;
        let asked = question.arrival(self.config)?;
        let seen = listed(self.generation, route, asked, kind, names).await;
        Ok(seen.map(|seen| seen.into_iter().map(|access| access != EntryAccess::None).collect()))
    }

    /// Sets the clock and what stands for credentials, and returns the route of the question.
    fn prepare(&self, question: &CallQuestion) -> Result<&Arc<Route>, QuestionError> {
        let route = self.routes.get(question.upstream).ok_or(QuestionError::Upstream)?;
        self.clock.store(question.at, Ordering::Relaxed);
        question.prepare(self.generation);
        Ok(route)
    }
}
