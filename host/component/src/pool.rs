//! Configured instances of one component: checked out for a hook, given back after it, and
//! discarded after any fault.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use witgate_plugin::{Call, Credential, Decision, Principal, TargetKind, Transport, Verdict, Wants};
use zeroize::Zeroizing;

use super::fault::Fault;
use super::instance::{Instance, PrepareError, PreparedComponent};
use super::output::HookOutput;
use super::slow_lane::{Lane, SlowLane};
use super::time::{HookTime, WaitKind};
use crate::failure::Failure;
use witgate_base::breaker::CallerDigest;
use witgate_config::Isolation;
use witgate_runtime::shares::{Capacity, Share, Shares};
use witgate_services::Scope;

/// Instances that wait for work. Checks that wait for nothing need one for each processor; what a burst has made
/// besides is given back, because all policies have theirs from one supply.
const IDLE: usize = 32;

/// A call that outlives the request, for a hook on other threads.
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

/// The slow lane has nothing that panics; if it did, that is the hook's failure alone.
fn ended() -> Fault {
    Fault::new(Failure::Trap, "the hook ended in a panic of the host")
}

/// So many at work, half of them for one caller: hooks that wait for the network would else hold all of them. The shares
/// shrink as they are taken.
fn bounds(most: usize) -> Capacity {
    Capacity { most, most_of_one: most.div_ceil(2) }
}

/// A component at work.
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
    /// Hands the settings to a first instance. `network` says whether hooks wait for the network.
    ///
    /// # Errors
    /// When the component does not take them.
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

    /// Asks the component who shows `credential`.
    ///
    /// # Errors
    /// With how it failed to say; the instance is gone then.
    pub async fn authenticate(
        self: &Arc<Self>,
        scope: &Scope,
        call: &Call<'_>,
        credential: &Credential<'_>,
    ) -> Result<Verdict, Fault> {
        let time = self.time();
        let Some(lane) = self.slow_lane() else {
            return self.authenticate_on(scope, call, credential, &time, Lane::Fast).await;
        };
        let (pool, scope, call, own) = (Arc::clone(self), scope.clone(), OwnedCall::of(call), time.clone());
        let (scheme, value) = (credential.scheme, Zeroizing::new(credential.value.to_owned()));
        let hook = Box::pin(async move {
            let credential = Credential { scheme, value: &value };
            pool.authenticate_on(&scope, &call.as_call(), &credential, &own, Lane::Slow).await
        });
        // By the clock of who waits: the lane may not get to it at all.
        time.bounds(lane.run(hook)).await?.unwrap_or_else(|| Err(ended()))
    }

    /// Asks the component whether `principal` may make `call`.
    ///
    /// # Errors
    /// With how it failed to say; the instance is gone then.
    pub async fn authorize(
        self: &Arc<Self>,
        scope: &Scope,
        call: &Call<'_>,
        principal: &Principal<'_>,
    ) -> Result<Decision, Fault> {
        let time = self.time();
        let Some(lane) = self.slow_lane() else {
            return self.authorize_on(scope, call, principal, &time, Lane::Fast).await;
        };
        let (pool, scope, call, own) = (Arc::clone(self), scope.clone(), OwnedCall::of(call), time.clone());
        let hook = Box::pin(async move {
            let principal = scope
                .subject
                .principal()
                .ok_or_else(|| Fault::new(Failure::Config, "there is no caller to judge"))?;
            pool.authorize_on(&scope, &call.as_call(), &principal, &own, Lane::Slow).await
        });
        // By the clock of who waits: the lane may not get to it at all.
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
        // Pinned here: what takes it by value would hold it once more.
        let hook = pin!(async {
            let mut work = self.check_out(scope, time, lane).await?;
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
            let mut work = self.check_out(scope, time, lane).await?;
            let Instance { store, guest, .. } = &mut work.instance;
            let outcome = guest.authorize(store, call, principal).await;
            work.finish(outcome)
        });
        time.bounds(hook).await?
    }

    /// The slow lane, if its next hook has to run there.
    fn slow_lane(&self) -> Option<&SlowLane> {
        self.prepared.slow_lane().filter(|_| self.prepared.gauges().pace.is_slow()).map(|lane| &**lane)
    }

    /// True if it has the hook of an authenticator.
    pub fn authenticates(&self) -> bool {
        self.prepared.authenticates()
    }

    /// True if it has the hook of an authorizer.
    pub fn authorizes(&self) -> bool {
        self.prepared.authorizes()
    }

    /// The number of instances, at work or idle.
    pub fn instances(&self) -> usize {
        self.prepared.gauges().instances.load(Ordering::Relaxed)
    }

    /// The size of their linear memories, in bytes.
    pub fn memory(&self) -> usize {
        self.prepared.gauges().memory.load(Ordering::Relaxed)
    }

    fn time(&self) -> HookTime {
        HookTime::of(self.prepared.limits().wait(self.network))
    }

    async fn check_out(&self, scope: &Scope, time: &HookTime, lane: Lane) -> Result<Work<'_>, Fault> {
        let place = self.place(scope.source(), time).await?;
        // Taken in a statement of its own, so that the lock is not held over the making.
        let idle = self.idle.lock().pop();
        let mut instance = match idle {
            Some(instance) => instance,
            None => Box::pin(self.prepared.configured(&self.config)).await?.0,
        };
        instance.begin(scope.clone(), self.prepared.limits().timeout, time.clone(), lane);
        Ok(Work { pool: self, instance, _place: place })
    }

    async fn place(&self, source: CallerDigest, time: &HookTime) -> Result<Share<CallerDigest>, Fault> {
        if let Some(place) = self.at_work.take(&source) {
            return Ok(place);
        }
        time.waits(WaitKind::Instance, self.at_work.wait_for_one(&source)).await
    }

    /// Takes back an instance that did its work well.
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

/// An instance at work. Dropped in the middle of a hook (its time is over, or the caller went away), it
/// is gone.
struct Work<'a> {
    pool: &'a Pool,
    instance: Instance,
    _place: Share<CallerDigest>,
}

impl Work<'_> {
    /// The hook's answer, if it is one that can be gone by; only then the instance goes on.
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
