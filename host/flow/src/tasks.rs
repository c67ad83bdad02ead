//! The owners of tasks, and the calls that started them. A task's id is no proof of anything: it belongs to
//! the principal whose call has started it (MCP 2025-11-25 "Tasks", "Security Considerations"), for as long
//! as that principal may make the call.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use super::authorize::Permit;
use super::reject::Rejection;
use super::stage_result::{FallbackUse, StageResult};
use witgate_base::party::{Party, Principal};
use witgate_message::call::Call;
use witgate_message::era::Era;
use witgate_message::fault::MessageFault;
use witgate_runtime::shares::{Capacity, Holdings};

/// The extension that tasks of the stateless era belong to.
const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// Maximum number of remembered tasks per upstream, each party forgetting its own oldest first; a forgotten
/// task is out of reach, never open to others.
const TASKS: Capacity = Capacity { most: 10_000, most_of_one: 1_000 };

/// The bytes of what is remembered of them, which is mostly the calls. Two of the greatest fit.
const BYTES: Capacity = Capacity { most: 64 << 20, most_of_one: 9 << 20 };

/// Memory of a task beside its call and its id, in bytes.
const OVERHEAD: usize = 512;

/// The tasks of one upstream, each with its owner.
#[derive(Debug, Default)]
pub struct Tasks {
    table: Mutex<TaskTable>,
}

/// A task of a principal.
type TaskKey = (Principal, Box<str>);

#[derive(Debug, Default)]
struct TaskTable {
    /// The calls that have started a task. Ids of one upstream may repeat where it counts them by session: then there
    /// are several, and it cannot be told which of them is meant.
    begun_by: HashMap<TaskKey, Vec<Arc<Call>>>,
    oldest_first: HashMap<Party, VecDeque<(TaskKey, Arc<Call>)>>,
    tasks: Holdings,
    bytes: Holdings,
}

impl Tasks {
    /// Refuses a request that names a task that is not the caller's, or whose call the caller may not make any more.
    ///
    /// # Errors
    /// `TaskNotFound`, whether there is such a task or not; `MissingExtension` where the stateless
    /// era does not let the client ask; those of `Permit::covers`.
    pub async fn check(&self, permit: &Permit) -> StageResult<()> {
        match self.named_by(permit) {
            Ok(begun_by) if begun_by.is_empty() => Ok(()).into(),
            // Boxed: it holds a whole stage once more, and takes no room in the future of every call.
            Ok(begun_by) => Box::pin(all_covered(&begun_by, permit)).await,
            Err(rejection) => Err(rejection).into(),
        }
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

    /// True if a task may be in the caller's list. Nobody is told the ids of the nameless.
    ///
    /// # Errors
    /// As [`Tasks::is_heard_of`].
    pub async fn is_listed(&self, task: &str, permit: &Permit) -> StageResult<bool> {
        if permit.caller().is_anonymous() {
            return Ok(false).into();
        }
        self.is_heard_of(task, permit).await
    }

    /// True if the caller may be notified about a task: it is the caller's, who may still make its call.
    ///
    /// # Errors
    /// Where a policy cannot say.
    pub async fn is_heard_of(&self, task: &str, permit: &Permit) -> StageResult<bool> {
        let Some(begun_by) = self.begun_by(task, permit) else { return Ok(false).into() };
        all_covered(&begun_by, permit).await.map(|covered| match covered {
            Ok(()) => Ok(true),
            Err(Rejection::Denied { .. } | Rejection::NoCredential) => Ok(false),
            Err(failed) => Err(failed),
        })
    }

    /// The calls of the caller's that may have started a task. None: it is not the caller's. Who showed no credential is
    /// one principal with all others who did not: to them a task's id, which a server makes unguessable, is all there is.
    fn begun_by(&self, task: &str, permit: &Permit) -> Option<Vec<Arc<Call>>> {
        let key = (permit.caller().principal(), Box::from(task));
        self.table.lock().begun_by.get(&key).cloned()
    }

    /// Notes that the permitted call has started a task. What may not start one has not: an answer that is replayed on
    /// another stream tells nothing of its call.
    pub fn record(&self, task: &str, permit: &Permit) {
        let request = permit.request();
        if request.call.may_start_task() {
            let key = (permit.caller().principal(), task.into());
            self.table.lock().record(key, permit.caller().party(request.peer), &request.call);
        }
    }
}

/// Decides whether the caller may still make each of these calls.
///
/// # Errors
/// Those of the first that the caller may not make, as `Permit::covers`.
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

    /// False: the party has none.
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
    use witgate_base::party::Principal;

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
