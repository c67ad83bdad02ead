//! Configured instances of one component. A hook takes one, and returns it afterwards. After any fault, the instance
//! is discarded.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use witgate_plugin::{
    Call, Credential, Decision, EntryDecision, Principal, TargetKind, Transport, Unavailability, Verdict,
    Wants,
};
use zeroize::Zeroizing;

use super::fault::Fault;
use super::instance::{Instance, PrepareError, PreparedComponent};
use super::output::{EntryDecisions, HookOutput};
use super::slow_lane::{Lane, SlowLane};
use super::state::HookLimits;
use super::time::{HookTime, WaitKind};
use crate::failure::Failure;
use witgate_base::breaker::CallerDigest;
use witgate_config::Isolation;
use witgate_runtime::shares::{Capacity, Share, Shares};
use witgate_services::Scope;

/// Maximum number of idle instances. Checks that do not wait need one for each processor. Other instances of a burst
/// are discarded, because all policies share one supply.
const IDLE: usize = 32;

/// Maximum number of entries of a list in one call of the hook. With more, an instance would work for one caller for
/// longer, and the cost of a call is already a small part.
pub const MOST_ENTRIES: usize = 32;

/// A copy of a call for a hook on other threads, which may outlive the request.
struct OwnedCall {
    method: Box<str>,
    kind: TargetKind,
    target: Box<str>,
    transport: Transport,
    listing: bool,
}

impl OwnedCall {
    fn of(call: &Call<'_>) -> Self {
        let Call { method, kind, target, transport, listing } = *call;
        Self { method: method.into(), kind, target: target.into(), transport, listing }
    }

    fn as_call(&self) -> Call<'_> {
        let Self { method, kind, target, transport, listing } = self;
        Call { method, kind: *kind, target, transport: *transport, listing: *listing }
    }
}

/// Nothing in the slow lane panics. If it did, only that hook would fail.
fn ended() -> Fault {
    Fault::new(Failure::Trap, "the hook ended in a panic of the host")
}

/// The caller of the request in `scope`.
fn caller_of(scope: &Scope) -> Result<Principal<'_>, Fault> {
    scope.subject.principal().ok_or_else(|| Fault::new(Failure::Config, "there is no caller to judge"))
}

fn entries(targets: &[&str]) -> u32 {
    u32::try_from(targets.len()).unwrap_or(u32::MAX)
}

/// The limit of instances at work, half of which one caller may use. Otherwise hooks that wait for the network could
/// use all of them. The shares shrink as instances are used.
fn bounds(most: usize) -> Capacity {
    Capacity { most, most_of_one: most.div_ceil(2) }
}

/// The instances of one component.
pub struct Pool {
    prepared: PreparedComponent,
    config: String,
    /// True if hooks wait for the network.
    network: bool,
    isolation: Isolation,
    idle: Mutex<Vec<Instance>>,
    at_work: Shares<CallerDigest>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("idle", &self.idle.lock().len()).finish_non_exhaustive()
    }
}

impl Pool {
    /// Configures a first instance. `network` is true if hooks wait for the network.
    ///
    /// # Errors
    /// If the component refuses the settings.
    pub async fn configure(
        prepared: PreparedComponent,
        config: String,
        network: bool,
        isolation: Isolation,
    ) -> Result<(Self, Wants), PrepareError> {
        let (instance, wants) = prepared.configured(&config).await?;
        let at_work = Shares::new(bounds(prepared.at_once()));
        let idle = Mutex::new(vec![instance]);
        Ok((Self { prepared, config, network, isolation, idle, at_work }, wants))
    }

    /// Calls the hook of an authenticator about `credential`.
    ///
    /// # Errors
    /// With the failure. The instance is then discarded.
    pub async fn authenticate(
        self: &Arc<Self>,
        scope: &Scope,
        call: &Call<'_>,
        credential: &Credential<'_>,
    ) -> Result<Verdict, Fault> {
        let time = self.time(1);
        let Some(lane) = self.slow_lane() else {
            return self.authenticate_on(scope, call, credential, &time, Lane::Fast).await;
        };
        let (pool, scope, call, own) = (Arc::clone(self), scope.clone(), OwnedCall::of(call), time.clone());
        let (scheme, value) = (credential.scheme, Zeroizing::new(credential.value.to_owned()));
        let hook = Box::pin(async move {
            let credential = Credential { scheme, value: &value };
            pool.authenticate_on(&scope, &call.as_call(), &credential, &own, Lane::Slow).await
        });
        // The caller's time counts, because the lane may never run the hook.
        time.bounds(lane.run(hook)).await?.unwrap_or_else(|| Err(ended()))
    }

