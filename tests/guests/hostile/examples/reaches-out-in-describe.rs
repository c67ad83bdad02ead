//! Tries in `describe` whatever is granted only later, and traps if anything of it works.

use witgate_guest_hostile::{Description, HOST, Host, Hostile, authorizer, description, done, get};

struct Guest;

impl Hostile for Guest {
    fn describe() -> Description {
        assert!(done(HOST.send(get("http://127.0.0.1:1/"))).is_err(), "it has HTTP");
        assert!(HOST.secret("vault").is_none(), "it has secrets");
        HOST.cache(b"key", b"value", 60);
        assert!(HOST.cached(b"key").is_none(), "it has a cache");
        assert!(HOST.upstream().is_empty() && HOST.arguments().is_none(), "it has a request");
        description("{}")
    }
}

authorizer!(Guest);
