//! Looks a name up: a name can carry a secret out. It says if it gets an answer.

use witgate_guest_hostile::wasi::sockets::instance_network::instance_network;
use witgate_guest_hostile::wasi::sockets::ip_name_lookup::resolve_addresses;
use witgate_guest_hostile::{Call, Decision, Hostile, authorizer};

struct Guest;

impl Hostile for Guest {
    fn authorize(_call: &Call<'_>) -> Decision {
        let network = instance_network();
        for name in ["localhost", "127.0.0.1", "secret.example"] {
            let Ok(answer) = resolve_addresses(&network, name) else { continue };
            answer.subscribe().block();
            if answer.resolve_next_address().is_ok_and(|address| address.is_some()) {
                return Decision::deny("looked-a-name-up", name);
            }
        }
        Decision::Allow
    }
}

authorizer!(Guest);
