//! The texts of diagnostics: each case is a configuration with a fault, and everything that is reported about
//! it.

mod account_logins;
mod accounts;
mod annotation_conditions;
mod api_keys;
mod arguments;
mod audit;
mod child_credentials;
mod credentials;
mod endpoints;
mod env_file;
mod identity;
mod lint;
mod passwords;
mod pins;
mod secrets;
mod token_issue;
mod wrapped;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;

use super::load;
use crate::diagnostic::{Diagnostic, Style, render};
use crate::environment::Environment;
use crate::{Config, Fallback, Mode, Transport, UpstreamTarget};
use witgate_testing::shortage::{is_alone, take_descriptors};

/// A folder with a store and a configuration.
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [
            ("keys.toml", "version = 1\n"),
            ("p.wasm", "\0asm"),
            ("secret", "from a file\n"),
            ("empty", "\n"),
        ] {
            write_private(&folder.path().join(name), content);
        }
        std::fs::write(folder.path().join("witgate.toml"), config).unwrap();
        Self(folder)
    }

    fn load(&self) -> Result<super::LoadedConfig, Vec<Diagnostic>> {
        let environment = [("UPSTREAM_TOKEN", "sesame"), ("EMPTY", "")];
        load(Some(&self.path()), &environment.into_iter().collect())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("witgate.toml")
    }

    /// One line each, without the folder.
    fn says(&self) -> String {
        let diagnostics = match self.load() {
            Ok(loaded) => loaded.warnings,
            Err(faults) => faults,
        };
        let lines: Vec<_> = diagnostics.iter().map(|fault| format!("{fault}\n")).collect();
        lines.concat().replace(&format!("{}/", self.0.path().display()), "")
    }
}

/// Writes a file that only its owner may read.
fn write_private(path: &Path, content: &str) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A good upstream, policy and pipeline, for cases that are about something else.
const REST: &str = "
[upstreams.own]
own_tools = true
[policies.keys]
kind = 'api-key'
config = { store = 'keys.toml' }
[pipeline]
authenticate = ['keys']
authorize = ['keys']
";

fn says(config: &str) -> String {
    Folder::with(config).says()
}

fn good(config: &str) -> Config {
    let folder = Folder::with(config);
    match folder.load() {
        Ok(loaded) => loaded.config,
        Err(faults) => panic!("{faults:#?}"),
    }
}

/// Checks the diagnostics of `config` beside a good rest.
#[track_caller]
fn with_rest(config: &str, expected: &[&str]) {
    let said = says(&format!("{config}{REST}"));
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}

#[track_caller]
fn alone(config: &str, expected: &[&str]) {
    assert_eq!(says(config).lines().collect::<Vec<_>>(), expected);
}

#[test]
fn an_unknown_key_is_reported_with_the_nearest_known_one() {
    with_rest(
        "[server]\nlistn = '127.0.0.1:1'",
        &["witgate.toml:2:1: unknown key `listn` in `[server]` (did you mean `listen`?)"],
    );
    with_rest(
        "listen = '127.0.0.1:1'",
        &["witgate.toml:1:1: unknown key `listen` at the top level (`listen` belongs under `[server]`)"],
    );
    with_rest(
        "[sever]\ntransport = 'http'",
        &["witgate.toml:1:2: unknown key `sever` at the top level (did you mean `server`?)"],
    );
    with_rest(
        "[server]\nport = 1",
        &["witgate.toml:2:1: unknown key `port` in `[server]` (did you mean `listen`?)"],
    );
    with_rest(
        "[keys.a]\nzzz = 1\nsecret = { env = 'UPSTREAM_TOKEN' }",
        &[
            "witgate.toml:2:1: unknown key `zzz` in `[keys.a]` (known here: `issuer`, `jwks_file`, `jwks_url`, `max_stale_s`, `pem` and `secret`)",
        ],
    );
}

#[test]
fn a_wrong_type_is_reported_with_the_right_form() {
    with_rest(
        "[server]\nlisten = 'localhost:8787'",
        &["witgate.toml:2:10: `localhost:8787` is not an IP address with a port (write one such as \
           `127.0.0.1:8787`, `0.0.0.0:8787` or `[::1]:8787`)"],
    );
    with_rest(
        "[server]\nlisten = 8787",
        &[
            "witgate.toml:2:10: `server.listen` has to be a string, and this is a whole number (write one such \
           as `127.0.0.1:8787`, `0.0.0.0:8787` or `[::1]:8787`)",
        ],
    );
    with_rest(
        "[server]\ntransport = 'htp'",
        &[
            "witgate.toml:2:13: `server.transport` cannot be `htp` (did you mean `http`? It is one of `http` and `stdio`)",
        ],
    );
    with_rest(
        "[server]\nallowed_hosts = 'a'\nshutdown_grace_s = '8'",
        &[
            "witgate.toml:2:17: `server.allowed_hosts` has to be a list, and this is a string (put it into \
             brackets: `allowed_hosts = [\"…\"]`)",
            "witgate.toml:3:20: `server.shutdown_grace_s` has to be a whole number, and this is a string (write \
             the number without quotes)",
        ],
    );
    with_rest(
        "server = 3",
        &["witgate.toml:1:10: `server` has to be a table, and this is a whole number (write a table)"],
    );
}

