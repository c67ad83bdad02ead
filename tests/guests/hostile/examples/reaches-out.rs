//! Asks the URL that the tool's name is, wherever that leads, and says how far it got.

use witgate_guest_hostile::{
    Call, Decision, HOST, Host, Hostile, HttpError, HttpRequest, authorizer, done, get,
};

/// Headers that are the host's own, and such as would be two.
const HEADERS: [(&str, &str); 7] = [
    ("Host", "forged.example"),
    ("Authorization", "Basic Zm9yZ2Vk"),
    ("Content-Length", "0"),
    ("Transfer-Encoding", "chunked"),
    ("X-One", "1\r\nX-Two: 2"),
    ("X-One: 1\r\nX-Two", "2"),
    ("", "nothing"),
];

fn with_headers(url: &str) -> Decision {
    let smuggled = |(name, value): &&(&str, &str)| {
        let headers = vec![((*name).to_owned(), (*value).to_owned())];
        done(HOST.send(HttpRequest { headers, ..get(url) })) != Err(HttpError::InvalidRequest)
    };
    match HEADERS.iter().find(smuggled) {
        Some((name, _)) => Decision::deny("smuggled-a-header", *name),
        None => Decision::Allow,
    }
}

struct Guest;

impl Hostile for Guest {
    fn authorize(call: &Call<'_>) -> Decision {
        if let Some(url) = call.target.strip_prefix("headers+") {
            return with_headers(url);
        }
        match done(HOST.send(get(call.target))) {
            Ok(answer) => Decision::deny(&format!("status-{}", answer.status), call.target),
            Err(_) => Decision::Allow,
        }
    }
}

authorizer!(Guest);
