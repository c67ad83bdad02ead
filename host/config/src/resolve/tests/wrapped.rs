//! A server that the command line names, guarded by the environment alone.

use super::{KEY, UpstreamTarget};
use crate::resolve::{LoadedConfig, WrappedServer, load_wrapped};

fn wrapped(passed: &[&str], variables: &[(&str, &str)]) -> Result<LoadedConfig, String> {
    let command = vec!["server".to_owned(), "--flag".to_owned()];
    let server = WrappedServer { command, passed: passed.iter().map(|name| (*name).to_owned()).collect() };
    let environment = variables.iter().copied().collect();
    let loaded = load_wrapped(&server, &environment);
    loaded.map_err(|faults| faults.iter().map(|fault| format!("{fault}\n")).collect())
}

#[test]
fn a_wrapped_server_has_the_policies_of_the_environment() {
    let config = wrapped(&["TOKEN"], &[KEY, ("TOKEN", "t"), ("OTHER", "o")]).unwrap().config;
    assert!(config.path.is_none() && !config.auth_disabled);
    let [upstream] = config.upstreams.as_slice() else { panic!("{:?}", config.upstreams) };
    assert_eq!((upstream.pipeline.authenticate.len(), upstream.pipeline.authorize.len()), (1, 1));
    let UpstreamTarget::Command { argv, env, shared: false } = &upstream.target else { panic!() };
    assert_eq!(argv, &["server", "--flag"]);
    assert_eq!(env.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["TOKEN"]);
}

#[test]
fn a_wrapped_server_needs_a_key_and_gets_no_credential_for_witgate() {
    let fault = wrapped(&[], &[]).unwrap_err();
    assert!(fault.starts_with("MCP_API_KEY is not set (set MCP_API_KEY to a random key"), "{fault}");
    let fault = wrapped(&[], &[("MCP_APIKEY", KEY.1)]).unwrap_err();
    assert!(fault.contains("MCP_APIKEY is set") && fault.contains("did you mean `MCP_API_KEY`?"), "{fault}");
    assert!(!fault.contains(KEY.1));
    let warnings = |passed: &[&str]| {
        let loaded = wrapped(passed, &[("JWT_SECRET", KEY.1), ("MCP_API_KEYS", KEY.1)]);
        loaded.unwrap().warnings.len()
    };
    assert_eq!((warnings(&[]), warnings(&["MCP_API_KEYS"])), (1, 0), "what the server gets is not misspelt");
    for own in ["MCP_API_KEY", "MCP_BEARER_TOKEN", "JWT_SECRET"] {
        let fault = wrapped(&[own], &[KEY]).unwrap_err();
        assert!(fault.starts_with(&format!("{own} is a credential for Witgate")), "{fault}");
    }
    let fault = wrapped(&["TOKEN"], &[KEY]).unwrap_err();
    assert!(fault.starts_with("the server is to get TOKEN, which is not set"), "{fault}");
}
