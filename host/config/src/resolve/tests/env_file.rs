//! `server.env_file`.

use secrecy::ExposeSecret;

use super::{Folder, UpstreamTarget};
use crate::resolve::load;

const CONFIG: &str = r#"
[server]
env_file = '.env'
[upstreams.a]
url = 'https://a.example.com/mcp'
headers = { A = { env = 'TOKEN' } }
[policies.keys]
kind = 'api-key'
config = { store = 'keys.toml' }
[pipeline]
authenticate = ['keys']
authorize = ['keys']
"#;

fn folder(variables: &str) -> Folder {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::with(CONFIG);
    let path = folder.0.path().join(".env");
    std::fs::write(&path, variables).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    folder
}

fn token(folder: &Folder, variables: &[(&str, &str)]) -> Option<String> {
    let loaded = load(Some(&folder.path()), &variables.iter().copied().collect()).ok()?;
    let UpstreamTarget::Url { headers, .. } = &loaded.config.upstreams.first()?.target else { return None };
    Some(headers.first()?.1.expose_secret().to_owned())
}

#[test]
fn variables_of_the_file_count_if_they_are_not_set() {
    let folder = folder("TOKEN='of the file'\nOTHER=o\n");
    assert_eq!(token(&folder, &[]).as_deref(), Some("of the file"));
    assert_eq!(token(&folder, &[("TOKEN", "set")]).as_deref(), Some("set"));
    assert_eq!(token(&folder, &[("TOKEN", "")]), None, "a variable that is set to nothing is set");
    let loaded = load(Some(&folder.path()), &crate::environment::Environment::default()).unwrap();
    assert_eq!(loaded.config.environment.get("OTHER"), Some("o"));
    assert!(loaded.config.files.has(&folder.0.path().join(".env")), "a change of the file is noticed");
    assert!(!format!("{loaded:?}").contains("of the file"));
}

#[test]
fn a_fault_of_the_file_is_reported_at_its_place() {
    let of_file = folder("TOKEN=sesame\nA 'sesame'\n").says();
    assert!(of_file.contains(".env:2:3: there is no `=` after the name"), "{of_file}");
    assert!(!of_file.contains("sesame"));
    let missing = folder("");
    std::fs::remove_file(missing.0.path().join(".env")).unwrap();
    let missing = missing.says();
    assert!(missing.contains("3:12: the file of variables"), "{missing}");
}

#[test]
fn an_earlier_text_keeps_the_last_variables_while_the_file_has_a_fault() {
    use crate::environment::Environment;
    use crate::resolve::{Strictness, load_text_parts};
    let folder = folder("TOKEN=good\n");
    let (file, process) = (folder.0.path().join(".env"), Environment::default());
    let last = load(Some(&folder.path()), &process).unwrap().config.environment;
    let read = |last| load_text_parts(&folder.path(), CONFIG, &process, last, Strictness::Parts);
    for broken in [Some("TOKEN 'sesame'\n"), None] {
        match broken {
            Some(text) => std::fs::write(&file, text).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let loaded = read(Some(&last)).unwrap();
        assert_eq!(loaded.config.environment.get("TOKEN"), Some("good"));
        assert!(loaded.faults.is_empty() && !loaded.warnings.is_empty(), "the fault is a warning");
        assert!(loaded.config.files.has(&file), "the repair of the file is noticed");
        assert!(read(None).is_err(), "without former variables, the fault counts");
    }
    std::fs::write(&file, "TOKEN=new\n").unwrap();
    assert_eq!(read(Some(&last)).unwrap().config.environment.get("TOKEN"), Some("new"));
}
