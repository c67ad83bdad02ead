//! Tokens that a real authorization server has bound to a key (DPoP, RFC 9449): opaque and signed ones, with the
//! built-ins and the components.

use serde_json::json;
use witgate_tests::oauth::{Format, Make};
use witgate_tests::possession::Holder;
use witgate_tests::wire::{Answer, Request};

use super::{GUARDED, Making, READ, Testbed};

/// A list, asked for with `token` under `scheme`, and with a proof if there is one.
fn ask(testbed: &Testbed, upstream: &str, scheme: &str, token: &str, proof: Option<String>) -> Answer {
    let path = format!("/{upstream}/mcp");
    let request = Request::stateless(&testbed.witgate.address(), &path, "tools/list", json!({}));
    let request = request.set("Authorization", &format!("{scheme} {token}"));
    match proof {
        Some(proof) => request.with("DPoP", &proof).send(),
        None => request.send(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_token_needs_its_key() {
    let making = Making { judging: "dpop = \"optional\"".to_owned(), ..Making::of(Make::OidcProvider) };
    let testbed = making.start();
    let (holder, stranger) = (Holder::new(), Holder::new());
    for (upstream, format, _) in GUARDED {
        let resource = testbed.resource(upstream);
        let token = testbed.server.bound_token(&resource, READ, &holder).await.unwrap();
        let good = || Some(holder.proof(&resource, &token).signed());
        let answer = ask(&testbed, upstream, "DPoP", &token, good());
        assert_eq!(answer.status, 200, "{upstream}: {}", answer.text());
        assert!(answer.names("tools", "name").contains(&"echo".to_owned()), "{upstream}");

        // The server itself says of an opaque one that it is no bearer token.
        let as_bearer = if matches!(format, Format::Opaque) { "wrong-type" } else { "not-proven" };
        let refused = [
            ("DPoP", Some(stranger.proof(&resource, &token).signed()), "wrong-key"),
            ("Bearer", None, as_bearer),
        ];
        for (scheme, proof, reason) in refused {
            let answer = ask(&testbed, upstream, scheme, &token, proof);
            assert_eq!(answer.refusal(), (401, 401, reason.to_owned()), "{upstream}: {}", answer.text());
        }
        let used = holder.proof(&resource, &token).signed();
        assert_eq!(ask(&testbed, upstream, "DPoP", &token, Some(used.clone())).status, 200, "{upstream}");
        assert_eq!(ask(&testbed, upstream, "DPoP", &token, Some(used)).status, 401, "{upstream}: used twice");

        let bearer = testbed.server.token(&resource, READ).await.unwrap();
        assert_eq!(ask(&testbed, upstream, "Bearer", &bearer, None).status, 200, "{upstream}: not bound");
        let proof = holder.proof(&resource, &bearer).signed();
        assert_eq!(
            ask(&testbed, upstream, "DPoP", &bearer, Some(proof)).status,
            401,
            "{upstream}: not bound"
        );
    }
}
