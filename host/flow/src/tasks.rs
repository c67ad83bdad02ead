//! The owners of tasks, and the calls that started them. Knowing a task's id proves nothing. A task belongs to the
//! principal whose call has started it (MCP 2025-11-25 "Tasks", "Security Considerations"), for as long as that
//! principal may make the call.

mod task_places;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use super::authorize::Permit;
use super::limit::CallPlaces;
use super::reject::Rejection;
use super::stage_result::{FallbackUse, StageResult};
use task_places::{TaskKey, TaskPlaces};
use witgate_base::party::{Party, Principal};
use witgate_message::call::Call;
use witgate_message::era::Era;
use witgate_message::fault::MessageFault;
use witgate_runtime::shares::{Capacity, Holdings};

/// The extension for tasks of the stateless era.
pub const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// Maximum number of remembered tasks per upstream. Each party loses its own oldest tasks first. A forgotten task is
/// not accessible to anyone.
const TASKS: Capacity = Capacity { most: 10_000, most_of_one: 1_000 };

/// The memory for tasks in bytes, which is mostly for their calls. Two of the largest calls fit.
const BYTES: Capacity = Capacity { most: 64 << 20, most_of_one: 9 << 20 };

/// The memory of a task besides its call and its id, in bytes.
const OVERHEAD: usize = 512;

/// The tasks of one upstream, each with its owner.
#[derive(Debug, Default)]
pub struct Tasks {
    table: Mutex<TaskTable>,
}

#[derive(Debug, Default)]
struct TaskTable {
    /// The calls that have started a task. An upstream that numbers tasks by session may repeat an id. Then there are
    /// several calls, and it is not known which one is meant.
    begun_by: HashMap<TaskKey, Vec<Arc<Call>>>,
    oldest_first: HashMap<Party, VecDeque<(TaskKey, Arc<Call>)>>,
    tasks: Holdings,
    bytes: Holdings,
    places: TaskPlaces,
}

impl Tasks {
    /// Refuses a request for a task that is not the caller's, or whose call the caller may not make any more.
    ///
    /// # Errors
    /// `TaskNotFound`, whether the task exists or not; `MissingExtension` if the client has not declared the extension
    /// that the stateless era requires; those of `Permit::covers`.
    pub async fn check(&self, permit: &Permit) -> StageResult<()> {
        match self.named_by(permit) {
            Ok(begun_by) if begun_by.is_empty() => Ok(()).into(),
            // Boxed, because it contains a whole stage again, and must not enlarge the future of every call.
            Ok(begun_by) => Box::pin(all_covered(&begun_by, permit)).await,
            Err(rejection) => Err(rejection).into(),
        }
    }

    /// True if this principal has started a task with this id.
    pub(super) fn knows(&self, principal: &Principal, task: &str) -> bool {
        self.table.lock().begun_by.contains_key(&(principal.clone(), task.into()))
    }

    /// The calls that may have started the tasks that a request names.
    fn named_by(&self, permit: &Permit) -> Result<Vec<Arc<Call>>, Rejection> {
        let request = permit.request();
        let call = &request.call;
        if request.era == Era::Stateless && !call.tasks().is_empty() && !call.declares_tasks() {
            return Err(MessageFault::MissingExtension(EXTENSION).into());
        }
        let begun_by = call.tasks().iter().map(|task| self.begun_by(task, permit));
        let begun_by: Option<Vec<_>> = begun_by.collect();
        Ok(begun_by.ok_or(Rejection::TaskNotFound)?.concat())
    }

    /// True if a task may be in the caller's list. Callers without a name get no ids of tasks.
    ///
    /// # Errors
    /// As [`Tasks::is_heard_of`].
    pub async fn is_listed(&self, task: &str, permit: &Permit) -> StageResult<bool> {
        if permit.caller().is_anonymous() {
            return Ok(false).into();
        }
        self.is_heard_of(task, permit).await
    }

    /// True if the caller may get notifications about a task: it is theirs, and they may still make its call.
    ///
    /// # Errors
    /// If a policy could not decide.
    pub async fn is_heard_of(&self, task: &str, permit: &Permit) -> StageResult<bool> {
        let Some(begun_by) = self.begun_by(task, permit) else { return Ok(false).into() };
        all_covered(&begun_by, permit).await.map(|covered| match covered {
            Ok(()) => Ok(true),
            Err(Rejection::Denied { .. } | Rejection::NoCredential) => Ok(false),
            Err(failed) => Err(failed),
        })
    }

    /// The caller's calls that may have started a task. None: the task is not the caller's. All callers without a
    /// credential are one principal, so for them the id, which a server makes unguessable, is the only protection.
    fn begun_by(&self, task: &str, permit: &Permit) -> Option<Vec<Arc<Call>>> {
        let key = (permit.caller().principal(), Box::from(task));
        self.table.lock().begun_by.get(&key).cloned()
    }

    /// Records that the permitted call has started a task, which keeps the call's places. A call that cannot start one
    /// is ignored, because a replayed answer on another stream does not belong to it.
    pub fn record(&self, task: &str, permit: &Permit, places: &CallPlaces) {
        let request = permit.request();
        if request.call.may_start_task() {
            let key: TaskKey = (permit.caller().principal(), task.into());
            let mut table = self.table.lock();
            table.record(key.clone(), permit.caller().party(request.peer), &request.call);
            table.places.keep(key, places);
        }
    }

