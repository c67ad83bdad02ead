//! Fills its cache with as much as one call can carry.

use witgate_guest_hostile::{Call, Decision, HOST, Host, Hostile, authorizer};

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        let value = vec![7; 64 << 10];
        for number in 0..500_u32 {
            let mut key = [0; 256];
            key[..4].copy_from_slice(&number.to_be_bytes());
            HOST.cache(&key, &value, u32::MAX);
        }
        Decision::Allow
    }
}

authorizer!(Guest);
