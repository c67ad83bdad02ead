//! The last generations, for rollbacks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;
use witgate_plugin::Digest;

use crate::Recipe;

/// A generation that a rollback could repeat.
#[derive(Clone, Debug)]
pub struct FormerGeneration {
    /// The generation's number.
    pub number: u64,
    /// The number of the repeated generation, or its own number if it repeats none.
    pub origin: u64,
    /// The time at which it went live.
    pub since: SystemTime,
    /// The recipe of the generation.
    pub recipe: Arc<Recipe>,
    /// True if all pipelines follow the recipe.
    pub is_whole: bool,
    /// The policies, with the component of each. None: a built-in.
    pub policies: Vec<(String, Option<Digest>)>,
}

/// The last generations, oldest first; the live one is the last.
#[derive(Debug)]
pub(super) struct History {
    kept: Mutex<VecDeque<FormerGeneration>>,
    most: AtomicUsize,
}

impl History {
    pub(super) fn new(first: FormerGeneration, most: usize) -> Self {
        Self { kept: Mutex::new([first].into()), most: AtomicUsize::new(most.max(1)) }
    }

    pub(super) fn add(&self, next: FormerGeneration) {
        let mut kept = self.kept.lock();
        // A generation that is held back is no target of a rollback, so it takes no place in the list.
        if kept.back().is_some_and(|last| !last.is_whole) {
            kept.pop_back();
        }
        kept.push_back(next);
        self.shorten(&mut kept);
    }

    pub(super) fn keep(&self, most: usize) {
        self.most.store(most.max(1), Ordering::Relaxed);
        self.shorten(&mut self.kept.lock());
    }

    fn shorten(&self, kept: &mut VecDeque<FormerGeneration>) {
        while kept.len() > self.most.load(Ordering::Relaxed) {
            kept.pop_front();
        }
    }

    pub(super) fn all(&self) -> Vec<FormerGeneration> {
        self.kept.lock().iter().cloned().collect()
    }

    /// The generation `to`. Without `to`, the last one before the origin of the `live` one that follows another
    /// `recipe`.
    pub(super) fn find(&self, to: Option<u64>, live: u64, recipe: &Recipe) -> Option<FormerGeneration> {
        let kept = self.kept.lock();
        let is_it = |each: &&FormerGeneration| match to {
            Some(number) => each.number == number,
            None => each.is_whole && each.number < live && *each.recipe != *recipe,
        };
        kept.iter().rev().find(is_it).cloned()
    }
}