    /// Calls the hook of an authorizer about `principal` and `call`.
    ///
    /// # Errors
    /// With the failure. The instance is then discarded.
    pub async fn authorize(
        self: &Arc<Self>,
        scope: &Scope,
        call: &Call<'_>,
        principal: &Principal<'_>,
    ) -> Result<Decision, Fault> {
        let time = self.time(1);
        let Some(lane) = self.slow_lane() else {
            return self.authorize_on(scope, call, principal, &time, Lane::Fast).await;
        };
        let (pool, scope, call, own) = (Arc::clone(self), scope.clone(), OwnedCall::of(call), time.clone());
        let hook = Box::pin(async move {
            let principal = caller_of(&scope)?;
            pool.authorize_on(&scope, &call.as_call(), &principal, &own, Lane::Slow).await
        });
        // The caller's time counts, because the lane may never run the hook.
        time.bounds(lane.run(hook)).await?.unwrap_or_else(|| Err(ended()))
    }

    /// Calls the hook of an authorizer about `principal` and a list's entries: `call` with each of `targets`, which are
    /// at most [`MOST_ENTRIES`].
    ///
    /// # Errors
    /// With the failure. The instance is then discarded.
    pub async fn authorize_entries(
        self: &Arc<Self>,
        scope: &Scope,
        call: &Call<'_>,
        targets: &[&str],
        principal: &Principal<'_>,
    ) -> Result<Result<Vec<EntryDecision>, Unavailability>, Fault> {
        let time = self.time(entries(targets));
        let Some(lane) = self.slow_lane() else {
            return self.authorize_entries_on(scope, call, targets, principal, &time, Lane::Fast).await;
        };
        let (pool, scope, call, own) = (Arc::clone(self), scope.clone(), OwnedCall::of(call), time.clone());
        let targets: Vec<Box<str>> = targets.iter().map(|target| (*target).into()).collect();
        let hook = Box::pin(async move {
            let principal = caller_of(&scope)?;
            let targets: Vec<&str> = targets.iter().map(|target| &**target).collect();
            pool.authorize_entries_on(&scope, &call.as_call(), &targets, &principal, &own, Lane::Slow).await
        });
        // The caller's time counts, because the lane may never run the hook.
        time.bounds(lane.run(hook)).await?.unwrap_or_else(|| Err(ended()))
    }

    async fn authenticate_on(
        &self,
        scope: &Scope,
        call: &Call<'_>,
        credential: &Credential<'_>,
        time: &HookTime,
        lane: Lane,
    ) -> Result<Verdict, Fault> {
        // Pinned here, because passing it by value would double its memory.
        let hook = pin!(async {
            let mut work = self.check_out(scope, 1, time, lane).await?;
            let Instance { store, guest, .. } = &mut work.instance;
            store.data_mut().shows(credential.value);
            let outcome = guest.authenticate(store, call, credential).await;
            work.finish(outcome)
        });
        time.bounds(hook).await?
    }

    async fn authorize_on(
        &self,
        scope: &Scope,
        call: &Call<'_>,
        principal: &Principal<'_>,
        time: &HookTime,
        lane: Lane,
    ) -> Result<Decision, Fault> {
        let hook = pin!(async {
            let mut work = self.check_out(scope, 1, time, lane).await?;
            let Instance { store, guest, .. } = &mut work.instance;
            let outcome = guest.authorize(store, call, principal).await;
            work.finish(outcome)
        });
        time.bounds(hook).await?
    }

