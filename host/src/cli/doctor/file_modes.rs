//! The modes of the files and directories that the configuration names. Whoever may write to one of them decides about
//! calls, and whoever may read a secret may use it.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::finding::CheckFinding;
use super::installation::Installation;
use witgate_config::TlsKey;
use witgate_config::credentials::OutboundSource;

/// The bits of a mode for writing by others, and by the group.
const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;

/// The bits for reading, writing and executing by the group and by others, and by others alone.
const ANY: u32 = 0o077;
const OTHERS: u32 = 0o007;

/// The bit of a directory in which only owners remove their files.
const STICKY: u32 = 0o1000;

/// The content of a file or directory, which determines who may read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileContent {
    /// Rules, which others may read and nobody else may change.
    Rules,
    /// A component, its signature, or cases; or an encrypted store.
    Code,
    /// Hashes of keys and passwords.
    Hashes,
    /// A secret in clear.
    Secret,
    /// A directory or a database that only Witgate uses.
    Private,
    /// The control socket.
    Socket,
}

impl FileContent {
    fn name(self) -> &'static str {
        match self {
            Self::Rules => "the configuration",
            Self::Code => "a plugin or a store",
            Self::Hashes => "a store of hashes",
            Self::Secret => "a secret",
            Self::Private => "Witgate's own data",
            Self::Socket => "the control socket",
        }
    }
}

/// A file that the configuration names.
struct NamedFile {
    content: FileContent,
    path: PathBuf,
    /// The setting that names it.
    setting: Vec<String>,
}

pub(super) fn examine(installation: &Installation) -> Vec<CheckFinding> {
    let files = named_files(installation);
    let mut findings: Vec<_> = files.iter().filter_map(|file| fault(installation, file)).collect();
    findings.extend(directories(&files).filter_map(|folder| open_directory(&folder)));
    if findings.is_empty() {
        let there = files.iter().filter(|file| file.path.exists()).count();
        findings.push(CheckFinding::pass(format!("{there} files and directories are closed to others")));
    }
    findings
}

/// The fault of a file's mode. A missing file is the matter of other checks.
fn fault(installation: &Installation, file: &NamedFile) -> Option<CheckFinding> {
    let metadata = file.path.metadata().ok()?;
    let (shown, what) = (file.path.display(), file.content.name());
    let mode = metadata.mode() & 0o777;
    let setting: Vec<_> = file.setting.iter().map(String::as_str).collect();
    let place = installation.place(&setting);
    if file.content != FileContent::Socket && is_writable(&metadata) {
        let sentence = format!("others may write to {shown} ({what}, mode {mode:03o})");
        let closed = if file.content == FileContent::Rules { "go-w" } else { "go-rwx" };
        return Some(
            CheckFinding::fail(sentence)
                .because("whoever writes there decides which calls are allowed")
                .fix(format!("`chmod {closed} {shown}`"))
                .at(place),
        );
    }
    let is_open = mode & ANY != 0;
    let finding = match file.content {
        FileContent::Secret if mode & OTHERS != 0 => {
            CheckFinding::fail(format!("others may read {shown} ({what}, mode {mode:03o})"))
                .because("whoever reads the secret can use it")
        }
        FileContent::Secret if is_open => {
            CheckFinding::warn(format!("the group may read {shown} ({what}, mode {mode:03o})"))
                .because("each member of the group can use the secret")
        }
        FileContent::Socket if is_open => {
            CheckFinding::fail(format!("others may use {shown} ({what}, mode {mode:03o})"))
                .because("whoever connects can change what Witgate does")
        }
        FileContent::Hashes if is_open => {
            CheckFinding::warn(format!("others may read {shown} ({what}, mode {mode:03o})"))
                .because("they learn the names and rights of all callers, and can guess weak passwords")
        }
        FileContent::Private if mode & 0o044 != 0 => {
            CheckFinding::warn(format!("others may read {shown} ({what}, mode {mode:03o})"))
                .because("they learn who calls what")
        }
        _ => return foreign(&metadata, file),
    };
    Some(finding.fix(format!("`chmod go-rwx {shown}`")).at(place))
}

