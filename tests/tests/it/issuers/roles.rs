//! Valid tokens without readable roles.

use serde_json::json;
use witgate_tests::gateway::Setup;
use witgate_tests::issuer::{Issuer, Signer};

use super::{acceptance, call, configure, for_gateway, outcome};

/// RFC 6750, section 3.1: another token would say the same, so that the answer must not send anybody for one. The rules
/// of this gateway would let the caller in whatever the token says.
#[test]
fn a_caller_with_unreadable_roles_is_denied_without_a_challenge() {
    for component in [false, true] {
        let (issuer, signer) = (Issuer::start(), Signer::new("a"));
        issuer.publish(&[&signer], "max-age=300");
        let setup = Setup::new();
        let path = match component {
            true => format!("component = '{}'\n", setup.component("jwt").display()),
            false => String::new(),
        };
        configure(&setup, &path, &format!("issuer = '{}', roles_claim = 'groups'", issuer.url()));
        let config = std::fs::read_to_string(setup.dir().join("witgate.toml")).unwrap();
        let subjects = "[[policies.roles.config.subjects]]\npolicy = 'tokens'\nroles = ['staff']\n";
        setup.file("witgate.toml", config + subjects);
        let gateway = setup.serve();
        let with = |name: &str, value: serde_json::Value| {
            let mut claims = for_gateway(&gateway, &issuer);
            claims[name] = value;
            call(&gateway, &signer.token(&claims))
        };
        assert_eq!(outcome(&with("groups", json!(["Domain Users"]))), acceptance(), "{}", gateway.log());
        for (name, value) in [
            ("groups", json!({ "staff": true })),
            ("groups", json!(["staff", 5])),
            ("groups", json!((0..257).map(|n| format!("g{n}")).collect::<Vec<_>>())),
            ("_claim_names", json!({ "groups": "src1" })),
        ] {
            let denied = with(name, value);
            assert_eq!(outcome(&denied), (403, "unread-roles".to_owned()), "{}", gateway.log());
            assert_eq!(denied.header("www-authenticate"), None);
        }
        assert!(gateway.log().contains("`groups`"), "{}", gateway.log());
    }
}
