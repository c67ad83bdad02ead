//! Takes a megabyte of memory after the other.

use std::hint::black_box;

use witgate_guest_hostile::{Call, Decision, Hostile, authorizer};

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        let mut eaten: Vec<Vec<u8>> = Vec::new();
        loop {
            eaten.push(black_box(vec![1; 1 << 20]));
        }
    }
}

authorizer!(Guest);
