//! Keys of `api-key` policies that come from secrets.

use super::{Folder, write_private};

fn says(config: &str) -> String {
    let rest =
        "[upstreams.own]\nown_tools = true\n[pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n";
    let folder = Folder::with(&format!("[policies.keys]\nkind = 'api-key'\nconfig = {config}\n{rest}"));
    write_private(&folder.0.path().join("long"), "0123456789abcdef0123456789abcdef\n");
    folder.says()
}

#[test]
fn a_key_from_a_secret_is_long_unless_it_may_be_weak() {
    assert_eq!(says("{ keys = [{ name = 'a', key = { file = 'long' } }] }"), "");
    assert_eq!(says("{ store = 'keys.toml', keys = [{ name = 'a', key = { file = 'long' } }] }"), "");
    let short = says("{ keys = [{ name = 'a', key = { env = 'UPSTREAM_TOKEN' } }] }");
    assert!(short.contains("3:34: this key has 6 characters, and at least 32 are needed"), "{short}");
    assert!(!short.contains("sesame"));
    let weak = says("{ keys = [{ name = 'a', key = { env = 'UPSTREAM_TOKEN' }, weak = true }] }");
    assert!(weak.contains("this key has 6 characters") && weak.contains("it can be guessed"), "{weak}");
}

#[test]
fn a_policy_has_keys_and_each_has_a_source() {
    let none = says("{ header = 'X-Key' }");
    assert!(none.contains("`[policies.keys.config]` has neither `store` nor `keys`"), "{none}");
    let unset = says("{ keys = [{ name = 'a', key = { env = 'NOT_SET' } }] }");
    assert!(unset.contains("the environment variable `NOT_SET` is not set"), "{unset}");
    let plain = says("{ keys = [{ name = 'a', key = 'sesame' }] }");
    assert!(plain.contains("`{ env = \"NAME\" }`") || plain.contains("env"), "{plain}");
    let digest = says("{ keys = [{ name = 'a', key = { sha256 = '00' } }] }");
    assert!(digest.contains("sha256"), "{digest}");
}
