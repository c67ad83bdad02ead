//! Reloads that an operator asks for, and the answer to what one would change.

use std::sync::Arc;
use std::time::SystemTime;

use super::attempt::Attempt;
use super::difference::{SettingChange, difference};
use super::parts::usable;
use super::{Reloader, rollback};
use witgate_base::clock;
use witgate_config::Config;
use witgate_config::resolve::{self, Strictness};
use witgate_policy::generation::{Generation, Pipeline};

/// The result of a reload that was asked for.
#[derive(Debug)]
pub(crate) struct ReloadResult {
    /// The live generation before.
    pub before: Arc<Generation>,
    /// The live generation now.
    pub live: Arc<Generation>,
    /// The settings that differ between the two.
    pub changes: Vec<SettingChange>,
    /// The reasons why the files, or a part of them, are not in use.
    pub refused: Vec<String>,
}

/// The changes that a reload would make.
#[derive(Debug)]
pub(crate) struct ReloadPreview {
    /// The live generation.
    pub live: Arc<Generation>,
    /// The settings that differ in the files.
    pub changes: Vec<SettingChange>,
    /// The upstreams that would be added, removed or served anew, in sentences.
    pub upstreams: Vec<String>,
    /// The reasons why the files, or a part of them, would not be used.
    pub refused: Vec<String>,
}

impl Reloader {
    /// Makes a candidate from the files as they are now, and waits for its end.
    pub(crate) async fn reload(&self) -> ReloadResult {
        let (before, asked_at) = (self.generations.live(), clock::system_time());
        let mut progress = self.progress.subscribe();
        let begun = progress.borrow_and_update().begun;
        self.look();
        // The sender is a part of the reloader.
        let _ = progress.wait_for(|progress| progress.ended > begun).await;
        let live = self.generations.live();
        let changes = difference(before.recipe().config(), live.recipe().config());
        ReloadResult { before, live, changes, refused: self.refused_since(asked_at) }
    }

    /// The reasons of an attempt since then that was refused.
    fn refused_since(&self, since: SystemTime) -> Vec<String> {
        match self.last() {
            Some(Attempt { at, outcome: Err(reasons), .. }) if at >= since => {
                reasons.iter().map(ToString::to_string).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The changes that a reload would make now. Nothing changes; policies are not built.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn preview(&self) -> Result<ReloadPreview, String> {
        let written = rollback::written(&self.path).map_err(|error| error.to_string())?;
        let live = self.generations.live();
        let changes = difference(live.recipe().config(), written.config());
        let loaded = usable(resolve::load_parts(&self.path, &self.environment, Strictness::Parts));
        let held = self.rollback.try_lock();
        let held = held.as_ref().ok().and_then(|held| held.as_ref());
        let held = held.filter(|held| held.against == written && !held.restricted).map(|held| {
            format!(
                "the rollback to generation {} is in force until the configuration or a component changes",
                held.to
            )
        });
        let (upstreams, refused) = match loaded {
            Ok((config, faults)) => {
                let faults = faults.iter().map(ToString::to_string);
                let refused = held.into_iter().chain(self.obstacles(&config)).chain(faults).collect();
                (changed_upstreams(&live, &config), refused)
            }
            Err(reasons) => (Vec::new(), reasons.iter().map(ToString::to_string).collect()),
        };
        Ok(ReloadPreview { live, changes, upstreams, refused })
    }
}

/// The upstreams of `config` that are not served yet, and those that would not be served any more, in sentences.
fn changed_upstreams(live: &Generation, config: &Config) -> Vec<String> {
    let is_broken = |name: &str| config.broken.upstreams.contains(name);
    let written = || config.upstreams.iter().filter(|upstream| !is_broken(&upstream.name));
    let served = |name: &str| live.served().find(|pipeline| *pipeline.upstream == *name);
    let changed = written().filter_map(|upstream| match served(&upstream.name) {
        None => Some(format!("the upstream `{}` is added, at {}", upstream.name, upstream.path)),
        Some(pipeline) if !pipeline.serves(upstream, config) => Some(format!(
            "the upstream `{}` is served anew, at {}: its sessions end, and its running calls finish",
            upstream.name, upstream.path
        )),
        Some(_) => None,
    });
    let is_gone = |pipeline: &&Pipeline| {
        let name = &*pipeline.upstream;
        !is_broken(name) && !config.upstreams.iter().any(|upstream| upstream.name == name)
    };
    let gone = live.served().filter(is_gone);
    let gone = gone
        .map(|pipeline| format!("the upstream `{}` is removed: its running calls finish", pipeline.upstream));
    changed.chain(gone).collect()
}