/// True if somebody else may write to the file. The own group of a user has no other members where files are made with
/// its mode.
fn is_writable(metadata: &Metadata) -> bool {
    let is_foreign_group = metadata.gid() != rustix::process::getegid().as_raw();
    metadata.mode() & OTHERS_WRITE != 0 || metadata.mode() & GROUP_WRITES != 0 && is_foreign_group
}

/// Data of another user means that this command runs as somebody else than `serve`.
fn foreign(metadata: &Metadata, file: &NamedFile) -> Option<CheckFinding> {
    let own = rustix::process::geteuid().as_raw();
    let is_foreign = file.content == FileContent::Private && metadata.uid() != own;
    is_foreign.then(|| {
        let shown = file.path.display();
        CheckFinding::warn(format!(
            "{shown} belongs to the user {}, and `doctor` runs as {own}",
            metadata.uid()
        ))
        .because("what this user may read and write says little about the user who runs `witgate serve`")
        .fix(format!("run `witgate doctor` as the owner of {shown}, or give it to the user who runs Witgate"))
    })
}

/// The directories of files whose replacement would matter.
fn directories(files: &[NamedFile]) -> impl Iterator<Item = PathBuf> {
    let folders = files.iter().filter_map(|file| file.path.parent());
    let folders = folders.map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    folders.map(Path::to_owned).collect::<std::collections::BTreeSet<_>>().into_iter()
}

/// A directory in which others may replace files.
fn open_directory(folder: &Path) -> Option<CheckFinding> {
    let mode = folder.metadata().ok()?.mode();
    let is_open = mode & 0o002 != 0 && mode & STICKY == 0;
    is_open.then(|| {
        let shown = folder.display();
        CheckFinding::fail(format!("everybody may replace files in {shown} (mode {:03o})", mode & 0o777))
            .because("a file that nobody may write to can still be renamed away and replaced there")
            .fix(format!("`chmod o-w {shown}`"))
    })
}

fn named_files(installation: &Installation) -> Vec<NamedFile> {
    let config = &installation.config;
    let mut files = Vec::new();
    let mut add = |content, path: &Path, setting: &[&str]| {
        let setting = setting.iter().map(|&step| step.to_owned()).collect();
        files.push(NamedFile { content, path: path.to_owned(), setting });
    };
    if let Some(path) = &config.path {
        add(FileContent::Rules, path, &[]);
    }
    for (name, policy) in &config.policies {
        policy.written().iter().for_each(|file| add(FileContent::Code, file, &["policies", name]));
        for setting in ["store", "users"] {
            if let Some(file) = policy.config.get(setting).and_then(serde_json::Value::as_str) {
                let at = ["policies", name, "config", setting];
                add(FileContent::Hashes, &installation.path(file), &at);
            }
        }
    }
    if let Some(TlsKey::File(key)) = config.server.tls.as_ref().map(|tls| &tls.key) {
        add(FileContent::Secret, key, &["server", "tls", "key"]);
    }
    if let Some(state) = &config.server.state {
        add(FileContent::Private, state, &["server", "state"]);
    }
    if let Some(audit) = &config.audit {
        add(FileContent::Private, &audit.directory, &["audit", "directory"]);
        add(FileContent::Secret, &audit.directory.join(witgate_audit::KEY_FILE), &["audit", "directory"]);
    }
    if let Some(accounts) = &config.accounts {
        add(FileContent::Private, &accounts.place.store, &["accounts", "store"]);
        add(FileContent::Secret, &accounts.place.sealing_key(), &["accounts"]);
    }
    for (name, credential) in &config.credentials {
        if let OutboundSource::Grant(grant) = &credential.source
            && let Some(file) = &grant.file
        {
            add(FileContent::Secret, file, &["credentials", name, "token_file"]);
        }
    }
    if let Some(store) = config.secrets.store() {
        // The store is encrypted.
        add(FileContent::Code, store.path(), &["secrets", "store"]);
        store
            .files()
            .skip(1)
            .for_each(|identity| add(FileContent::Secret, identity, &["secrets", "identity"]));
    }
    if let Some(control) = &config.server.control {
        add(FileContent::Socket, &control.path, &["server", "control"]);
    }
    files.extend(secret_files(installation));
    // The same file may be named several times.
    let by_path: BTreeMap<_, _> = files.into_iter().map(|file| (file.path.clone(), file)).collect();
    by_path.into_values().collect()
}

