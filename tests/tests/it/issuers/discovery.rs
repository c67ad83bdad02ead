//! Keys that Witgate finds through an issuer's metadata.

use serde_json::json;
use witgate_tests::issuer::{Issuer, Page, Signer};

use super::{acceptance, call, gateway, outcome, token};

/// Each location of the metadata, alone; the other locations answer 404.
#[test]
fn every_form_of_metadata_is_found() {
    for place in [
        "/.well-known/oauth-authorization-server/realms/x",
        "/.well-known/openid-configuration/realms/x",
        "/realms/x/.well-known/openid-configuration",
    ] {
        let (issuer, signer) = (Issuer::start(), Signer::new("a"));
        let name = format!("{}/realms/x", issuer.url());
        let metadata = json!({ "issuer": name, "jwks_uri": format!("{}/keys", issuer.url()) });
        issuer.put(place, Page::json(&metadata));
        issuer.put("/keys", Page::json(&json!({ "keys": [signer.jwk()] })));
        let gateway = gateway(place.contains("realms/x/"), &format!("issuer = '{name}'"));
        assert_eq!(issuer.requests(), [""; 0], "{place}: asked before there was a token");
        let token = signer.token(&json!({ "iss": name, "aud": gateway.url() }));
        assert_eq!(outcome(&call(&gateway, &token)), acceptance(), "{place}: {}", gateway.log());
        // One request serves the next calls, too.
        let requests = issuer.requests();
        assert_eq!(outcome(&call(&gateway, &token)), acceptance(), "{place}");
        assert_eq!(issuer.requests(), requests, "{place}");
    }
}

/// Two issuers with keys of the same id, under one policy: each token by its own issuer's keys alone.
#[test]
fn a_key_of_another_issuer_with_the_same_id_is_refused() {
    for component in [false, true] {
        let (one, other) = (Issuer::start(), Issuer::start());
        let (key, others) = (Signer::new("same"), Signer::new("same"));
        one.publish(&[&key], "max-age=300");
        other.publish(&[&others], "max-age=300");
        let gateway = gateway(component, &format!("issuer = ['{}', '{}']", one.url(), other.url()));
        for (issuer, own, siblings) in [(&one, &key, &others), (&other, &others, &key)] {
            assert_eq!(
                outcome(&call(&gateway, &token(&gateway, issuer, own))),
                acceptance(),
                "{}",
                gateway.log()
            );
            let forged = call(&gateway, &token(&gateway, issuer, siblings));
            assert_eq!(outcome(&forged), (401, "bad-signature".to_owned()), "{}", gateway.log());
        }
        // The token has no known issuer: nobody looks for its keys.
        let third = Issuer::start();
        third.publish(&[&key], "max-age=300");
        let forged = call(&gateway, &token(&gateway, &third, &key));
        assert_eq!(forged.status, 401);
        assert_eq!(third.requests(), [""; 0]);
    }
}

/// `[keys.NAME] issuer`, and the same in place of a name.
#[test]
fn an_issuer_can_be_configured_as_a_key() {
    let (issuer, signer) = (Issuer::start(), Signer::new("a"));
    issuer.publish(&[&signer], "max-age=300");
    for keys in ["['idp']".to_owned(), format!("[{{ issuer = '{}', max_stale_s = 60 }}]", issuer.url())] {
        let setup = witgate_tests::gateway::Setup::new();
        super::configure(&setup, "", &format!("keys = {keys}"));
        let config = std::fs::read_to_string(setup.dir().join("witgate.toml")).unwrap();
        setup.file(
            "witgate.toml",
            format!("{config}[keys.idp]\nissuer = '{}'\nmax_stale_s = 60\n", issuer.url()),
        );
        let gateway = setup.serve();
        let token = token(&gateway, &issuer, &signer);
        assert_eq!(outcome(&call(&gateway, &token)), acceptance(), "{keys}: {}", gateway.log());
    }
}
