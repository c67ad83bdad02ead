//! `[upstreams.NAME.identity]` and `[signing]`.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use super::Folder;
use crate::identity::{IdentityField, IdentitySettings};
use witgate_testing::keys::{PRIVATE, PUBLIC};

const PIPELINE: &str = "\n[policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
                        [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n";

/// Two policies that know callers, of which one takes whatever issuer.
const SEVERAL: &str = "\n[keys.k]\nsecret = { env = 'UPSTREAM_TOKEN' }\n[policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
                       [policies.idp]\nkind = 'jwt'\nconfig = { keys = ['k'], algorithms = ['HS256'] }\n\
                       [pipeline]\nauthenticate = ['keys', 'idp']\nauthorize = ['keys']\n";

const SIGNING: &str = "[signing]\nkey = { file = 'signing.pem' }\n";

fn folder(config: &str, mode: u32) -> Folder {
    let folder = Folder::with(config);
    let path = folder.0.path().join("signing.pem");
    std::fs::write(&path, PRIVATE).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    std::fs::write(folder.0.path().join("former.pub"), PUBLIC).unwrap();
    folder
}

#[track_caller]
fn says(config: &str, expected: &[&str]) {
    let said = folder(config, 0o600).says();
    assert_eq!(said.lines().collect::<Vec<_>>(), expected, "{config}");
}

/// Checks the diagnostics of the identity of an upstream over HTTP, which begins in the first line.
#[track_caller]
fn over_http(identity: &str, expected: &[&str]) {
    says(&format!("[upstreams.a]\nurl = 'http://x/mcp'\n{identity}{PIPELINE}"), expected);
}

fn identity(config: &str) -> IdentitySettings {
    let loaded = folder(config, 0o600).load();
    let mut config = loaded.unwrap_or_else(|faults| panic!("{faults:#?}")).config;
    config.upstreams.remove(0).identity
}

#[test]
fn header_names_with_another_use_are_refused_for_identities() {
    let reserved = |name: &str| {
        format!(
            "witgate.toml:3:32: `{name}` is a header of HTTP or of the protocol (choose a name that nobody else has, \
             such as `X-Witgate-Subject`)"
        )
    };
    for name in [
        "Authorization",
        "Mcp-Param-User",
        "mcp-session-id",
        "MCP-Name",
        "Baggage",
        "Content-Type",
        "Cookie",
        "Proxy",
        "Host",
        "DPoP",
        "Keep-Alive",
    ] {
        over_http(&format!("identity.headers = {{ subject = '{name}' }}"), &[&reserved(name)]);
    }
    for name in ["X_User", "X User", "X.User", "", "Ä", "X-User:"] {
        over_http(
            &format!("identity.headers = {{ subject = '{name}' }}"),
            &[&format!(
                "witgate.toml:3:32: `{name}` cannot be the name of this header (use only letters, digits and `-`: servers and proxies drop headers with other characters, or confuse them)"
            )],
        );
    }
    let twice = "is set twice, in spellings that servers do not distinguish (choose another name, such as \
                 `X-Witgate-Subject`)";
    over_http(
        "identity.headers = { subject = 'X-User', roles = 'x-USER' }",
        &[&format!("witgate.toml:3:50: the header `x-USER` {twice}")],
    );
    over_http(
        "headers = { x_user = 'y' }\nidentity.headers.subject = 'X-User'",
        &[&format!("witgate.toml:4:28: the header `X-User` {twice}")],
    );
    over_http(
        &format!(
            "{}{SIGNING}",
            "headers = { Authorization = { env = 'UPSTREAM_TOKEN' } }\n\
                                 identity.token.header = 'authorization'\n"
        ),
        &[
            "witgate.toml:4:25: `authorization` is a header of HTTP or of the protocol (choose a name that nobody else \
             has, such as `X-Witgate-Subject`)",
        ],
    );
    over_http(
        "identity = {}",
        &[
            "witgate.toml:3:1: this names no field of the identity (name a field, such as `headers = { subject = \
           \"X-Witgate-Subject\" }`)",
        ],
    );
}

#[test]
fn each_kind_of_upstream_has_its_own_identity_settings() {
    over_http(
        "identity.env = { subject = 'W_SUBJECT' }",
        &[
            "witgate.toml:3:10: Witgate cannot set the environment of an HTTP endpoint (name headers under `headers`)",
        ],
    );
    let process = |identity: &str, expected: &[&str]| {
        says(&format!("[upstreams.a]\ncommand = ['sh']\n{identity}{PIPELINE}"), expected);
    };
    process(
        "identity.headers = { subject = 'X-User' }",
        &[
            "witgate.toml:3:10: `headers` is sent over HTTP, and this upstream is a child process (name environment \
           variables under `env`)",
        ],
    );
    process(
        "shared = true\nidentity.env = { subject = 'W_SUBJECT' }",
        &[
            "witgate.toml:4:10: a shared process serves all callers, so its environment cannot name one of them (leave `shared` out, so that each caller has a process, or serve the upstream over HTTP)",
        ],
    );
    process(
        "identity.env = { roles = 'W_ROLES' }",
        &[
            "witgate.toml:3:26: `roles` may differ between calls, but the environment of a process stays the same (leave it \
           out; an upstream over HTTP can receive it with each call)",
        ],
    );
    process(
        "env = { W_A = 'x' }\nidentity.env = { subject = 'W_A', issuer = 'PATH', policy = 'a=b' }",
        &[
            "witgate.toml:4:28: the variable `W_A` is set twice (choose another name, such as `WITGATE_SUBJECT`)",
            "witgate.toml:4:44: programs may interpret `PATH`, and callers could choose its value (choose a name \
             that nobody else has, such as `WITGATE_SUBJECT`)",
            "witgate.toml:4:61: `a=b` is not the name of an environment variable (use letters, digits and `_`, such as \
             `WITGATE_SUBJECT`)",
        ],
    );
    let own =
        format!("[upstreams.a]\nown_tools = true\nidentity.headers = {{ subject = 'X-User' }}{PIPELINE}");
    says(&own, &["witgate.toml:3:1: the host's own tools need no identity (leave `identity` out)"]);
}

#[test]
fn an_ambiguous_subject_needs_its_issuer() {
    let several =
        "several policies or issuers may identify callers here, and two of them may use the same subject";
    let of = |identity: &str, expected: &[&str]| {
        says(&format!("[upstreams.a]\nurl = 'http://x/mcp'\n{identity}{SEVERAL}"), expected);
    };
    of(
        "identity.headers.subject = 'X-User'",
        &[&format!(
            "witgate.toml:3:28: {several} (name `policy` and `issuer` as well, or `principal` in place of `subject`)"
        )],
    );
    of(
        "identity.headers = { subject = 'X-User', policy = 'X-Policy' }",
        &[&format!(
            "witgate.toml:3:32: {several} (name `issuer` as well, or `principal` in place of `subject`)"
        )],
    );
    of("identity.headers = { subject = 'X-User', policy = 'X-Policy', issuer = 'X-Issuer' }", &[]);
    of("identity.headers.principal = 'X-User'", &[]);
    of(
        &format!("identity.token = {{}}\n{SIGNING}"),
        &[&format!(
            "witgate.toml:3:10: {several} (write `sub = \"principal\"`, or `sub = \"subject\"` where the upstream checks \
             `policy` and `issuer` as well)"
        )],
    );
    of(&format!("identity.token.sub = 'subject'\n{SIGNING}"), &[]);
    over_http("identity.headers.subject = 'X-User'", &[]);
}

#[test]
fn issuers_are_counted_for_each_kind_of_policy() {
    let of = |kind: &str, settings: &str| {
        let config = format!(
            "[upstreams.a]\nurl = 'http://x/mcp'\nidentity.headers.subject = 'X-User'\n[policies.p]\nkind = '{kind}'\n\
             component = 'p.wasm'\nconfig = {{ {settings} }}\n[policies.r]\nkind = 'rbac'\n\
             [pipeline]\nauthenticate = ['p']\nauthorize = ['r']\n"
        );
        folder(&config, 0o600).says().contains("(name `issuer` as well")
    };
    let one = "issuer = 'https://idp.example.com'";
    for (kind, settings, takes_several) in [
        ("jwt", one, false),
        ("jwt", "issuer = ['https://a.example']", false),
        ("jwt", "issuer = ['https://a.example', 'https://b.example']", true),
        ("jwt", "keys = ['k']", true),
        ("oauth2-introspection", one, false),
        ("oauth2-introspection", "endpoint = 'https://a.example/introspect'", true),
        ("client-certificate", "issuers = 'CN=Agents CA'", false),
        ("client-certificate", "issuers = 'CN=*'", true),
        ("client-certificate", "subject = 'common-name'", true),
        ("custom", one, true),
    ] {
        assert_eq!(of(kind, settings), takes_several, "{kind} {settings}");
    }
}

#[test]
fn a_key_is_used_for_its_purpose_only() {
    let token = "identity.token = {}\n";
    over_http(
        token,
        &[
            "witgate.toml:3:10: nothing says which key signs this token (add `[signing]` with `key = { file = \"PATH\" }`)",
        ],
    );
    let config = format!(
        "[upstreams.a]\nurl = 'http://x/mcp'\n{token}{SIGNING}published = ['former.pub', 'signing.pem', 'nowhere']{PIPELINE}"
    );
    says(
        &config,
        &[
            "witgate.toml:6:28: `signing.pem`: this is not a public key for P-256 in PEM (`BEGIN PUBLIC KEY`) (write the \
             public half: `openssl pkey -in KEY -pubout -out FILE`)",
            "witgate.toml:6:43: the file `nowhere` cannot be read: No such file or directory (os error 2) (correct the \
             path, or take it out)",
        ],
    );
    let config = format!("[upstreams.a]\nurl = 'http://x/mcp'\n{token}{SIGNING}{PIPELINE}");
    for (mode, is_good) in [(0o400, true), (0o640, true), (0o644, false), (0o604, false), (0o660, false)] {
        let said = folder(&config, mode).says();
        let expected = "witgate.toml:5:1: others may read or write the private key `signing.pem` (let only its owner read and write it: `chmod 600 signing.pem`)\n";
        assert_eq!(said, if is_good { "" } else { expected }, "{mode:o}");
    }
    over_http(
        &format!("{token}[signing]\nkey = {{ env = 'UPSTREAM_TOKEN' }}\nissuer = 'mcp.example.com'\n"),
        &[
            "witgate.toml:5:1: this is not a private key for P-256 in PEM (PKCS #8, `BEGIN PRIVATE KEY`) (make one by \
             `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE`)",
            "witgate.toml:6:10: an issuer is an http or https URL without user, query and fragment (write one such as \
             `https://mcp.example.com`)",
        ],
    );
    over_http(
        "[signing]",
        &[
            "witgate.toml:3:2: nothing says which key signs (write `key = { file = \"PATH\" }`; make one by `openssl genpkey \
         -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE`)",
            "witgate.toml:3:2: no upstream gets a signed token (add `token` to the `identity` of an upstream, or a credential of the kind `signed`, or \
         leave `[signing]` out)",
        ],
    );
}

#[test]
fn written_identity_settings_are_resolved() {
    let told = identity(&format!(
        "[upstreams.a]\nurl = 'http://x/mcp'\n\
         identity = {{ headers = {{ roles = 'X-Roles', kind = 'X-Kind' }}, token = {{ claims = ['scopes'] }} }}\n\
         [server]\nresource = 'https://mcp.example.com/gate/mcp'\n{SIGNING}{PIPELINE}"
    ));
    let headers: Vec<_> = told.headers.iter().map(|(field, name)| (*field, name.as_str())).collect();
    assert_eq!(headers, [(IdentityField::Kind, "x-kind"), (IdentityField::Roles, "x-roles")]);
    let token = told.token.unwrap();
    assert_eq!((token.header.as_str(), token.audience.as_str()), ("x-witgate-identity", "http://x/mcp"));
    assert_eq!((token.sub, token.lifetime.as_secs()), (IdentityField::Subject, 60));
    assert_eq!(
        (token.claims.as_slice(), token.signer.issuer()),
        (&[IdentityField::Scopes][..], "https://mcp.example.com")
    );
}
