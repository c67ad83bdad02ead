//! The accepted differences between the libraries and Witgate, with reasons.

use super::drafts::Made;
use super::judges::Judge::{self, Jose, PyJwt};

/// A disagreement about tokens with this change: the library accepts them, Witgate does not.
#[derive(Debug)]
pub(super) struct Reason {
    change: &'static str,
    libraries: &'static [Judge],
    #[expect(dead_code, reason = "for whoever reads this, and for what a failure prints")]
    why: &'static str,
}

const BOTH: &[Judge] = &[PyJwt, Jose];

const fn reason(change: &'static str, libraries: &'static [Judge], why: &'static str) -> Reason {
    Reason { change, libraries, why }
}

/// Libraries check what all JWTs have in common. The additional checks of a resource server are left to their users.
/// And they accept some texts that another reader could read differently.
pub(super) const REASONS: &[Reason] = &[
    // Libraries do not check what makes a JWT an access token.
    reason(
        "another type",
        BOTH,
        "RFC 8725, section 3.11: a type for other purposes; they check `typ` only when told",
    ),
    reason("an ID token", BOTH, "RFC 8725, section 2.8: made for the client, not for this server"),
    reason("a logout token", BOTH, "RFC 8417: made to tell something, not to get in"),
    reason("bound to a key", BOTH, "RFC 7800: whoever shows it as a bearer has not shown the key"),
    reason("scopes that are none", BOTH, "what nobody understands grants nothing; their users read scopes"),
    reason("an empty subject", BOTH, "nobody has that name; RFC 7519 asks only for a string"),
    reason(
        "a subject that is none",
        &[Jose],
        "RFC 7519, section 4.1.2: a string; its users are told by the type alone",
    ),
    reason(
        "a token in it",
        BOTH,
        "RFC 7519, section 5.2: the payload is another token, and its claims are not these",
    ),
    // Times.
    reason(
        "issued later",
        &[Jose],
        "`iat` in the future: it looks at it only where a greatest age is configured",
    ),
    reason(
        "an end in milliseconds",
        BOTH,
        "it would be good for sixty thousand years; that is a mistake of its issuer",
    ),
    reason("an end beyond all", BOTH, "as in milliseconds"),
    reason("an end that overflows", &[Jose], "1e400 is infinity to JavaScript, and a token without end"),
    reason("an end as a text", &[PyJwt], "RFC 7519, section 2: a number; it makes one of the text"),
    reason("a start as a text", &[PyJwt], "as the end"),
    // Headers.
    reason(
        "compressed, by its header",
        BOTH,
        "`zip` is for encrypted tokens; who knows what else its issuer mistakes",
    ),
    reason(
        "not encoded, by its header",
        &[Jose],
        "RFC 7797: without `crit` it means nothing, so nobody means it well",
    ),
    reason("a type that is none", BOTH, "RFC 7515, section 4.1.9: a string; they do not look at it"),
    // Texts that another reader could read otherwise.
    reason(
        "a claim twice",
        BOTH,
        "RFC 7519, section 4: refuse, or take the last; the next reader may take the first",
    ),
    reason("a header's member twice", BOTH, "as a claim"),
    reason("a byte order mark", BOTH, "RFC 8259, section 8.1: must not be there, may be ignored"),
    reason(
        "audiences that are partly none",
        &[Jose],
        "RFC 7519, section 4.1.3: a list of strings, and this is none",
    ),
    // Texts of the same bytes: a token that was revoked by its text, or is cached by it, would come back.
    reason("stray bits", &[Jose], "RFC 4648, section 3.5: may be refused, so that a token has one text"),
    reason("a space behind it", &[Jose], "RFC 7515, section 2: base64url without white space"),
    reason("a line's end behind it", &[Jose], "as a space"),
];

/// The number of the reason that explains the disagreement.
pub(super) fn why(judge: Judge, made: &Made, is_taken: bool) -> Option<usize> {
    // No reason explains that Witgate accepts a token that a library refuses.
    let fits = |reason: &Reason| reason.libraries.contains(&judge) && made.changes.contains(&reason.change);
    REASONS.iter().position(fits).filter(|_| !is_taken)
}