/// The files of secrets, `{ file = "PATH" }` anywhere in the configuration, and the file of variables.
fn secret_files(installation: &Installation) -> Vec<NamedFile> {
    let Ok(table) = installation.config.text.parse::<Table>() else { return Vec::new() };
    let mut found = Vec::new();
    search(&Value::Table(table), &mut Vec::new(), &mut found);
    let named = |(setting, file): (Vec<String>, String)| NamedFile {
        content: FileContent::Secret,
        path: installation.path(&file),
        setting,
    };
    found.into_iter().map(named).collect()
}

/// Collects the settings with the file of a secret, with their paths.
fn search(value: &Value, at: &mut Vec<String>, found: &mut Vec<(Vec<String>, String)>) {
    let mut deeper = |step: String, value: &Value| {
        at.push(step);
        if let Value::String(file) = value
            && names_secret_file(at)
        {
            found.push((at.clone(), file.clone()));
        }
        search(value, at, found);
        at.pop();
    };
    match value {
        Value::Table(table) => table.iter().for_each(|(name, value)| deeper(name.clone(), value)),
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(place, value)| deeper(place.to_string(), value));
        }
        _ => {}
    }
}

/// True for `server.env_file`, and for `file` in a source of a secret. Elsewhere `file` names no secret.
fn names_secret_file(at: &[String]) -> bool {
    let steps: Vec<_> = at.iter().map(String::as_str).collect();
    match steps.as_slice() {
        ["server", "env_file"] => true,
        // Places of checkpoints, and public keys.
        ["audit", "checkpoint_to", ..] => false,
        [.., "file"] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::finding::FindingLevel;
    use super::super::installation::tests::{OPEN, installed_with};
    use super::*;
    use witgate_config::environment::Environment;

    fn installation() -> (tempfile::TempDir, Installation) {
        let text = format!(
            "[upstreams.a]\nurl = 'http://127.0.0.1:1/mcp'\nheaders = {{ X-Key = {{ file = 'secret' }} }}\n{OPEN}"
        );
        let (folder, installation) = installed_with(&text, &[("secret", "x")], Environment::default());
        mode(folder.path(), "witgate.toml", 0o644);
        mode(folder.path(), "secret", 0o600);
        (folder, installation)
    }

    fn mode(folder: &Path, name: &str, mode: u32) {
        std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn files_that_are_closed_pass() {
        let (_folder, installation) = installation();
        let findings = examine(&installation);
        assert_eq!(findings.iter().map(|finding| finding.level).collect::<Vec<_>>(), [FindingLevel::Pass]);
    }

    #[test]
    fn a_secret_that_others_may_read_fails_at_its_setting() {
        let (folder, installation) = installation();
        mode(folder.path(), "secret", 0o640);
        assert_eq!(examine(&installation)[0].level, FindingLevel::Warn);
        mode(folder.path(), "secret", 0o644);
        let findings = examine(&installation);
        assert!(findings[0].message.contains("others may read"), "{findings:?}");
        assert_eq!((findings[0].level, findings[0].place.as_ref().unwrap().line), (FindingLevel::Fail, 3));
    }

    #[test]
    fn a_configuration_that_others_may_write_fails() {
        let (folder, installation) = installation();
        mode(folder.path(), "witgate.toml", 0o666);
        assert!(examine(&installation)[0].message.contains("others may write"));
    }

    #[test]
    fn a_directory_that_is_open_to_all_fails() {
        let (folder, installation) = installation();
        mode(folder.path(), "", 0o777);
        assert!(examine(&installation)[0].message.contains("everybody may replace files"));
        mode(folder.path(), "", 0o1777);
        assert_eq!(examine(&installation)[0].level, FindingLevel::Pass);
    }
}