    /// Notes that the task that a request names has ended, as its answer says.
    pub(super) fn note_end(&self, permit: &Permit) {
        if let [task] = permit.request().call.tasks() {
            let key = (permit.caller().principal(), task.clone());
            self.table.lock().places.end(&key);
        }
    }
}

/// Decides whether the caller may still make each of these calls.
///
/// # Errors
/// Those of `Permit::covers` for the first call that the caller may not make.
async fn all_covered(calls: &[Arc<Call>], permit: &Permit) -> StageResult<()> {
    let mut fallback = FallbackUse::default();
    for call in calls {
        if let Err(rejection) = fallback.note(permit.covers(call).await) {
            return StageResult { result: Err(rejection), fallback };
        }
    }
    StageResult { result: Ok(()), fallback }
}

impl TaskTable {
    fn record(&mut self, key: TaskKey, party: Party, call: &Call) {
        let size = size(&key, call);
        while let Some(party) = self.gives_way(&party, size) {
            if !self.forget_oldest(&party) {
                return;
            }
        }
        let call = Arc::new(call.kept());
        self.tasks.add(&party, 1);
        self.bytes.add(&party, size);
        self.begun_by.entry(key.clone()).or_default().push(Arc::clone(&call));
        self.oldest_first.entry(party).or_default().push_back((key, call));
    }

    fn gives_way(&self, party: &Party, size: usize) -> Option<Party> {
        let by_number = self.tasks.gives_way(party, 1, TASKS);
        by_number.or_else(|| self.bytes.gives_way(party, size, BYTES))
    }

    /// Forgets the oldest task of the party. False: the party has none.
    fn forget_oldest(&mut self, party: &Party) -> bool {
        let Some(tasks) = self.oldest_first.get_mut(party) else { return false };
        let Some((key, call)) = tasks.pop_front() else { return false };
        if tasks.is_empty() {
            self.oldest_first.remove(party);
        }
        self.tasks.remove(party, 1);
        self.bytes.remove(party, size(&key, &call));
        if let Some(calls) = self.begun_by.get_mut(&key) {
            calls.retain(|other| !Arc::ptr_eq(other, &call));
            if calls.is_empty() {
                self.begun_by.remove(&key);
            }
        }
        true
    }
}

fn size((_, task): &TaskKey, call: &Call) -> usize {
    OVERHEAD + task.len() + call.body().len()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn principal(name: &str) -> Principal {
        Principal::new("keys".into(), None, name)
    }

    fn party(name: &str) -> Party {
        principal(name).party(None)
    }

    fn call(arguments: usize) -> Call {
        let text = "x".repeat(arguments);
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t","arguments":{{"x":"{text}"}}}}}}"#
        );
        Call::parse(Bytes::from(body)).unwrap()
    }

    fn record(table: &mut TaskTable, who: &str, task: &str, call: &Call) {
        table.record((principal(who), task.into()), party(who), call);
    }

    fn knows(table: &TaskTable, who: &str, task: &str) -> bool {
        table.begun_by.contains_key(&(principal(who), task.into()))
    }

    #[test]
    fn too_many_tasks_of_one_caller_displace_no_task_of_others() {
        let (mut table, call) = (TaskTable::default(), call(1));
        record(&mut table, "ada", "hers", &call);
        for n in 0..10_001 {
            record(&mut table, "eve", &n.to_string(), &call);
        }
        assert!(knows(&table, "ada", "hers"));
        assert!(knows(&table, "eve", "10000") && !knows(&table, "eve", "0"), "her own oldest is forgotten");
        assert_eq!(table.begun_by.len(), 1 + TASKS.most_of_one);
    }

    #[test]
    fn a_full_table_displaces_a_task_of_the_caller_with_most_tasks() {
        let (mut table, call) = (TaskTable::default(), call(1));
        record(&mut table, "ada", "hers", &call);
        for n in 0..20_000 {
            record(&mut table, &format!("eve-{}", n % 20), &n.to_string(), &call);
        }
        assert!(knows(&table, "ada", "hers") && table.begun_by.len() == TASKS.most);
        let queued: usize = table.oldest_first.values().map(VecDeque::len).sum();
        assert_eq!(queued, TASKS.most);
    }

    #[test]
    fn the_memory_for_large_calls_is_limited() {
        let (mut table, small, large) = (TaskTable::default(), call(1), call(4_000_000));
        record(&mut table, "ada", "hers", &small);
        for n in 0..100 {
            record(&mut table, &format!("eve-{}", n % 10), &n.to_string(), &large);
        }
        let kept: usize = table.begun_by.values().flatten().map(|call| call.body().len()).sum();
        assert!(kept <= BYTES.most && kept > BYTES.most / 2, "{kept}");
        assert!(knows(&table, "ada", "hers"));
    }

    #[test]
    fn a_repeated_id_belongs_to_every_possible_call() {
        let mut table = TaskTable::default();
        for arguments in [1, 2] {
            record(&mut table, "ada", "1", &call(arguments));
        }
        assert_eq!(table.begun_by.values().map(Vec::len).collect::<Vec<_>>(), [2]);
        assert!(table.forget_oldest(&party("ada")) && knows(&table, "ada", "1"));
        assert!(table.forget_oldest(&party("ada")) && !knows(&table, "ada", "1"));
        assert!(!table.forget_oldest(&party("ada")));
    }
}
