//! The way back to an earlier generation, and how long a rollback holds.

use std::time::Instant;

use super::Reloader;
use super::attempt::{RefusalReason, RollbackResult, RollbackWish};
use super::parts::usable;
use super::rollback::{self, Rollback};
use crate::operation::Requester;
use witgate_config::Config;
use witgate_config::resolve::Strictness;
use witgate_policy::generation::{Generation, Recipe};

impl Reloader {
    /// Goes back to the generation `to`, or without a number to the most recent one with different inputs. Its
    /// configuration and its components come back; key stores, key sets and secrets stay as they are now. The rollback
    /// holds until the configuration or a component changes again, and it survives a restart.
    ///
    /// # Errors
    /// With the reason why the rollback is not possible; the live generation stays.
    pub(crate) async fn roll_back(
        &self,
        RollbackWish { to, allows_new_access }: RollbackWish,
        by: Requester,
    ) -> Result<RollbackResult, String> {
        let started = Instant::now();
        if let Some(target) = self.generations.earlier(to) {
            // Before the lock, because a revocation is an attempt as well and must not wait.
            self.factory.prepare(&target.recipe).await;
        }
        let mut rollback = self.rollback.lock().await;
        let target = self.generations.earlier(to).ok_or_else(|| self.nothing_to_go_back_to(to))?;
        let (candidate, config) = self.repeat(&target.recipe, target.origin).await.map_err(|reasons| {
            let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
            format!("generation {} cannot be made again: {}", target.number, reasons.join("; "))
        })?;
        if !allows_new_access && let Some(reason) = self.guard_rollback(&candidate, &config).await {
            return Err(reason.to_string());
        }
        let parts = self.prepare(&config, &candidate).map_err(|reasons| {
            let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
            format!("generation {} cannot be made again: {}", target.number, reasons.join("; "))
        })?;
        let against = rollback::written(&self.path).map_err(|error| {
            format!(
                "the files cannot be read, so a later change of them could not be noticed: {error}; try again"
            )
        })?;
        let live = self.flip((candidate, parts), &config, started);
        self.renew_upstreams(&config, &live);
        tracing::warn!(generation = live.number(), "rolled back to generation {}", target.origin);
        self.audit.rolled_back(target.origin, live.number(), by);
        let mut unkept = None;
        if against == *target.recipe {
            // The target is what the files say: there is nothing to hold.
            *rollback = None;
            self.forget_rollback();
        } else {
            let recipe = Recipe::clone(&target.recipe);
            let held = Rollback { to: target.origin, recipe, against, restricted: false };
            unkept = self.keep_rollback(&held);
            *rollback = Some(held);
        }
        self.files_changed.notify_one();
        Ok(RollbackResult { to: target.origin, live: live.number(), unkept })
    }

    fn nothing_to_go_back_to(&self, to: Option<u64>) -> String {
        let numbers: Vec<_> = self.generations.kept().iter().map(|kept| kept.number.to_string()).collect();
        match to {
            Some(to) => {
                format!(
                    "generation {to} is not kept; there are {} (`witgate plugin list`)",
                    numbers.join(", ")
                )
            }
            None => "there is no earlier generation with other inputs".to_owned(),
        }
    }

    /// Makes a generation again, with all its parts.
    async fn repeat(&self, recipe: &Recipe, origin: u64) -> Result<(Generation, Config), Vec<RefusalReason>> {
        let config = self.recovered(recipe, Strictness::Whole)?;
        let live = self.generations.live();
        let repeated = self.factory.repeat(&config, Some(&live), recipe, origin).await;
        let repeated =
            repeated.map_err(|errors| errors.into_iter().map(RefusalReason::from).collect::<Vec<_>>())?;
        Ok((repeated, config))
    }

    /// The configuration of an earlier recipe.
    fn recovered(&self, recipe: &Recipe, strictness: Strictness) -> Result<Config, Vec<RefusalReason>> {
        let (config, _) = usable(self.read(recipe.config(), strictness))?;
        match self.obstacles(&config) {
            obstacles if obstacles.is_empty() => Ok(config),
            obstacles => Err(obstacles.into_iter().map(RefusalReason::of_configuration).collect()),
        }
    }

    /// Keeps the rollback in force, also against the present content of the files. To be called when the files have
    /// changed and no candidate is better.
    pub(super) fn hold_against_files(&self, rollback: &mut Option<Rollback>, restricted: bool) {
        let Some(held) = rollback else { return };
        // Files that cannot be read now still differ from the recipe that the rollback overrides, and are checked
        // again.
        if let Ok(now) = rollback::written(&self.path) {
            held.against = now;
            held.restricted = restricted;
            self.keep_rollback(held);
        }
    }

    pub(super) fn end_rollback(&self, rollback: &mut Option<Rollback>) {
        if let Some(held) = rollback.take() {
            tracing::info!("the files have changed, so the rollback to generation {} is over", held.to);
            self.forget_rollback();
        }
    }

    fn keep_rollback(&self, rollback: &Rollback) -> Option<String> {
        *self.rolled_back_to.lock() = Some(rollback.to);
        let state = self.state.as_ref()?;
        let error = rollback.write(state).err()?;
        let message =
            format!("it ends with this process, because {} cannot be written: {error}", state.display());
        tracing::error!("the rollback does not survive a restart: {message}");
        Some(message)
    }

    fn forget_rollback(&self) {
        *self.rolled_back_to.lock() = None;
        if let Some(Err(error)) = self.state.as_ref().map(|state| Rollback::remove(state)) {
            tracing::error!("cannot remove the state of the former rollback: {error}");
        }
    }
}
