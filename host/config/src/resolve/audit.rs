//! `[audit]`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use witgate_audit::note::{CheckpointKeyError, CheckpointSigner};
use witgate_audit::{KEY_FILE, SegmentRules, SyncMode};

use super::resolver::Resolver;
use crate::raw;
use crate::secret_text::in_file;
use crate::{Audit, AuditKey, AuditOverflow, RecordLines};
use witgate_base::cause::Cause;
use witgate_base::printable;

/// Some hours of a busy server, and little enough to read at once.
const DEFAULT_ROTATE_SIZE_MIB: u64 = 64;

/// A segment for each day.
const DEFAULT_ROTATE_AGE_H: u64 = 24;

const NEW_KEY: &str =
    "make one by `openssl genpkey -algorithm ed25519 -out FILE`, or leave `key` out: Witgate makes one";

const HOUR_S: u64 = 3600;

/// The number of pointers to arguments in one setting: each adds at most a KiB to an entry.
const MOST_POINTERS: usize = 16;

/// The maximum length of a pointer in bytes.
const LONGEST_POINTER: usize = 256;

impl Resolver<'_> {
    pub(super) fn audit(&mut self, file: &raw::File) -> Option<Audit> {
        let written = file.audit.as_ref()?;
        let directory = self.audit_directory(written);
        let key = self.audit_key(written, directory.as_deref());
        let directory = directory?;
        let checkpoint_to = self.checkpoint_places(&directory, file);
        self.audit_is_needed(file);
        self.argument_pointers("arguments_clear", &written.arguments_clear);
        self.argument_pointers("arguments_masked", &written.arguments_masked);
        self.audit_node(written.node.as_deref());
        Some(Audit {
            directory,
            key: key?,
            sync: match written.sync {
                None | Some(raw::AuditSync::Batched) => SyncMode::Batched,
                Some(raw::AuditSync::BeforeAnswer) => SyncMode::BeforeAnswer,
            },
            unavailable: match written.unavailable {
                None | Some(raw::AuditUnavailable::Deny) => AuditOverflow::Deny,
                Some(raw::AuditUnavailable::Count) => AuditOverflow::Count,
            },
            lines: match written.lines {
                None | Some(raw::AuditLines::All) => RecordLines::All,
                Some(raw::AuditLines::Refusals) => RecordLines::Refusals,
                Some(raw::AuditLines::None) => RecordLines::None,
            },
            rules: rules(written),
            checkpoint_to,
            node: written.node.clone(),
            arguments_clear: written.arguments_clear.clone(),
            arguments_masked: written.arguments_masked.clone(),
        })
    }

    /// Checks that each text is a JSON pointer (RFC 6901) to something within the arguments.
    fn argument_pointers(&mut self, setting: &str, pointers: &[String]) {
        if pointers.len() > MOST_POINTERS {
            let message = format!("`audit.{setting}` has more than {MOST_POINTERS} pointers");
            self.error(&["audit", setting], message, "choose those that an investigation needs");
        }
        for (index, pointer) in pointers.iter().enumerate() {
            if !is_pointer(pointer) {
                let message = format!("`{}` is not a JSON pointer to an argument", printable::clean(pointer));
                let help = "write `/NAME`, or `/NAME/NAME` for a member of a member";
                self.error(&["audit", setting, &index.to_string()], message, help);
            }
        }
    }

    fn audit_node(&mut self, node: Option<&str>) {
        let is_name =
            |node: &str| (1..=128).contains(&node.len()) && node.bytes().all(|byte| byte.is_ascii_graphic());
        if node.is_some_and(|node| !is_name(node)) {
            let message = "the name of the node has to consist of 1 to 128 visible ASCII characters";
            self.error(&["audit", "node"], message, "write a name such as `gateway-1`");
        }
    }

    fn audit_directory(&mut self, written: &raw::Audit) -> Option<PathBuf> {
        let Some(directory) = &written.directory else {
            if !self.document.has(&["audit", "directory"]) {
                let help = "write `directory = \"PATH\"`; the directory is made if it does not exist";
                self.error(&["audit"], "nothing says where the audit log is", help);
            }
            return None;
        };
        let path = self.path(directory);
        if path.exists() && !path.is_dir() {
            let message = format!("`{}` is not a directory", path.display());
            self.error(&["audit", "directory"], message, "name a directory for the audit log alone");
            return None;
        }
        let owner = witgate_audit::owner(&path);
        if let Some(owner) = owner.filter(|owner| Path::new(owner) != self.path) {
            let message =
                format!("another process writes the audit in `{}`: that of {owner}", path.display());
            let help = "give each Witgate a directory of its own";
            self.error(&["audit", "directory"], message, help);
        }
        Some(path)
    }

    fn audit_key(&mut self, written: &raw::Audit, directory: Option<&Path>) -> Option<AuditKey> {
        let origin = written.origin.as_deref();
        if let Some(source) = &written.key {
            let pem = self.private_key(&["audit", "key"], source)?;
            return self.audit_signer(&pem, origin).map(|signer| AuditKey::Signer(Arc::new(signer)));
        }
        if self.document.has(&["audit", "key"]) {
            return None;
        }
        let path = directory?.join(KEY_FILE);
        match std::fs::read_to_string(&path) {
            Ok(pem) => {
                self.is_private(&["audit", "directory"], &path);
                self.audit_signer(&pem.into(), origin)?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // An origin that is not one is found without a key.
                let pem = CheckpointSigner::new_pem().ok()?;
                self.audit_signer(&pem.into(), origin)?;
            }
            // The directory may be one that only the service can read.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
            Err(error) => {
                let message = format!("`{}` cannot be read: {error}", path.display());
                let help = "check that the user who starts Witgate may read it";
                self.error_of(Cause::of(&error), &["audit", "directory"], message, help);
                return None;
            }
        }
        Some(AuditKey::InDirectory { origin: written.origin.clone() })
    }

    fn audit_signer(&mut self, pem: &SecretString, origin: Option<&str>) -> Option<CheckpointSigner> {
        match CheckpointSigner::from_pem(in_file(pem.expose_secret()), origin) {
            Ok(signer) => Some(signer),
            Err(error @ CheckpointKeyError::Origin) => {
                let help = "write a name such as `example.com/witgate`";
                self.error(&["audit", "origin"], error.to_string(), help);
                None
            }
            Err(error) => {
                let setting = if self.document.has(&["audit", "key"]) { "key" } else { "directory" };
                self.error(&["audit", setting], format!("the key of the audit: {error}"), NEW_KEY);
                None
            }
        }
    }

    /// Over stdio each client starts a Witgate of its own, and only the first one could use the directory.
    fn audit_is_needed(&mut self, file: &raw::File) {
        if matches!(file.server.transport, Some(raw::Transport::Stdio)) {
            let message =
                "over stdio, each client starts a process of its own, and only one can use the directory";
            self.warning(&["audit", "directory"], message, "serve over `http`, or start one client only");
        }
    }
}

/// True for a JSON pointer (RFC 6901) other than that to the whole.
fn is_pointer(text: &str) -> bool {
    let is_escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    text.starts_with('/') && text.len() <= LONGEST_POINTER && is_escaped
}

fn rules(written: &raw::Audit) -> SegmentRules {
    let hours = written.rotate_age_h.unwrap_or(DEFAULT_ROTATE_AGE_H);
    SegmentRules {
        size: written.rotate_size_mib.unwrap_or(DEFAULT_ROTATE_SIZE_MIB).saturating_mul(1 << 20),
        age: Duration::from_secs(hours.saturating_mul(HOUR_S)),
        keep: written.keep_days.map(|days| Duration::from_secs(days.saturating_mul(24 * HOUR_S))),
        compress: written.compress.unwrap_or(true),
    }
}