#[test]
fn invalid_server_sections_are_refused() {
    with_rest(
        "[server]\nallowed_origins = ['*', 'https://a.example/x', 'https://ok.example']",
        &[
            "witgate.toml:2:20: `*` is not an origin (write scheme, host and port, such as \
             `https://app.example.com`; `*` is not possible)",
            "witgate.toml:2:25: `https://a.example/x` is not an origin (write `https://a.example`)",
        ],
    );
    with_rest(
        "[server]\nallowed_origins = ['https://*.example.com']\nresource = 'https://*.example.com/mcp'",
        &[
            "witgate.toml:2:20: `https://*.example.com` is not an origin (write scheme, host and port, such as \
             `https://app.example.com`; `*` is not possible)",
            "witgate.toml:3:12: `https://*.example.com/mcp` is not an http or https URL (write a URL such as \
             `https://mcp.example.com/mcp`)",
        ],
    );
    with_rest(
        "[server]\nallowed_hosts = ['*', '*.com', 'a.*.com', '*.a*.com', '*.10.0.0.1', '*.', 'https://a.com', '*.a.com']",
        &[
            "witgate.toml:2:18: with `*`, any page in a browser could call Witgate, by a host name of its own that leads to this machine (DNS rebinding) (write each name that clients use; `*.example.com` is each name \
             of that zone)",
            "witgate.toml:2:23: others have names in the zone `*.com`, too (write the name of your own zone after `*.`, such as `*.example.com`)",
            "witgate.toml:2:32: `a.*.com` has a `*` in the wrong place (`*` stands for one whole label, the first one: \
             `*.example.com`)",
            "witgate.toml:2:43: `*.a*.com` has a `*` in the wrong place (`*` stands for one whole label, the first \
             one: `*.example.com`)",
            "witgate.toml:2:55: others have names in the zone `*.10.0.0.1`, too (write the name of your own zone after `*.`, such as `*.example.com`)",
            "witgate.toml:2:69: `*.` is not a host name (write a name such as `mcp.example.com`, without scheme, port \
             and path)",
            "witgate.toml:2:75: `https://a.com` is not a host name (write a name such as `mcp.example.com`, without \
             scheme, port and path)",
        ],
    );
    with_rest(
        "[server]\nadmin_listen = '127.0.0.1:8787'",
        &[
            "witgate.toml:2:16: `admin_listen` and `listen` are the same address (health and metrics must not be \
           public: give `admin_listen` another port)",
        ],
    );
    with_rest(
        "[server]\nlisten = '0.0.0.0:1'",
        &[
            "witgate.toml:2:10: other machines may call, and `server.resource` does not say under which URL (set \
           `resource` to the public URL, such as `https://mcp.example.com/mcp`; tokens have to name it as their \
           audience)",
        ],
    );
    with_rest(
        "[server]\nresource = 'mcp.example.com'\nauthorization_servers = ['https://u:hunter2@idp.example']",
        &[
            "witgate.toml:2:12: `mcp.example.com` is not a URL: relative URL without a base (write a URL such as \
             `https://mcp.example.com/mcp`)",
            "witgate.toml:3:26: this URL contains a user name or a password (write a URL such as \
             `https://mcp.example.com/mcp`)",
        ],
    );
}

#[test]
fn a_syntax_error_is_the_only_one_reported() {
    // A name that is there twice hides nothing, so other faults are reported as well.
    with_rest(
        "[server]\n[server]\nlisten='1'",
        &[
            "witgate.toml:2:2: this is not TOML: duplicate key",
            "witgate.toml:3:8: `1` is not an IP address with a port (write one such as `127.0.0.1:8787`, `0.0.0.0:8787` or `[::1]:8787`)",
        ],
    );
    alone(
        "x = 'hunter2\n[server]\nlisten='1'",
        &["witgate.toml:1:13: this is not TOML: invalid literal string, expected `'`"],
    );
}

#[test]
fn an_upstream_has_exactly_one_target() {
    let pipeline = "[policies.keys]\nkind='api-key'\nconfig={store='keys.toml'}\n[pipeline]\nauthenticate=['keys']\nauthorize=['keys']\n";
    let case = |upstreams: &str, expected: &[&str]| alone(&format!("{upstreams}\n{pipeline}"), expected);
    case(
        "[upstreams.a]\ncommand = 'npx server'",
        &[
            "witgate.toml:2:11: `upstreams.a.command` has to be a list, and this is a string (write program and \
           arguments as a list: `command = [\"program\", \"argument\"]`)",
        ],
    );
    case(
        "[upstreams.a]",
        &[
            "witgate.toml:1:12: nothing says where the upstream `a` is (write `command = [\"…\"]` for a child \
           process, or `url = \"…\"` for an HTTP endpoint)",
        ],
    );
    case(
        "[upstreams.a]\ncommand = ['x']\nurl = 'http://x'",
        &[
            "witgate.toml:3:7: the upstream `a` has to be exactly one of `command` and `url` (leave one; make a \
           second upstream of the other)",
        ],
    );
    case(
        "[upstreams.a]\ncommand = []",
        &["witgate.toml:2:11: `upstreams.a.command` is empty (name at least one)"],
    );
    case(
        "[upstreams.a]\ncommand = ['./nope']\nheaders = { a = 'b' }",
        &[
            "witgate.toml:2:12: there is no program `./nope` (correct the path; a relative path begins in the directory of this file)",
            "witgate.toml:3:1: `headers` has no effect for a child process (leave it out)",
        ],
    );
    case(
        "[upstreams.a]\nurl = 'http://x'\nheaders = { Host = 'b', 'a b' = 'c' }",
        &[
            "witgate.toml:3:20: Witgate sets this header itself: `Host` (correct the name, or leave it out)",
            "witgate.toml:3:33: this is not the name of a header: `a b` (correct the name, or leave it out)",
        ],
    );
    let said = says(pipeline);
    assert!(said.contains("there is no upstream: nothing to protect"), "{said}");
}

#[test]
fn settings_for_other_kinds_of_upstreams_are_refused() {
    with_rest(
        "[upstreams.a]\nown_tools = true\ntransport = 'sse'\n[upstreams.b]\nurl = 'http://x'\ntransport = 'sse'\nshared = true\neras = ['stateful']\nidentity.headers = { subject = 'X-User' }",
        &[
            "witgate.toml:3:13: `transport` has no effect for the host's own tools (leave it out)",
            "witgate.toml:7:10: `shared` has no effect for an HTTP endpoint (leave it out)",
            "witgate.toml:8:8: `eras` has no effect for HTTP+SSE, which is of the stateful era (leave it out)",
            "witgate.toml:9:1: over HTTP+SSE an upstream gets no identity: a stream carries no headers for a call (leave \
             `identity` out, or have the server speak Streamable HTTP)",
        ],
    );
}

#[test]
fn two_upstreams_with_one_path_are_refused() {
    with_rest(
        "[upstreams.a]\nown_tools = true\npath = '/x'\n[upstreams.b]\nown_tools = true\npath = '/x'",
        &[
            "witgate.toml:6:8: the upstreams `a` and `b` are both at `/x` (write another `path` for one of them, such \
           as `/b/mcp`)",
        ],
    );
    with_rest(
        "[upstreams.a]\nown_tools = true\npath = '/'\n[upstreams.b]\nown_tools = true\npath = '/b/'",
        &["witgate.toml:6:8: `/b/` cannot be the path of an endpoint (write one such as `/mcp`)"],
    );
    with_rest(
        "[upstreams.a]\nown_tools = true\npath = 'x'\n[upstreams.b]\nown_tools = true\npath = '/.well-known/x'",
        &[
            "witgate.toml:3:8: `x` cannot be the path of an endpoint (write one such as `/mcp`)",
            "witgate.toml:6:8: `/.well-known` is where clients look for metadata (choose another path, such as `/mcp`)",
        ],
    );
    with_rest(
        "[server]\ntransport = 'stdio'\n[upstreams.a]\nown_tools = true",
        &[
            "witgate.toml:5:12: over stdio there is one upstream, because there is one stream (leave one, join \
           them in one `[endpoints.NAME]`, or write \
           `transport = \"http\"`, where each has its own path)",
        ],
    );
}

