use std::path::Path;

use super::own_server::ServerOptions;
use super::starter::{STARTER, Starter};
use clap::{Args as _, FromArgMatches as _};
use witgate_config::UpstreamTarget;
use witgate_config::environment::Environment;
use witgate_config::resolve::load;

fn options(words: &[&str]) -> Result<ServerOptions, clap::Error> {
    let command = ServerOptions::augment_args(clap::Command::new("init"));
    let matches = command.try_get_matches_from(["init"].iter().chain(words))?;
    ServerOptions::from_arg_matches(&matches)
}

/// The configuration for the server that the arguments name.
fn configuration(words: &[&str], by_roles: bool) -> String {
    let server = options(words).unwrap().resolve().unwrap();
    Starter { builtin: true, server: server.as_ref(), by_roles }.text()
}

#[test]
fn the_starter_is_the_file_as_it_is() {
    let text = Starter { builtin: false, server: None, by_roles: true }.text();
    assert_eq!(text, STARTER);
}

#[test]
fn a_server_of_the_user_replaces_the_example() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("witgate.toml");
    let keys = "version = 1\n";
    std::fs::write(folder.path().join("keys.toml"), keys).unwrap();
    for (words, by_roles) in [
        (&["--command", "sh", "/a b/\"server\".py", "--server-name", "my.chat"][..], true),
        (&["--command", "sh", "--server-name", "my.chat", "--", "/a b/\"server\".py"], false),
        (&["--server-name", "my.chat", "--", "sh", "/a b/\"server\".py"], true),
    ] {
        std::fs::write(&path, configuration(words, by_roles)).unwrap();
        let environment: Environment = [("PATH", "/usr/bin:/bin")].into_iter().collect();
        let loaded = load(Some(&path), &environment).unwrap();
        assert!(loaded.warnings.is_empty(), "{words:?}: {:?}", loaded.warnings);
        let upstream = &loaded.config.upstreams[0];
        assert_eq!(upstream.name, "my.chat");
        let UpstreamTarget::Command { argv, .. } = &upstream.target else { panic!("{upstream:?}") };
        assert_eq!(argv, &["sh", "/a b/\"server\".py"], "{words:?}");
        let authorize = if by_roles { &["keys", "roles"][..] } else { &["keys"] };
        assert_eq!(upstream.pipeline.authorize, authorize);
    }
    std::fs::write(&path, configuration(&["--url", "http://127.0.0.1:9000/mcp"], true)).unwrap();
    let loaded = load(Some(&path), &Environment::default()).unwrap();
    assert!(
        matches!(&loaded.config.upstreams[0].target, UpstreamTarget::Url { url, .. } if url.port() == Some(9000))
    );
    assert!(!std::fs::read_to_string(&path).unwrap().contains("get-env"));
}

#[test]
fn a_command_that_is_one_word_is_split_as_a_shell_reads_it() {
    let command = |line: &str| {
        let text = configuration(&["--command", line], true);
        text.lines().find(|line| line.starts_with("command = ")).unwrap().to_owned()
    };
    assert_eq!(command("npx -y some-server"), r#"command = ["npx", "-y", "some-server"]"#);
    assert_eq!(command("python3 'my server.py'"), r#"command = ["python3", "my server.py"]"#);
    assert_eq!(command("uvx"), r#"command = ["uvx"]"#);
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("my server");
    std::fs::write(&program, "").unwrap();
    assert_eq!(command(program.to_str().unwrap()), format!("command = [{:?}]", program.to_str().unwrap()));
    let refused = options(&["--command", "npx 'x"]).unwrap().resolve().err().unwrap();
    assert!(refused.to_string().contains("write program and arguments separately"), "{refused}");
}

#[test]
fn scripts_get_their_full_paths() {
    let here = std::env::current_dir().unwrap();
    let text = configuration(&["--command", "python3", "Cargo.toml", "nothing.py"], true);
    let full = here.join("Cargo.toml");
    let wanted = format!("command = [\"python3\", \"{}\", \"nothing.py\"]", full.display());
    assert!(Path::new("Cargo.toml").exists() && text.contains(&wanted), "{text}");
}

#[test]
fn servers_that_cannot_be_are_refused() {
    for words in [
        &["--command", "a", "--url", "http://b"][..],
        &["--url", "http://b", "--", "c"],
        &["--url", "ftp://b"],
        &["--url", "http://me:secret@b"],
        &["--command", "npx", "-y", "server"],
        &["--command", "a", "--server-name", "a/b"],
    ] {
        assert!(options(words).is_err(), "{words:?}");
    }
    assert!(options(&["--server-name", "a"]).unwrap().resolve().is_err());
    assert!(options(&[]).unwrap().resolve().unwrap().is_none());
}

#[test]
fn a_query_in_the_url_is_told() {
    for (url, count) in [("http://b/mcp?key=7", 1), ("http://b/mcp", 0)] {
        let notes = options(&["--url", url]).unwrap().resolve().unwrap().unwrap().notes();
        assert_eq!(notes.len(), count, "{notes:?}");
        assert!(notes.iter().all(|note| !note.contains("key=7")), "{notes:?}");
    }
}

#[test]
fn a_file_is_replaced_as_a_whole() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    super::replacement::replace(&file, "1").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    super::replacement::replace(&link, "2").unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "2");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert!(link.is_symlink());
}
