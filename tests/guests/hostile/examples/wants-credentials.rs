//! Wants to see the headers that carry credentials, and says if it does.

use witgate_guest_hostile::{Call, ConfigError, Data, Decision, HOST, Host, Hostile, Wants, authorizer};

const HEADERS: [&str; 4] = ["authorization", "Cookie", "proxy-authorization", "X-API-Key"];

struct Guest;

impl Hostile for Guest {
    fn configure() -> Result<Wants, ConfigError> {
        let data = Data { arguments: true, meta: true, peer: true, claims: true };
        Ok(Wants { headers: HEADERS.map(str::to_owned).to_vec(), data, ..Wants::default() })
    }

    fn authorize(_call: &Call<'_>) -> Decision {
        match HEADERS.iter().find(|name| HOST.header(name).is_some()) {
            Some(name) => Decision::deny("saw-a-credential", *name),
            None => Decision::Allow,
        }
    }
}

authorizer!(Guest);