#[test]
fn all_missing_secrets_are_reported_at_once() {
    with_rest(
        "[upstreams.c]\nurl = 'http://x'\nheaders = { API_TOKEN = 'hunter2', X = { env = 'UPSTREAM_TOKN' }, Y = { env = \
         'EMPTY' }, Z = { file = 'empty' }, W = { file = 'no' }, V = {}, U = { env = 'a', file = 'b' } }",
        &[
            "witgate.toml:3:25: a secret is in the file as plain text: `upstreams.c.headers.API_TOKEN` (put it \
             into an environment variable and write `API_TOKEN = { env = \"NAME\" }`, or into a file and write \
             `API_TOKEN = { file = \"PATH\" }`)",
            "witgate.toml:3:36: the environment variable `UPSTREAM_TOKN` is not set (did you mean `UPSTREAM_TOKEN`, \
             which is set? Else set `UPSTREAM_TOKN` before Witgate starts)",
            "witgate.toml:3:67: the environment variable `EMPTY` is empty (set `EMPTY` before Witgate starts, or read \
             the secret from a `file`)",
            "witgate.toml:3:90: the file `empty` is empty (write the secret into it)",
            "witgate.toml:3:114: there is no file `no` (write the secret into it, and let only the user who starts \
             Witgate read it)",
            "witgate.toml:3:135: nothing says where this secret comes from (write `{ env = \"NAME\" }` or `{ file = \
             \"PATH\" }`)",
            "witgate.toml:3:143: a secret has one source, and this names `env` and `file` (leave one of them)",
        ],
    );
}

#[test]
fn a_key_has_exactly_one_source() {
    with_rest(
        "[keys.a]\nsecret = 'hunter2'\n[keys.b]\nsecret = { env = 'NOPE' }\npem = { env = 'X' }\n[keys.c]\n[keys.d]\n\
         jwks_url = 'ftp://x'\n[keys.e]\npem = 'abc'\n[keys.f]\npem = '-----BEGIN PRIVATE KEY-----'\n[keys.g]\n\
         jwks_file = 'no'\n[keys.h]\nissuer = 'idp.example.com'\n[keys.i]\nsecret = { env = 'UPSTREAM_TOKEN' }\n\
         max_stale_s = 60",
        &[
            "witgate.toml:2:10: a secret is in the file as plain text: `keys.a.secret` (put it into an \
             environment variable and write `secret = { env = \"NAME\" }`, or into a file and write `secret = { file = \
             \"PATH\" }`)",
            "witgate.toml:3:7: a key has one source, and this names `secret` and `pem` (write exactly one of `secret`, \
             `pem`, `jwks_file`, `jwks_url` and `issuer`)",
            "witgate.toml:6:7: this key has no source (write exactly one of `secret`, `pem`, `jwks_file`, \
             `jwks_url` and `issuer`)",
            "witgate.toml:8:12: `ftp://x` is not an http or https URL (write a URL such as `https://mcp.example.com/mcp`)",
            "witgate.toml:10:7: this is not PEM (it begins with `-----BEGIN …-----`; a file is named by `pem = { file = \
             \"PATH\" }`)",
            "witgate.toml:12:7: a private key is in the file as plain text (move it into a file and write `pem = { \
             file = \"PATH\" }`; public keys may stay)",
            "witgate.toml:14:13: there is no file `no` (put the JWK Set there, or name it by `jwks_url`)",
            "witgate.toml:16:10: an issuer is an http or https URL without user, query and fragment (write it exactly as \
             its tokens have it in `iss`, for example `https://idp.example.com`)",
            "witgate.toml:19:15: this key is not fetched (leave it out; it is for `jwks_url` and `issuer`)",
        ],
    );
}

#[test]
fn invalid_policies_are_refused() {
    with_rest(
        "[policies.x]\nkind = 'rbca'\n[policies.y]\nkind = 'custom'\nfallback = 'builtin'\n[policies.z]\ncomponent = 'no'",
        &[
            "witgate.toml:2:8: `policies.x.kind` cannot be `rbca` (did you mean `rbac`? It is one of `api-key`, `basic`, `jwt`, \
             `oauth2-introspection`, `client-certificate`, `accounts`, `rbac` and `custom`)",
            "witgate.toml:3:11: the policy `y` is of the kind `custom` and has no component (write `component = \
             \"PATH.wasm\"`; only the shipped kinds have a built-in)",
            "witgate.toml:3:11: the policy `y` is used nowhere (name it in a `[pipeline]`, or remove it)",
            "witgate.toml:5:12: a policy of the kind `custom` has no built-in to fall back to (write `fallback = \
             \"deny\"`, or leave it out)",
            "witgate.toml:6:11: `[policies.z]` has no `kind` (add `kind = \"api-key\"`, or one of `api-key`, `basic`, `jwt`, \
             `oauth2-introspection`, `client-certificate`, `accounts`, `rbac` and `custom`)",
        ],
    );
    with_rest(
        "[policies.w]\nkind = 'custom'\ncomponent = 'no.wasm'\ndigest = 'sha256:1'\nlimits = { timeout_ms = 0, memory_mib \
         = '1' }\ngrants = { http = ['https://a/b'], keys = ['k'] }",
        &[
            "witgate.toml:1:11: the policy `w` is used nowhere (name it in a `[pipeline]`, or remove it)",
            "witgate.toml:3:13: there is no component `no.wasm` (build it, or correct the path; a relative path begins in the directory of this file)",
            "witgate.toml:4:10: `sha256:1` is not a SHA-256 digest (write `sha256:` and the 64 digits that `sha256sum \
             PATH.wasm` prints)",
            "witgate.toml:5:25: `policies.w.limits.timeout_ms` is out of range (write a number from 1 to 60000)",
            "witgate.toml:5:41: `policies.w.limits.memory_mib` has to be a whole number, and this is a string (write the \
             number without quotes)",
            "witgate.toml:6:20: `https://a/b` is not an origin (write `https://a`)",
            "witgate.toml:6:44: there is no key `k` under `[keys]` (define it: `[keys.k]` with `secret`, `pem`, \
             `jwks_file`, `jwks_url` or `issuer`)",
        ],
    );
}

#[test]
fn invalid_tls_settings_are_refused() {
    with_rest(
        "[server.tls]\nclient_certificates = 'required'",
        &[
            "witgate.toml:1:9: TLS needs a `certificate` (write `certificate = \"PATH\"`, a file in PEM)",
            "witgate.toml:1:9: TLS needs the `key` of its certificate (write `key = { file = \"PATH\" }`, a file in PEM that \
             only Witgate's user may read)",
            "witgate.toml:2:23: nothing says which CA the certificates of clients come from (write `client_ca = \"PATH\"`, a \
             file in PEM)",
        ],
    );
    with_rest(
        "[server]\nresource = 'http://mcp.example.com/mcp'\n\
         [server.tls]\ncertificate = 'c'\nkey = { env = 'NO_KEY' }\nclient_certificate = 'off'",
        &[
            "witgate.toml:2:12: `resource` is an http URL, but the listener speaks TLS (write the URL with https: tokens have to name it \
             as their audience)",
            "witgate.toml:5:1: the environment variable `NO_KEY` is not set (set `NO_KEY` before Witgate starts, or read the \
             secret from a `file`)",
            "witgate.toml:6:1: unknown key `client_certificate` in `[server.tls]` (did you mean `client_certificates`?)",
        ],
    );
}

