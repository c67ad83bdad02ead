//! `.gitignore`: the files of Witgate and of clients that do not belong into version control.

use std::io;
use std::path::Path;

use super::client::ClientProgram;
use super::replacement;

/// The files in the directory of the configuration that are secret, or belong to a running process.
const OWN: [&str; 5] = [".env", ".keys.toml.lock", "audit/", "witgate.sock", "witgate.state/"];

/// The key store. Its hashes are of random keys, which nobody can guess, unless weak keys were imported.
const STORE: &str = "keys.toml";

/// The files of a configuration with accounts that are secret, or belong to a running process.
const OF_ACCOUNTS: [&str; 5] = [".env", "accounts.db*", "audit/", "witgate.sock", "witgate.state/"];

/// The lines, with the file of the client if it contains the key, and with the key store if its keys may be weak.
pub(super) fn lines(client: ClientProgram, weak: bool) -> Vec<&'static str> {
    OWN.into_iter().chain(weak.then_some(STORE)).chain(client.file_with_key()).collect()
}

/// Adds the missing lines to the file at `path`, and returns them.
///
/// # Errors
/// With a sentence, if the file cannot be read or written.
pub(super) fn extend(path: &Path, client: ClientProgram, weak: bool) -> Result<Vec<&'static str>, String> {
    extend_by(path, lines(client, weak))
}

/// As [`extend`], with the files of accounts and without those of keys.
pub(super) fn extend_for_accounts(path: &Path) -> Result<Vec<&'static str>, String> {
    extend_by(path, OF_ACCOUNTS.to_vec())
}

fn extend_by(path: &Path, lines: Vec<&'static str>) -> Result<Vec<&'static str>, String> {
    let failed = |error: io::Error| format!("{} cannot be changed: {error}", path.display());
    let present = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.map_err(failed)?,
    };
    let is_present = |line: &str| present.lines().any(|own| own.trim().trim_start_matches('/') == line);
    let missing: Vec<_> = lines.into_iter().filter(|line| !is_present(line)).collect();
    if missing.is_empty() {
        return Ok(missing);
    }
    let joint = if present.is_empty() || present.ends_with('\n') { "" } else { "\n" };
    replacement::replace(path, &format!("{present}{joint}{}\n", missing.join("\n"))).map_err(failed)?;
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_lines_are_added_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".gitignore");
        std::fs::write(&path, "target/\n/.env").unwrap();
        let added = extend(&path, ClientProgram::Cursor, false).unwrap();
        assert_eq!(
            added,
            [".keys.toml.lock", "audit/", "witgate.sock", "witgate.state/", ".cursor/mcp.json"]
        );
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("target/\n/.env\n.keys.toml.lock\n") && text.ends_with("mcp.json\n"),
            "{text}"
        );
        assert!(extend(&path, ClientProgram::Cursor, false).unwrap().is_empty());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        assert_eq!(extend(&path, ClientProgram::Cursor, true).unwrap(), ["keys.toml"]);
        assert!(
            extend(&folder.path().join("no/such"), ClientProgram::Claude, false)
                .unwrap_err()
                .contains("cannot be changed")
        );
    }
}