    async fn authorize_entries_on(
        &self,
        scope: &Scope,
        call: &Call<'_>,
        targets: &[&str],
        principal: &Principal<'_>,
        time: &HookTime,
        lane: Lane,
    ) -> Result<Result<Vec<EntryDecision>, Unavailability>, Fault> {
        let hook = pin!(async {
            let mut work = self.check_out(scope, entries(targets), time, lane).await?;
            let Instance { store, guest, .. } = &mut work.instance;
            let outcome = guest.authorize_entries(store, call, targets, principal).await;
            let answer = outcome.map(|answer| EntryDecisions { targets: targets.len(), answer });
            work.finish(answer).map(|decisions| decisions.answer)
        });
        time.bounds(hook).await?
    }

    /// The slow lane, if the next hook has to run there.
    fn slow_lane(&self) -> Option<&SlowLane> {
        self.prepared.slow_lane().filter(|_| self.prepared.gauges().pace.is_slow()).map(|lane| &**lane)
    }

    /// True if the component has the hook of an authenticator.
    pub fn authenticates(&self) -> bool {
        self.prepared.authenticates()
    }

    /// True if the component has the hook of an authorizer.
    pub fn authorizes(&self) -> bool {
        self.prepared.authorizes()
    }

    /// True if the component has the hook of an authorizer for many entries of a list.
    pub fn authorizes_entries(&self) -> bool {
        self.prepared.authorizes_entries()
    }

    /// The number of instances, at work or idle.
    pub fn instances(&self) -> usize {
        self.prepared.gauges().instances.load(Ordering::Relaxed)
    }

    /// The size of all linear memories, in bytes.
    pub fn memory(&self) -> usize {
        self.prepared.gauges().memory.load(Ordering::Relaxed)
    }

    /// The time of a hook about this number of entries. Each one more has the running time of one more hook.
    fn time(&self, entries: u32) -> HookTime {
        let limits = self.prepared.limits();
        HookTime::of(limits.wait(self.network) + limits.timeout * entries.saturating_sub(1))
    }

    async fn check_out(
        &self,
        scope: &Scope,
        entries: u32,
        time: &HookTime,
        lane: Lane,
    ) -> Result<Work<'_>, Fault> {
        let place = self.place(scope.source(), time).await?;
        // A separate statement, so that the lock is not held while an instance is created.
        let idle = self.idle.lock().pop();
        let mut instance = match idle {
            Some(instance) => instance,
            None => Box::pin(self.prepared.configured(&self.config)).await?.0,
        };
        self.prepared.count_epochs(time);
        let limits = HookLimits::of(self.prepared.limits(), entries);
        instance.begin(scope.clone(), limits, time.clone(), lane);
        Ok(Work { pool: self, instance, _place: place })
    }

    async fn place(&self, source: CallerDigest, time: &HookTime) -> Result<Share<CallerDigest>, Fault> {
        if let Some(place) = self.at_work.take(&source) {
            return Ok(place);
        }
        time.waits(WaitKind::Instance, self.at_work.wait_for_one(&source)).await
    }

    /// Takes back an instance after a hook without a fault.
    fn take_back(&self, mut instance: Instance) {
        instance.store.data_mut().end();
        instance.served += 1;
        match self.isolation {
            Isolation::Pooled { recycle_after } if instance.served < recycle_after => {
                let mut idle = self.idle.lock();
                if idle.len() < IDLE {
                    idle.push(instance);
                }
            }
            Isolation::Pooled { .. } | Isolation::PerCall => {}
        }
    }
}

/// An instance at work. If it is dropped during a hook (its time is over, or the caller has disconnected), the
/// instance is discarded.
struct Work<'a> {
    pool: &'a Pool,
    instance: Instance,
    _place: Share<CallerDigest>,
}

impl Work<'_> {
    /// The hook's answer, if it is valid. Only then the instance is used again.
    fn finish<T: HookOutput>(mut self, outcome: wasmtime::Result<T>) -> Result<T, Fault> {
        let answer = outcome.map_err(|error| self.instance.fault(&error))?;
        answer.check().map_err(|detail| Fault::new(Failure::BadOutput, detail))?;
        if self.instance.store.data().has_overreached() && answer.lets_through() {
            let detail = "the component used something that is not granted, and then allowed the call";
            return Err(Fault::new(Failure::HostDenied, detail));
        }
        self.pool.take_back(self.instance);
        Ok(answer)
    }
}