#[test]
fn settings_of_shipped_kinds_are_checked() {
    with_rest(
        "[policies.a]\nkind = 'api-key'\nconfig = { stor = 'keys.toml' }\n[policies.b]\nkind = 'api-key'\nconfig = { store = \
         'no.toml' }",
        &[
            "witgate.toml:1:11: the policy `a` is used nowhere (name it in a `[pipeline]`, or remove it)",
            "witgate.toml:3:1: `[policies.a.config]` has neither `store` nor `keys` (write `config = { store = \"keys.toml\" \
             }`, or `keys = [{ name = \"…\", key = { env = \"NAME\" } }]`)",
            "witgate.toml:3:12: unknown key `stor` in `[policies.a.config]` (did you mean `store`?)",
            "witgate.toml:4:11: the policy `b` is used nowhere (name it in a `[pipeline]`, or remove it)",
            "witgate.toml:6:20: there is no file `no.toml` (make it with the first key: `witgate key create NAME --allow \
             'get_*'`)",
        ],
    );
    with_rest(
        "[policies.j]\nkind = 'jwt'\nconfig = { keys = ['sesion', { secret = 'hunter2' }, { jwks_file = 'no' }], algorithms \
         = ['none'] }\n[keys.session]\nsecret = { env = 'UPSTREAM_TOKEN' }",
        &[
            "witgate.toml:1:11: the policy `j` is used nowhere (name it in a `[pipeline]`, or remove it)",
            "witgate.toml:3:20: there is no key `sesion` under `[keys]` (did you mean `session`?)",
            "witgate.toml:3:41: a secret is in the file as plain text: `policies.j.config.keys.1.secret` (put it into \
             an environment variable and write `secret = { env = \"NAME\" }`, or into a file and write `secret = { file = \
             \"PATH\" }`)",
            "witgate.toml:3:68: there is no file `no` (put the JWK Set there, or name it by `jwks_url`)",
            "witgate.toml:3:91: `policies.j.config.algorithms.0` cannot be `none` (write one of `HS256`, `HS384`, `HS512`, \
             `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384` and `EdDSA`)",
        ],
    );
    with_rest(
        "[policies.i]\nkind = 'oauth2-introspection'\nconfig = { endpoint = 'idp', client_id = 'a', client_secret = 'hunter2' }",
        &[
            "witgate.toml:1:11: the policy `i` is used nowhere (name it in a `[pipeline]`, or remove it)",
            "witgate.toml:3:23: `idp` is not a URL: relative URL without a base (write a URL such as \
             `https://mcp.example.com/mcp`)",
            "witgate.toml:3:63: a secret is in the file as plain text: `policies.i.config.client_secret` (put it into \
             an environment variable and write `client_secret = { env = \"NAME\" }`, or into a file and write \
             `client_secret = { file = \"PATH\" }`)",
        ],
    );
}

#[test]
fn pipelines_that_admit_no_caller_are_refused() {
    let policies = "[upstreams.own]\nown_tools = true\n[policies.k]\nkind = 'api-key'\nmode = 'shadow'\nconfig = { store = \
                    'keys.toml' }\n[policies.r]\nkind = 'rbac'\nconfig = { roles = {} }\n";
    alone(
        &format!("{policies}[pipeline]\nauthenticate = ['k', 'r', 'kk', 'zz']\nauthorize = ['k', 'k']"),
        &[
            "witgate.toml:11:22: `r` is of the kind `rbac`, which never says who a caller is (policies that can: `k`)",
            "witgate.toml:11:27: there is no policy `kk` (did you mean `k`?)",
            "witgate.toml:11:33: there is no policy `zz` (define it (`[policies.zz]`), or name one of `k` and `r`)",
            "witgate.toml:12:13: `authorize` lists only shadow policies, which are not enforced: nothing would be allowed \
             to anybody (add a policy with `mode = \"enforce\"`)",
            "witgate.toml:12:19: `k` is listed twice in `authorize` (leave one out)",
        ],
    );
    let own = "[upstreams.own]\nown_tools = true\n";
    alone(
        &format!("{own}[pipeline]\nauthenticate = []\n"),
        &[
            "witgate.toml:3:2: this pipeline has no `authorize`: nothing would be allowed to anybody (add `authorize = \
             [\"…\"]`)",
            "witgate.toml:4:16: `authenticate` is empty: nobody could show who they are (name at least one policy)",
        ],
    );
    alone(
        own,
        &[
            "witgate.toml:1:12: nothing says who may use the upstream `own` (add `[pipeline]` with `authenticate = [\"…\"]` \
           and `authorize = [\"…\"]`)",
        ],
    );
}

#[test]
fn an_unused_policy_is_a_warning() {
    let folder = Folder::with(&format!("[policies.r]\nkind = 'rbac'\nconfig = {{ roles = {{}} }}{REST}"));
    let loaded = folder.load().unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert!(!loaded.warnings.iter().any(Diagnostic::is_error));
}

