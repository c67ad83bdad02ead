//! `[passwords]`.

use witgate_basic::hash::{Argon2Hash, MOST_WORK_KIB, RECOMMENDED};

use super::resolver::Resolver;
use crate::raw::Passwords;

impl Resolver<'_> {
    pub(super) fn password_cost(&mut self, written: &Passwords) -> Argon2Hash {
        let cost = password_cost(written);
        if u64::from(cost.memory_kib) * u64::from(cost.passes) > MOST_WORK_KIB {
            let message = format!(
                "a check would take too long: {} KiB in {} passes are more than {MOST_WORK_KIB} KiB",
                cost.memory_kib, cost.passes
            );
            self.error(&["passwords"], message, "write fewer `passes`, or less `memory_kib`");
        }
        cost
    }
}

/// The cost of new hashes of passwords.
pub fn password_cost(written: &Passwords) -> Argon2Hash {
    Argon2Hash {
        memory_kib: written.memory_kib.unwrap_or(RECOMMENDED.memory_kib),
        passes: written.passes.unwrap_or(RECOMMENDED.passes),
        lanes: written.lanes.unwrap_or(RECOMMENDED.lanes),
        ..RECOMMENDED
    }
}
