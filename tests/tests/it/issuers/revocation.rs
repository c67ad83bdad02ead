//! `witgate token revoke`, with a running gateway.

use std::time::Instant;

use serde_json::json;
use witgate_tests::gateway::{PATIENCE, Setup};
use witgate_tests::issuer::{Issuer, Signer};

use super::{acceptance, call, configure, for_gateway, outcome};

#[test]
fn a_token_is_refused_as_soon_as_the_file_revokes_it() {
    for component in [false, true] {
        let (issuer, signer) = (Issuer::start(), Signer::new("a"));
        issuer.publish(&[&signer], "max-age=300");
        let setup = Setup::new();
        let component = match component {
            true => format!("component = '{}'\n", setup.component("jwt").display()),
            false => String::new(),
        };
        configure(&setup, &component, &format!("issuer = '{}', revoked = 'revoked.jsonl'", issuer.url()));
        setup.file("revoked.jsonl", "# nobody yet\n");
        let gateway = setup.serve();
        let token = |id: &str| {
            let mut claims = for_gateway(&gateway, &issuer);
            claims["jti"] = json!(id);
            signer.token(&claims)
        };
        let (first, second, third) = (token("first"), token("second"), token("third"));
        for token in [&first, &second, &third] {
            assert_eq!(outcome(&call(&gateway, token)), acceptance(), "{}", gateway.log());
        }
        for arguments in [vec![first.as_str()], vec!["--jti", "second", "--policy", "tokens"]] {
            let output = gateway.setup().run(&[&["token", "revoke"], arguments.as_slice()].concat());
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && text.contains("uses it"), "{text}");
        }
        let revoked = (401, "revoked".to_owned());
        // The command has waited until the revocation was in force.
        for token in [&first, &second] {
            assert_eq!(outcome(&call(&gateway, token)), revoked, "{}", gateway.log());
        }
        assert_eq!(outcome(&call(&gateway, &third)), acceptance());
        // With an invalid line, Witgate cannot know which tokens are revoked, and refuses all.
        gateway.setup().file("revoked.jsonl", "what is this?\n");
        gateway.await_log("is not {");
        // The line of the log comes with the fault, the new generation a moment later.
        let refused = (503, "config".to_owned());
        let end = Instant::now() + PATIENCE;
        while outcome(&call(&gateway, &third)) != refused {
            assert!(Instant::now() < end, "{}", gateway.log());
        }
        assert_eq!(outcome(&call(&gateway, &first)), refused);
        let output = gateway.setup().run(&["token", "revoke", "--jti", "third"]);
        assert_eq!(output.status.code(), Some(69), "{output:?}");
    }
}
