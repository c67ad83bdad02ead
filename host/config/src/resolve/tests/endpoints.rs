use super::*;

const UPSTREAMS: &str = "[upstreams.a]\nown_tools = true\n[upstreams.b]\nown_tools = true\n[policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n[pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n";

fn faults(endpoints: &str, expected: &[&str]) {
    let said = Folder::with(&format!("{endpoints}\n{UPSTREAMS}")).says();
    assert_eq!(said.lines().collect::<Vec<_>>(), expected, "{endpoints}");
}

#[test]
fn an_endpoint_has_a_path_and_a_resource_of_its_own() {
    let folder = Folder::with(&format!(
        "[endpoints.both]\nupstreams = ['b', 'a']\nowns = {{ a = ['get_*', 'resource:file:///*'] }}\n{UPSTREAMS}"
    ));
    let config = folder.load().unwrap().config;
    let [endpoint] = config.endpoints.as_slice() else { panic!("{:?}", config.endpoints) };
    assert_eq!((&*endpoint.path, &*endpoint.resource), ("/both/mcp", "http://127.0.0.1:8787/both/mcp"));
    let upstreams = endpoint.upstreams.iter().map(|upstream| (&*upstream.name, upstream.offers_resources));
    assert_eq!(upstreams.collect::<Vec<_>>(), [("b", false), ("a", true)]);
}

#[test]
fn an_endpoint_joins_upstreams_that_exist() {
    faults(
        "[endpoints.both]\nupstreams = ['a']",
        &[
            "witgate.toml:2:13: an endpoint joins several upstreams (write at least two: each upstream is also served alone, at its own path)",
        ],
    );
    faults(
        "[endpoints.both]\nupstreams = ['a', 'c', 'a']\nowns.b = ['method:x']\nowns.a = ['method:x', '']",
        &[
            "witgate.toml:2:19: there is no upstream `c`; did you mean `a`? (write the names of tables under `[upstreams]`)",
            "witgate.toml:2:24: `a` is here twice (leave one)",
            "witgate.toml:3:10: `b` is no upstream of this endpoint (add it to `upstreams`, or remove this)",
            "witgate.toml:4:11: a method belongs to no upstream (write patterns of tools, or of `prompt:` and `resource:`)",
            "witgate.toml:4:23: an empty pattern matches nothing; write `*` or a name (correct the pattern, or remove it)",
        ],
    );
    faults(
        "[endpoints.a]\nupstreams = ['a', 'b']",
        &[
            "witgate.toml:1:12: the endpoint `a` and the upstream `a` are both at `/a/mcp` (write another `path`, or another name, for one of them)",
        ],
    );
    faults(
        "[upstreams.c__d]\nown_tools = true\n[endpoints.both]\nupstreams = ['a', 'c__d']",
        &[
            "witgate.toml:4:19: `c__d` cannot be the prefix of names of tools (at an endpoint with others, an upstream has a name of at most 32 letters, digits, `-` and `_`, without `__` and without `_` at the end: rename it)",
        ],
    );
}

/// A client shows one credential to all upstreams.
#[test]
fn the_upstreams_of_an_endpoint_accept_the_same_credentials() {
    faults(
        "[endpoints.both]\nupstreams = ['a', 'c', 'd']\n[upstreams.c]\nown_tools = true\npipeline = { authenticate = ['others'], authorize = ['others'] }\n[upstreams.d]\nown_tools = true\ndenials = 'result'\npipeline = { authenticate = ['keys'], authorize = ['keys'], anonymous = { roles = [] } }\n[policies.others]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }",
        &[
            "witgate.toml:2:19: the upstreams `a` and `c` cannot be at one endpoint, where a client shows one credential: `authenticate` is `keys` at the first one, and `others` at the other one (give both pipelines the same `authenticate` and `anonymous`, and both upstreams the same `denials`; `authorize` may differ)",
            "witgate.toml:2:24: the upstreams `a` and `d` cannot be at one endpoint, where a client shows one credential: it accepts no callers without a credential at the first one, and callers without a credential at the other one (give both pipelines the same `authenticate` and `anonymous`, and both upstreams the same `denials`; `authorize` may differ)",
            "witgate.toml:2:24: the upstreams `a` and `d` cannot be at one endpoint, where a client shows one credential: `denials` is Http at the first one, and Result at the other one (give both pipelines the same `authenticate` and `anonymous`, and both upstreams the same `denials`; `authorize` may differ)",
        ],
    );
}

#[test]
fn an_endpoint_over_stdio_has_all_upstreams() {
    let stdio = "[server]\ntransport = 'stdio'\n";
    faults(&format!("{stdio}[endpoints.both]\nupstreams = ['a', 'b']"), &[]);
    faults(
        &format!(
            "{stdio}[endpoints.both]\nupstreams = ['a', 'b']\n[endpoints.other]\nupstreams = ['a', 'b']"
        ),
        &[
            "witgate.toml:5:12: over stdio there is one endpoint, because there is one stream (leave one, or write `transport = \"http\"`)",
            "witgate.toml:9:12: over stdio there is one upstream, because there is one stream (leave one, join them in one `[endpoints.NAME]`, or write `transport = \"http\"`, where each has its own path)",
        ],
    );
    faults(
        &format!("{stdio}[endpoints.both]\nupstreams = ['a', 'b']\n[upstreams.c]\nown_tools = true"),
        &[
            "witgate.toml:5:12: over stdio there is the endpoint `both` alone, and the upstream `c` is not in it (add it to `upstreams` there, or remove it)",
        ],
    );
}