/// A role that denies but is not counted is a warning: its denials would not apply.
#[test]
fn an_ignored_role_with_a_deny_rule_is_a_warning() {
    let warnings = |only: &str| {
        let folder = Folder::with(&format!(
            "[upstreams.own]\nown_tools = true\n[policies.idp]\nkind = 'jwt'\nconfig = {{ algorithms = ['RS256'], issuer = \
             'https://idp.example.com', only_roles = {only} }}\n[policies.r]\nkind = 'rbac'\n[policies.r.config.roles]\n\
             user = {{ allow = ['*'] }}\nbanned = {{ deny = ['*'] }}\nout = {{ inherits = ['banned'] }}\n[pipeline]\nauthenticate = ['idp']\nauthorize = ['r']\n"
        ));
        folder.load().unwrap().warnings.iter().map(|warning| warning.message().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(warnings("['user', 'out']"), ["`only_roles` leaves out `banned`, which denies"]);
    assert_eq!(warnings("['user', 'banned']"), ["`only_roles` leaves out `out`, which denies"]);
    assert_eq!(warnings("'user'").len(), 1);
    assert_eq!(warnings("['user', 'banned', 'out']"), [""; 0]);
}

#[test]
fn a_fault_is_shown_with_its_line_and_a_caret() {
    let folder =
        Folder::with(&format!("[server]\nlistn = '127.0.0.1:1'\n[keys.a]\nsecret = 'hunter2'{REST}"));
    let drawn = render(&folder.load().unwrap_err(), Style::default());
    let drawn = drawn.replace(&format!("{}/", folder.0.path().display()), "");
    let expected = "  × unknown key `listn` in `[server]`
   ╭─[witgate.toml:2:1]
 1 │ [server]
 2 │ listn = '127.0.0.1:1'
   · ──┬──
   ·   ╰── not known here
 3 │ [keys.a]
   ╰────
  help: did you mean `listen`?

  × a secret is in the file as plain text: `keys.a.secret`
   ╭─[witgate.toml:4:10]
 3 │ [keys.a]
 4 │ secret = '*******'
   ·          ─────────
 5 │ [upstreams.own]
   ╰────
  help: put it into an environment variable and write `secret = { env = \"NAME\" }`, or into a file
        and write `secret = { file = \"PATH\" }`
";
    assert_eq!(drawn, expected);
}

#[test]
fn no_secret_is_in_any_diagnostic_or_debug_output() {
    let config = format!(
        "[keys.a]\nsecret = 'hunter2'\n[upstreams.x]\nurl = 'http://u:hunter2@x'\nheaders = {{ Authorization = 'Bearer hunter2' }}{REST}"
    );
    let faults = Folder::with(&config).load().unwrap_err();
    let all = format!(
        "{faults:?}{}{:?}",
        render(&faults, Style::default()),
        faults.iter().map(Diagnostic::to_json).collect::<Vec<_>>()
    );
    assert!(!all.contains("hunter2"), "{all}");

    let config = good(&format!(
        "[keys.a]\nsecret = {{ env = 'UPSTREAM_TOKEN' }}\n[upstreams.x]\nurl = 'http://x'\nheaders = {{ Authorization = {{ file = 'secret' }} }}{REST}"
    ));
    let debug = format!("{config:?}");
    assert!(!debug.contains("sesame") && !debug.contains("from a file"), "{debug}");
    assert_eq!(config.files.paths().len(), 2, "its own, and the secret's");
}

#[test]
fn a_plugins_objection_to_a_setting_points_at_the_setting() {
    let folder =
        Folder::with("[policies.r]\nkind = 'rbac'\n[policies.r.config]\nroles = { a = { allow = [''] } }");
    let at = |message| super::policy_fault(Some(&folder.path()), "r", message).position();
    assert_eq!(at("config.roles.a.allow.0: an empty pattern"), Some((4, 26)));
    assert_eq!(at("no such import"), Some((1, 11)));
    assert_eq!(super::policy_fault(None, "r", "x").to_string(), "the policy `r` cannot be used: x");
}

#[test]
fn a_missing_file_is_reported_with_the_command_that_makes_one() {
    let faults = load(Some("no/witgate.toml".as_ref()), &Environment::default()).unwrap_err();
    assert_eq!(
        format!("{faults:?}"),
        "[there is no configuration file `no/witgate.toml` (make one with `witgate init`, or name one with `--config FILE`)]"
    );
}

#[test]
fn omitted_settings_have_their_defaults() {
    let config = good(REST);
    assert_eq!(config.server.transport, Transport::Http);
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8787");
    assert!(config.server.control.unwrap().path.ends_with("witgate.sock"));
    let [upstream] = config.upstreams.as_slice() else { panic!() };
    assert_eq!((upstream.path.as_str(), upstream.resource.as_str()), ("/mcp", "http://127.0.0.1:8787/mcp"));
    let policy = &config.policies["keys"];
    assert_eq!((policy.fallback, policy.mode), (Fallback::Deny, Mode::Enforce));
}

#[test]
fn several_upstreams_have_paths_and_resources_of_their_own() {
    let config = good(&format!(
        "[server]\nresource = 'https://mcp.example.com/gate/mcp'\n[upstreams.a]\ncommand = ['node']\nshared = true\nenv = {{ A \
         = 'b', T = {{ env = 'UPSTREAM_TOKEN' }} }}\n[upstreams.a.pipeline]\nanonymous = {{ roles = ['public'] }}\nauthorize = \
         ['keys']{REST}"
    ));
    let [a, own] = config.upstreams.as_slice() else { panic!() };
    assert_eq!((a.path.as_str(), a.resource.as_str()), ("/a/mcp", "https://mcp.example.com/gate/a/mcp"));
    assert_eq!(own.path, "/own/mcp");
    assert_eq!(a.pipeline.anonymous, Some(vec!["public".to_owned()]));
    assert_eq!(config.server.allowed_hosts, ["mcp.example.com"]);
    let UpstreamTarget::Command { argv, env, shared } = &a.target else { panic!() };
    assert_eq!((argv.as_slice(), *shared), (["node".to_owned()].as_slice(), true));
    let env: Vec<_> = env.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
    assert_eq!(env, [("A", "b"), ("T", "sesame")]);
}

#[test]
fn the_description_of_a_resource_is_its_own_or_the_servers() {
    let servers = "[server]\nauthorization_servers = ['https://idp.example']\nresource_name = 'All'\n\
                   resource_policy_uri = 'https://example.com/policy'\n";
    let config = good(&format!(
        "{servers}[upstreams.a]\nown_tools = true\nresource_name = 'Tickets'\n\
         resource_documentation = 'https://example.com/docs?a#b'{REST}"
    ));
    let [a, own] = config.upstreams.as_slice() else { panic!() };
    let policy = ("resource_policy_uri", "https://example.com/policy");
    let docs = ("resource_documentation", "https://example.com/docs?a#b");
    assert_eq!(a.about.members().collect::<Vec<_>>(), [("resource_name", "Tickets"), docs, policy]);
    assert_eq!(own.about.members().collect::<Vec<_>>(), [("resource_name", "All"), policy]);
    with_rest(
        "[server]\nauthorization_servers = ['https://idp.example']\nresource_name = \"a\\u202Eb\"\n\
         resource_tos_uri = 'http://a.example'\nresource_policy_uri = 'https://u:p@a.example'\nresource_documentation = '/docs'",
        &[
            "witgate.toml:3:17: this is not a name: a name has 1 to 200 bytes, and visible characters only (write what \
             people call it, such as `Tickets`)",
            "witgate.toml:4:20: this is not the https URL of a page (write one such as `https://example.com/docs`)",
            "witgate.toml:5:23: this is not the https URL of a page (write one such as `https://example.com/docs`)",
            "witgate.toml:6:26: this is not the https URL of a page (write one such as `https://example.com/docs`)",
        ],
    );
    with_rest(
        "[server]\nresource_name = 'Tickets'",
        &[
            "witgate.toml:2:17: this setting has no effect (set `server.authorization_servers`, without which there is no \
             metadata, or leave it out)",
        ],
    );
}

#[test]
fn trusted_proxies_need_addresses_and_one_source_of_the_client() {
    let server = "[server]\ntrusted_proxies = ['10.0.0.0/8', '::1']\nforwarded = 'proxy-protocol'";
    let config = good(&format!("{server}{REST}"));
    assert_eq!(config.server.trusted_proxies.len(), 2);
    with_rest(
        "[server]\ntrusted_proxies = ['10.0.0.1/8', '::ffff:10.0.0.1', '0.0.0.0/0', 'proxy.example']\nforwarded = 'forwarded'",
        &[
            "witgate.toml:2:20: `10.0.0.1/8` is not the beginning of a network (write `10.0.0.0/8`)",
            "witgate.toml:2:34: `::ffff:10.0.0.1` is IPv4 within IPv6 (write it as IPv4)",
            "witgate.toml:2:53: with `0.0.0.0/0`, everybody would be trusted (name the proxies: a trusted sender can claim any address)",
            "witgate.toml:2:66: `proxy.example` is neither an address nor a network (write an address such as \
             `10.0.0.1`, or a network such as `10.0.0.0/8`)",
        ],
    );
    with_rest(
        "[server]\nforwarded = 'forwarded'",
        &[
            "witgate.toml:2:13: nothing says which proxies are trusted (write the addresses of your proxies as \
             `trusted_proxies`, such as `[\"10.0.0.0/8\"]`)",
        ],
    );
    assert!(
        says(&format!("[server]\ntrusted_proxies = ['::1']{REST}"))
            .contains("how these proxies name the sender")
    );
}

#[test]
fn the_largest_request_fits_into_the_memory_for_requests() {
    let config = good(&format!("[server]\nmax_request_mib = 32{REST}"));
    assert_eq!(config.server.max_request, 32 << 20);
    with_rest(
        "[server]\nmax_request_mib = 33",
        &["witgate.toml:2:19: a message of this size would be refused: it is more than half of \
           `request_memory_mib` (set `request_memory_mib` to 66 at least)"],
    );
}

#[test]
fn the_largest_server_message_fits_into_the_memory_for_answers() {
    let with = |server: &str, mib: u64| {
        let rest = REST.replace("own_tools = true", &format!("own_tools = true\nmax_message_mib = {mib}"));
        assert_ne!(rest, REST);
        format!("[server]\n{server}{rest}")
    };
    assert_eq!(good(&with("", 128)).server.answer_memory, 256 << 20);
    assert!(says(&with("", 129)).contains("set `answer_memory_mib` to 258 at least"));
    assert_eq!(good(&with("answer_memory_mib = 258", 129)).upstreams[0].max_message, 129 << 20);
}

#[test]
fn invalid_network_settings_are_refused() {
    with_rest(
        "[network]\nca_file = 'keys.toml'\nproxy = 'http://user:hunter2@proxy.example'",
        &[
            "witgate.toml:2:11: there is no certificate in keys.toml; it has to be PEM (`BEGIN CERTIFICATE`) \
             (name a file in PEM with the certificates of the CAs)",
            "witgate.toml:3:9: a user or a password must not be in this file (write `{ env = \"NAME\" }` or `{ file = \"PATH\" }`, with the whole URL)",
        ],
    );
    with_rest(
        "[network]\nsystem_cas = false\nproxy = 'socks5://proxy.example'",
        &[
            "witgate.toml:2:14: no certificate would be trusted: the authorities of the system are left out, and there are no others (name others in `ca_file`, or leave it out)",
            "witgate.toml:3:9: this is not the http or https URL of a proxy (write one such as \
             `http://proxy.example.com:3128`, or `environment`)",
        ],
    );
    with_rest(
        "[network]\nno_proxy = ['example.com']",
        &["witgate.toml:2:12: this has no effect without a `proxy` (add `proxy`, or leave it out)"],
    );
}

#[test]
fn invalid_rules_for_reloads_are_refused() {
    with_rest(
        "[reload]\nno_new_acces = true",
        &["witgate.toml:2:1: unknown key `no_new_acces` in `[reload]` (did you mean `no_new_access`?)"],
    );
}

#[test]
fn invalid_telemetry_settings_are_refused() {
    with_rest(
        "[telemetry]\notlp_endpoint = 'collector:4318'\nsample = 1.5\nsampel = 1",
        &[
            "witgate.toml:2:17: `collector:4318` is not an http or https URL (write the URL of a collector, such as \
             `http://127.0.0.1:4318`)",
            "witgate.toml:3:10: 1.5 is not a share (write a number from 0 to 1, such as `0.01` for one trace in a hundred)",
            "witgate.toml:4:1: unknown key `sampel` in `[telemetry]` (did you mean `sample`?)",
        ],
    );
    with_rest(
        "[telemetry]\nsample = 0.5",
        &[
            "witgate.toml:2:10: this has no effect without an `otlp_endpoint` (add `otlp_endpoint`, or leave it out)",
        ],
    );
}

#[test]
fn an_allowed_host_in_any_script_matches_its_form_in_requests() {
    let config = good(&format!("[server]\nallowed_hosts = ['*.Bücher.example', 'A.example', '[::1]']{REST}"));
    assert!(config.server.allowed_hosts.contains(&"*.xn--bcher-kva.example".to_owned()));
    assert!(config.server.allowed_hosts.contains(&"a.example".to_owned()));
}

fn environment(variables: &[(&str, &str)]) -> Result<super::LoadedConfig, String> {
    let environment = variables.iter().copied().collect();
    load(None, &environment).map_err(|faults| faults.iter().map(|fault| format!("{fault}\n")).collect())
}

const KEY: (&str, &str) = ("MCP_API_KEY", "0123456789abcdef0123456789abcdef");

#[test]
fn a_key_in_the_environment_makes_a_store_of_one_key() {
    let config = environment(&[KEY, ("MCP_AUTH_HEADER", "X-Key")]).unwrap().config;
    assert_eq!(config.server.transport, Transport::Stdio);
    assert!(config.path.is_none() && config.server.control.is_none() && !config.auth_disabled);
    let policy = &config.policies["api-key"];
    let store =
        witgate_api_key::store::Store::parse(policy.config["store"]["content"].as_str().unwrap()).unwrap();
    assert_eq!(store.keys[0].allow, ["*"]);
    assert_eq!(policy.config["header"], "X-Key");
    assert!(!format!("{config:?}").contains(KEY.1));
    let pipeline = &config.upstreams[0].pipeline;
    assert_eq!(
        (pipeline.authenticate.as_slice(), pipeline.authorize.as_slice()),
        (["api-key".to_owned()].as_slice(), ["api-key".to_owned()].as_slice())
    );
}

#[test]
fn a_token_secret_in_the_environment_makes_a_jwt_policy() {
    let config = environment(&[KEY, ("JWT_SECRET", "fedcba9876543210fedcba9876543210")]).unwrap().config;
    assert_eq!(config.upstreams[0].pipeline.authenticate, ["api-key", "jwt"]);
    assert_eq!(config.upstreams[0].pipeline.authorize, ["holders"]);
    assert!(config.keys.contains_key("jwt-secret"));
    let alone = environment(&[("JWT_SECRET", "fedcba9876543210fedcba9876543210")]).unwrap().config;
    assert_eq!(alone.upstreams[0].pipeline.authenticate, ["jwt"]);
}

#[test]
fn an_incomplete_environment_is_refused() {
    let fault = |variables: &[(&str, &str)]| environment(variables).unwrap_err();
    assert!(
        fault(&[])
            .starts_with("there is no configuration file, and MCP_API_KEY is not set (make a configuration")
    );
    assert!(
        fault(&[("MCP_API_KEY", "hunter2")])
            .starts_with("MCP_API_KEY has 7 characters, and at least 32 are needed")
    );
    assert!(!fault(&[("MCP_API_KEY", "hunter2")]).contains("hunter2"));
    assert!(fault(&[KEY, ("JWT_SECRET", "short")]).starts_with("JWT_SECRET has 5 characters"));
    assert!(
        fault(&[KEY, ("MCP_AUTH_HEADER", "a b")])
            .starts_with("MCP_AUTH_HEADER is not the name of a header: `a b`")
    );
    assert!(
        fault(&[KEY, ("MCP_AUTH_ENABLED", "flase")])
            .starts_with("MCP_AUTH_ENABLED is neither `true` nor `false`")
    );
}

#[test]
fn the_environment_switches_authentication_off_only_without_a_file() {
    let loaded = environment(&[("MCP_AUTH_ENABLED", "False")]).unwrap();
    assert!(loaded.config.auth_disabled);
    assert_eq!(loaded.warnings.len(), 1);

    let folder = Folder::with(REST);
    let faults = load(Some(&folder.path()), &[("MCP_AUTH_ENABLED", "0")].into_iter().collect()).unwrap_err();
    assert!(
        faults[0].message().starts_with("MCP_AUTH_ENABLED=false is set, and there is a configuration file")
    );
}

#[test]
fn a_lack_of_descriptors_is_distinguished_from_an_invalid_configuration() {
    if !is_alone("resolve::tests::a_lack_of_descriptors_is_distinguished_from_an_invalid_configuration") {
        return;
    }
    let secret = |file| format!("[keys.k]\nsecret = {{ file = '{file}' }}\n{REST}");
    let (good, missing) = (Folder::with(&secret("secret")), Folder::with(&secret("nowhere")));
    assert!(good.load().is_ok());
    let faults = missing.load().unwrap_err();
    assert!(faults.iter().all(|fault| !fault.may_pass()), "{faults:?}");

    let text = std::fs::read_to_string(good.path()).unwrap();
    take_descriptors();
    let faults = good.load().unwrap_err();
    assert!(faults.iter().all(Diagnostic::may_pass), "{faults:?}");
    let faults = super::load_text(&good.path(), &text, &Environment::default()).unwrap_err();
    assert!(faults.iter().all(Diagnostic::may_pass), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.message().contains("secret")), "{faults:?}");
}

/// Environment of an upstream with the variable `A`, or what is wrong with it.
fn variable(text: &str, file: &[u8]) -> Result<String, String> {
    let folder = Folder::with(&format!(
        "[upstreams.a]\ncommand = ['node']\nenv = {{ A = {text} }}\n[pipeline]\nanonymous = {{ roles = ['r'] }}\n\
         authorize = ['r']\n[policies.r]\nkind = 'rbac'\nconfig = {{ roles = {{ r = {{ allow = ['*'] }} }} }}"
    ));
    std::fs::write(folder.path().with_file_name("token"), file).unwrap();
    let environment = [("TOKEN", "sesame"), ("PATH", "/usr/bin:/bin")].into_iter().collect();
    let loaded = super::load_parts(&folder.path(), &environment, super::Strictness::Parts)
        .map_err(|faults| format!("{faults:?}"))?;
    let fault = loaded
        .faults
        .iter()
        .find(|fault| fault.to_string().contains("env.A") || fault.to_string().contains("${"));
    match (&loaded.config.upstreams[0].target, fault) {
        (_, Some(fault)) => Err(fault.to_string()),
        (UpstreamTarget::Command { env, .. }, None) => Ok(env[0].1.expose_secret().to_owned()),
        (other, None) => Err(format!("{other:?} {:?}", loaded.faults)),
    }
}

#[test]
fn a_reference_to_a_variable_is_an_error_that_names_the_right_form() {
    let wrong = variable("'Bearer ${TOKEN}'", b"").unwrap_err();
    assert!(wrong.contains("`${TOKEN}` is not replaced"), "{wrong}");
    assert!(wrong.contains(r#"write `A = { env = "TOKEN", prefix = "Bearer " }`"#), "{wrong}");
    let wrong = variable("'hidden${TOKEN}'", b"").unwrap_err();
    assert!(!wrong.contains("hidden"), "{wrong}");
    assert_eq!(variable("'${not a name}'", b"").unwrap(), "${not a name}");
}

#[test]
fn a_prefix_is_put_before_a_secret() {
    assert_eq!(variable("{ env = 'TOKEN', prefix = 'Bearer ' }", b"").unwrap(), "Bearer sesame");
    assert_eq!(variable("{ file = 'token', prefix = 'Bearer ' }", b"open\n").unwrap(), "Bearer open");
}

#[test]
fn a_byte_order_mark_is_removed_from_a_secret() {
    assert_eq!(variable("{ file = 'token' }", b"\xef\xbb\xbfopen\r\n").unwrap(), "open");
}

#[test]
fn limits_with_faults_are_refused() {
    with_rest(
        "[limits.a]\nrate = '0/min'\nbrust = 3\n[limits.b]\nrate = '100/minute'\nupstreams = ['owm']\n\
         [limits.c]\nburst = 3\n[limits.d]\nconcurrent = 0\n[limits.'e f']\nconcurrent = 2\non = ['resource:', 'a\\nb']",
        &[
            "witgate.toml:2:8: `0/min` permits no call at all (write at least 1; to forbid calls, deny them in a policy)",
            "witgate.toml:3:1: unknown key `brust` in `[limits.a]` (did you mean `burst`?)",
            "witgate.toml:5:8: `minute` is no unit of time in `100/minute` (did you mean `100/min`?)",
            "witgate.toml:6:14: there is no upstream `owm` (did you mean `own`?)",
            "witgate.toml:7:9: the limit `c` limits nothing (add `rate = \"100/min\"`, `concurrent = 4`, or both)",
            "witgate.toml:10:14: `limits.d.concurrent` is out of range (write a number from 1 to 1000000)",
            "witgate.toml:11:9: `e f` cannot be the name of a limit, which callers see in a header (write at most 64 letters, digits, `-`, `_` and `.`)",
            "witgate.toml:13:7: `resource:` is no pattern of calls: an empty pattern matches nothing; write `*` or a name (write patterns as for `rbac`: `get_*`, `resource:file:///docs/*`, `prompt:*`, or `method:tools/list`)",
        ],
    );
    with_rest(
        "[limits.a]\nrate = '100'\n[limits.b]\nrate = 'many/s'\nper = ['caller']\n[limits.c]\nrate = '1/day'\nburst = 100\n\
         [limits.d]\nrate = '2000000/s'\n[limits.e]\nconcurrent = 1\nburst = 2",
        &[
            "witgate.toml:2:8: `100` is no rate (write a number and a unit, such as `100/min`; the units are `s`, `min`, `h` and `day`)",
            "witgate.toml:4:8: `many` is no number of calls in `many/s` (write a number and a unit, such as `100/min`; the units are `s`, `min`, `h` and `day`)",
            "witgate.toml:5:8: `limits.b.per.0` cannot be `caller` (write one of `principal`, `credential`, `role`, `peer`, `upstream` and `target`)",
            "witgate.toml:8:9: a caller who has used all 100 calls would get them back in 100 days (write a smaller `burst`, or a higher `rate`)",
            "witgate.toml:10:8: `2000000/s` is out of range (write a number from 1 to 1000000)",
            "witgate.toml:13:9: `burst` has no effect without a `rate` (add `rate`, or leave `burst` out)",
        ],
    );
    with_rest(
        "[limits.a]\nrate = '1/s'\n[limits.a]\n",
        &["witgate.toml:3:9: this is not TOML: duplicate key"],
    );
}

#[test]
fn limits_that_no_call_matches_are_warned_about() {
    with_rest(
        "[limits.a]\nrate = '1/s'\non = []\nroles = []\nkinds = ['jwt', 'api-key', 'anonymous']\n[limits.b]\nrate = '1/s'\non = ['method:tools/lists', 'method:*']",
        &[
            "witgate.toml:3:6: no call matches the limit `a`: `on` is empty (name calls, or leave `on` out to limit all calls)",
            "witgate.toml:4:9: no call matches the limit `a`: `roles` is empty (leave `roles` out to limit all)",
            "witgate.toml:5:9: no call matches: no pipeline of the limit `a` accepts `jwt` (leave it out, or add a policy of this kind to a pipeline)",
            "witgate.toml:5:9: no call matches: no pipeline of the limit `a` accepts `anonymous` (leave it out, or add a policy of this kind to a pipeline)",
            "witgate.toml:8:7: `tools/lists` is no method of the protocol (did you mean `method:tools/list`?)",
        ],
    );
    let rbac = "[upstreams.own]\nown_tools = true\n[policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
                [policies.rules]\nkind = 'rbac'\nconfig = { roles = { reader = { allow = ['*'] } } }\n\
                [pipeline]\nauthenticate = ['keys']\nauthorize = ['rules']\n\
                [limits.a]\nrate = '1/s'\nroles = ['reader', 'raeder']";
    alone(
        rbac,
        &[
            "witgate.toml:14:20: no `rbac` policy and no `anonymous` has the role `raeder` (did you mean `reader`?)",
        ],
    );
}

#[test]
fn limits_have_the_patterns_and_the_bursts_of_their_settings() {
    let config = good(&format!("[limits.a]\nrate = '90 / min'\nper = ['peer', 'principal']{REST}"));
    let [limit] = config.limits.as_slice() else { panic!("{:?}", config.limits) };
    let rate = limit.rate.unwrap();
    assert_eq!((rate.count, rate.period.as_secs(), rate.burst), (90, 60, 90));
    assert!(limit.patterns[0].matches(witgate_plugin::TargetKind::Tool, "x"));
    assert!(!limit.patterns[0].matches(witgate_plugin::TargetKind::Method, "tools/list"));
}

#[test]
fn a_preset_of_limits_is_by_the_kind_of_credential() {
    let of = |rest: &str| {
        let config = good(&format!("[limits.calls]\npreset = 'chapter-6'\n{rest}"));
        let limit = |limit: &crate::limits::CallLimit| {
            let kinds: Vec<_> = limit.kinds.iter().flatten().map(|kind| kind.name()).collect();
            format!("{} {} {}", limit.name, limit.rate.unwrap(), kinds.join("+"))
        };
        config.limits.iter().map(limit).collect::<Vec<_>>()
    };
    assert_eq!(of(REST), ["calls-api-key 1000/min api-key"]);
    let open = REST.replace("authorize = ['keys']", "authorize = ['keys']\nanonymous = { roles = [] }");
    assert_eq!(of(&open), ["calls-api-key 1000/min api-key", "calls-other 100/min anonymous"]);
    with_rest(
        "[limits.a]\npreset = 'chapter-6'\nrate = '1/s'\n[limits.a-api-key]\nrate = '1/s'\n[limits.b]\npreset = 'x'",
        &[
            "witgate.toml:3:8: `rate` has no effect beside `preset` (leave it out, or write single limits instead of the preset)",
            "witgate.toml:4:9: the preset `a` has a limit `a-api-key` already (give one of them another name)",
            "witgate.toml:7:10: `limits.b.preset` cannot be `x` (write one of `chapter-6`)",
        ],
    );
}

#[test]
fn invalid_lockouts_and_denied_peers_are_refused() {
    with_rest(
        "[lockout]\nfailure = 3\npause_s = 60\nmax_pause_s = 30\n[server]\ndeny_peers = ['10.0.0.1/8', 'localhost', '192.0.2.0/24']",
        &[
            "witgate.toml:2:1: unknown key `failure` in `[lockout]` (did you mean `failures`?)",
            "witgate.toml:4:15: `max_pause_s` is less than the first pause, `pause_s` (write 60 or more)",
            "witgate.toml:6:15: `10.0.0.1/8` is not the beginning of a network (write `10.0.0.0/8`)",
            "witgate.toml:6:29: `localhost` is neither an address nor a network (write an address such as `10.0.0.1`, or a network such as `10.0.0.0/8`)",
        ],
    );
    with_rest(
        "[lockout]\nforget_s = 60",
        &[
            "witgate.toml:2:12: failures would be forgotten during a pause: `forget_s` is less than the longest pause (write 900 or more)",
        ],
    );
    let lockout = good(&format!("[lockout]{REST}")).lockout.unwrap();
    assert_eq!((lockout.failures, lockout.pause.as_secs(), lockout.forget.as_secs()), (10, 5, 900));
}
