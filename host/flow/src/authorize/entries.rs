//! Decides about the entries of a list, exactly as `judge` decides about calls, but many in one call of a hook.

use std::thread;

use tokio::task::yield_now;
use witgate_plugin::{Call, TargetKind};

use super::combine::Combination;
use super::judge::{Judge, known, seen_by_next};
use crate::authenticate::identity::Caller;
use crate::reject::Rejection;
use crate::stage_result::{FallbackUse, StageResult};
use crate::subject::CallSubject;
use witgate_policy::MOST_ENTRIES;
use witgate_policy::generation::{NextPipeline, Pipeline};
use witgate_services::Scope;

/// Batches after which a long list lets others run, some 100 µs. To yield costs some microseconds of its own.
const BATCHES_IN_A_ROW: usize = 8;

impl Judge {
    /// Decides for each of `names` whether the caller may see the entry of a list.
    ///
    /// # Errors
    /// `Failed`.
    pub(super) async fn permits_entries(
        &self,
        kind: TargetKind,
        names: &[&str],
    ) -> StageResult<Vec<EntryAccess>> {
        let (mut permitted, mut fallback) = (Vec::with_capacity(names.len()), FallbackUse::default());
        for (place, batch) in names.chunks(MOST_ENTRIES).enumerate() {
            // A list may be long, and policies may answer without yielding. Neither other tasks nor other threads wait.
            if place > 0 && place % BATCHES_IN_A_ROW == 0 {
                yield_now().await;
                thread::yield_now();
            }
            match fallback.note(self.permits_batch(kind, batch).await) {
                Ok(some) => permitted.extend(some),
                Err(rejection) => return StageResult { result: Err(rejection), fallback },
            }
        }
        StageResult { result: Ok(permitted), fallback }
    }

    async fn permits_batch(&self, kind: TargetKind, names: &[&str]) -> StageResult<Vec<EntryAccess>> {
        let method = match kind {
            TargetKind::Tool => "tools/call",
            TargetKind::Resource => "resources/read",
            TargetKind::Prompt => "prompts/get",
            // Methods are in no list.
            TargetKind::Method => return Ok(vec![EntryAccess::None; names.len()]).into(),
        };
        let call = Call { listing: true, ..self.call(method, kind, "") };
        let (scope, mut fallback) = (self.scope(true), FallbackUse::default());
        let batch = ListBatch { scope: &scope, call: &call, names };
        let result = batch.decide(self.pipeline(), &self.subject, &self.caller, true, &mut fallback).await;
        StageResult { result, fallback }
    }
}

/// The access of a caller to an entry of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryAccess {
    /// The caller does not see the entry.
    None,
    /// The caller has no credential, and may be allowed to call the tool with one in its arguments.
    WithCredential,
    /// The caller may call it.
    Full,
}

/// Entries of a list, about which the hooks are called together.
#[derive(Clone, Copy)]
struct ListBatch<'a> {
    scope: &'a Scope,
    call: &'a Call<'a>,
    names: &'a [&'a str],
}

/// An entry that no policy has denied yet.
struct OpenEntry<'a> {
    place: usize,
    name: &'a str,
    combination: Combination,
}

impl ListBatch<'_> {
    /// The decisions of a pipeline. If another pipeline is held back, both have to allow.
    async fn decide(
        self,
        pipeline: &Pipeline,
        subject: &CallSubject,
        caller: &Caller,
        has_to_allow: bool,
        fallback: &mut FallbackUse,
    ) -> Result<Vec<EntryAccess>, Rejection> {
        let permitted = self.ask(pipeline, caller, has_to_allow, fallback).await?;
        match &pipeline.next {
            None => Ok(permitted),
            Some(next) => Box::pin(self.follow(next, subject, caller, permitted, fallback)).await,
        }
    }

    /// The decisions of the pipeline that is held back, about the entries that the live one has permitted.
    async fn follow(
        self,
        next: &NextPipeline,
        subject: &CallSubject,
        caller: &Caller,
        mut permitted: Vec<EntryAccess>,
        fallback: &mut FallbackUse,
    ) -> Result<Vec<EntryAccess>, Rejection> {
        let Some(by_next) = caller.by_next() else { return Ok(vec![EntryAccess::None; permitted.len()]) };
        let open: Vec<&str> = self
            .names
            .iter()
            .zip(&permitted)
            .filter(|(_, access)| **access != EntryAccess::None)
            .map(|(name, _)| *name)
            .collect();
        if open.is_empty() {
            return Ok(permitted);
        }
        let (subject, scope) = seen_by_next(subject, self.scope, by_next);
        let batch = ListBatch { scope: &scope, names: &open, ..self };
        let decided =
            batch.decide(&next.pipeline, &subject, by_next, next.has_all_authorizers, fallback).await?;
        let open = permitted.iter_mut().filter(|access| **access != EntryAccess::None);
        for (entry, decided) in open.zip(decided) {
            *entry = decided.min(*entry);
        }
        Ok(permitted)
    }

    /// The combined answers of a pipeline's own authorizers. Each is asked about the entries that none before it has
    /// denied.
    async fn ask(
        self,
        pipeline: &Pipeline,
        caller: &Caller,
        has_to_allow: bool,
        fallback: &mut FallbackUse,
    ) -> Result<Vec<EntryAccess>, Rejection> {
        let mut permitted = vec![EntryAccess::None; self.names.len()];
        if known(caller).is_err() {
            return Ok(permitted);
        }
        let mut open = self.open_entries();
        for policy in &pipeline.authorize {
            let names: Vec<&str> = open.iter().map(|entry| entry.name).collect();
            if names.is_empty() {
                break;
            }
            let principal = caller.as_principal();
            let answered = policy.authorize_entries(self.scope, self.call, &names, &principal).await?;
            let decisions = fallback.note_answer(policy, answered);
            let mut decided = Vec::with_capacity(open.len());
            for (mut entry, decision) in open.into_iter().zip(decisions) {
                if entry.combination.add(policy.name(), Ok(decision.into())).is_ok() {
                    decided.push(entry);
                }
            }
            open = decided;
        }
        for entry in open {
            if let Some(place) = permitted.get_mut(entry.place)
                && entry.combination.conclude(has_to_allow).is_ok()
            {
                *place = EntryAccess::Full;
            }
        }
        if caller.is_anonymous() && self.call.kind == TargetKind::Tool {
            self.show_to_anonymous(pipeline, &mut permitted);
        }
        Ok(permitted)
    }
}

impl<'a> ListBatch<'a> {
    /// Shows the tools that the configuration shows to callers who have not shown a credential yet.
    fn show_to_anonymous(self, pipeline: &Pipeline, permitted: &mut [EntryAccess]) {
        for (name, access) in self.names.iter().zip(permitted) {
            if *access == EntryAccess::None && pipeline.lists_for_credential(name) {
                *access = EntryAccess::WithCredential;
            }
        }
    }

    fn open_entries(self) -> Vec<OpenEntry<'a>> {
        let open =
            |(place, name): (usize, &&'a str)| OpenEntry { place, name, combination: Combination::default() };
        self.names.iter().enumerate().map(open).collect()
    }
}
