//! Denies in words that are not within the bounds of the WIT package: which, the tool's name says.

use witgate_guest_hostile::{Call, Decision, Denial, Hostile, authorizer};

fn denial(reason: &str) -> Denial {
    Denial { reason: reason.to_owned(), ..Denial::default() }
}

struct Guest;

impl Hostile for Guest {
    fn authorize(call: &Call<'_>) -> Decision {
        let fine = denial("fine");
        Decision::Deny(match call.target {
            "no-reason" => denial(""),
            "long-reason" => denial(&"x".repeat(65)),
            "reason-with-newline" => denial("denied\nINFO forged"),
            "reason-with-escape" => denial("\u{1b}[2J"),
            "reason-in-capitals" => denial("Denied"),
            "many-scopes" => Denial { scopes: vec!["s".to_owned(); 257], ..fine },
            "long-scope" => Denial { scopes: vec!["s".repeat(257)], ..fine },
            "scope-with-quote" => Denial { scopes: vec!["s\", error=\"forged".to_owned()], ..fine },
            "scope-with-newline" => Denial { scopes: vec!["s\r\nSet-Cookie: a=b".to_owned()], ..fine },
            "long-detail" => Denial { detail: Some("x".repeat(1025)), ..fine },
            "forged-detail" => Denial { detail: Some("\u{1b}[2J\nFORGED\u{202e}".to_owned()), ..fine },
            "forever" => Denial { retry_after: Some(u32::MAX), ..fine },
            _ => return Decision::Allow,
        })
    }
}

authorizer!(Guest);
