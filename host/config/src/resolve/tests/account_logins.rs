//! `[accounts.login]`.

use super::accounts::folder;
use crate::account_logins::{PersonRule, ProviderForm};

const HUB: &str = "[credentials.hub]\nkind = 'oauth'\npreset = 'custom'\nclient_id = 'gate'\nissuer = 'https://idp.example.com'\nauthorize_url = 'https://idp.example.com/authorize'\ntoken_url = 'https://idp.example.com/token'\n";
const ENTRA: &str = "[credentials.hub]\nkind = 'oauth'\npreset = 'entra'\nclient_id = 'gate'\ntenant = '11111111-2222-3333-4444-5555555555AA'\n";
const REST: &str = "[accounts]\nissuer = 'https://mcp.example.com'\n[server]\nresource = 'https://mcp.example.com/mcp'\ntrusted_proxies = ['::1']\nforwarded = 'forwarded'\n";

fn github(login: &str) -> String {
    format!(
        "{REST}[credentials.hub]\nkind = 'oauth'\npreset = 'github'\nclient_id = 'gate'\nscopes = ['repo']\n[accounts.login.hub]\ncredential = 'hub'\n{login}"
    )
}

#[test]
fn a_login_asks_for_no_more_than_who_somebody_is() {
    let config = github(
        "label = 'GitHub'\nallow = ['org:ACME']\nnew_accounts = true\nroles = { admin = ['login:Ada'] }\n",
    );
    let written = folder(&config);
    let loaded = written.load().unwrap_or_else(|_| panic!("{}", written.says()));
    assert_eq!(written.says(), "");
    let [provider] = &loaded.config.accounts.unwrap().providers[..] else { panic!("one provider") };
    assert_eq!((&*provider.label, &*provider.issuer), ("GitHub", "https://github.com"));
    assert_eq!(provider.redirect_uri.as_str(), "https://mcp.example.com/login/with/hub/callback");
    assert_eq!(provider.client.token.scopes, ["read:user", "read:org"]);
    assert_eq!(provider.roles["admin"], [PersonRule::Login("ada".to_owned())]);
    let ProviderForm::Github { organizations, needs_email, .. } = &provider.form else { panic!("GitHub") };
    assert_eq!((organizations.as_slice(), *needs_email), (["acme".to_owned()].as_slice(), false));
    let with_email = folder(&github("match_email = true\n")).load().unwrap();
    assert_eq!(
        with_email.config.accounts.unwrap().providers[0].client.token.scopes,
        ["read:user", "user:email"]
    );
}

#[test]
fn a_provider_of_openid_connect_is_known_by_its_issuer() {
    for (credential, issuer) in [
        (HUB, "https://idp.example.com"),
        (ENTRA, "https://login.microsoftonline.com/11111111-2222-3333-4444-5555555555aa/v2.0"),
        (
            "[credentials.hub]\nkind = 'oauth'\npreset = 'google'\nclient_id = 'gate'\n",
            "https://accounts.google.com",
        ),
    ] {
        let folder = folder(&format!("{REST}{credential}[accounts.login.hub]\ncredential = 'hub'\n"));
        let loaded = folder.load().unwrap_or_else(|_| panic!("{}", folder.says()));
        assert_eq!(folder.says(), "");
        let provider = &loaded.config.accounts.unwrap().providers[0];
        assert_eq!((&*provider.issuer, provider.client.issuer.as_deref()), (issuer, Some(issuer)));
        assert_eq!(provider.client.token.scopes, ["openid", "email", "profile"]);
        assert!(provider.client.params.is_empty() && provider.allow.is_none() && !provider.makes_accounts);
    }
}

#[test]
fn faults_of_logins_are_reported_with_their_places() {
    let of_hub = |login: &str| format!("{REST}{HUB}[accounts.login.hub]\ncredential = 'hub'\n{login}");
    for (config, said) in [
        (
            format!("{REST}[accounts.login.hub]\ncredential = 'hub'\n"),
            "there is no credential `hub` (add `[credentials.hub]`)",
        ),
        (
            format!(
                "{REST}[credentials.hub]\nkind = 'static'\nvalue = {{ env = 'NOT_SET', optional = true }}\n[accounts.login.hub]\ncredential = 'hub'\n"
            ),
            "the credential `hub` is not of the kind `oauth`",
        ),
        (
            format!("{REST}{HUB}[accounts.login.\"a/b\"]\ncredential = 'hub'\n"),
            "`a/b` cannot be a part of the path of a page",
        ),
        (of_hub("allow = []\n"), "this list is empty, so it fits nobody"),
        (of_hub("allow = ['ada']\n"), "`ada` is no rule for people"),
        (of_hub("allow = ['org:acme']\n"), "only GitHub knows this"),
        (of_hub("roles = { admin = ['login:ada'] }\n"), "only GitHub knows this"),
        (of_hub("new_accounts = true\n"), "new accounts need a rule that says who gets one"),
        (github("allow = ['group:a']\n"), "GitHub has no groups of this kind"),
        (
            github("allow = ['*']\nnew_accounts = true\n"),
            "everybody who has an account at this provider gets one here",
        ),
        (
            format!(
                "{REST}{}[accounts.login.hub]\ncredential = 'hub'\n",
                ENTRA.replace("11111111-2222-3333-4444-5555555555AA", "example.com")
            ),
            "ID tokens name the id of their tenant, not its domain",
        ),
        (
            format!(
                "{REST}{}[accounts.login.hub]\ncredential = 'hub'\n",
                ENTRA.replace("11111111-2222-3333-4444-5555555555AA", "common")
            ),
            "ID tokens name the id of their tenant, not its domain",
        ),
        (
            format!(
                "{REST}{ENTRA}[accounts.login.hub]\ncredential = 'hub'\nallow = ['domain:example.com']\n"
            ),
            "Entra does not say whether an e-mail address is verified",
        ),
        (
            format!("{REST}{ENTRA}[accounts.login.hub]\ncredential = 'hub'\nmatch_email = true\n"),
            "Entra does not say whether an e-mail address is verified",
        ),
        (
            format!(
                "{REST}{}[accounts.login.hub]\ncredential = 'hub'\n",
                HUB.replace("issuer = 'https://idp.example.com'\n", "")
            ),
            "nothing says who issues the ID tokens of this provider",
        ),
    ] {
        let says = folder(&config).says();
        assert!(says.contains(said) && says.starts_with("witgate.toml:"), "{config}\n{says}");
    }
}
