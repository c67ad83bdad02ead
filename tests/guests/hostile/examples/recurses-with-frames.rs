//! Calls itself with large frames: it runs out of the stack that it keeps in its own memory.

use std::hint::black_box;

use witgate_guest_hostile::{Call, Decision, Hostile, authorizer};

fn deeper(depth: u64) -> u64 {
    let frame = black_box([depth; 512]);
    let [first, ..] = frame;
    deeper(black_box(first + 1)) ^ black_box(&frame).iter().sum::<u64>()
}

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        black_box(deeper(0));
        Decision::Allow
    }
}

authorizer!(Guest);
