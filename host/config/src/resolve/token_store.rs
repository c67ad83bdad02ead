//! The file in which the tokens of a person are in clear, for users of other programs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::credentials::CredentialsByName;
use super::resolver::Resolver;
use crate::credentials::OutboundSource;
use crate::raw::{CredentialTable, GrantOwner, TokenStore};

/// The file that programs from the same template use.
const USUAL: &str = "~/.mcp-tokens/tokens.json";

impl Resolver<'_> {
    /// The file for the tokens of the credential `name`. None: it is invalid. Within: they are in the directory for data.
    pub(super) fn file_of_tokens(&mut self, name: &str, table: &CredentialTable) -> Option<Option<PathBuf>> {
        let at = ["credentials", name, "token_file"];
        if table.store != Some(TokenStore::File) {
            if table.token_file.is_some() {
                let message = "`token_file` has no effect without `store = \"file\"`";
                self.error(&at, message, "add it, or leave `token_file` out");
            }
            return Some(None);
        }
        if table.per == Some(GrantOwner::Principal) {
            let message = "a file in clear has the tokens of one person, and each caller has an account of their own here";
            let help = "leave `store` out, or set `per = \"shared\"`";
            self.error(&["credentials", name, "store"], message, help);
            return None;
        }
        let written = table.token_file.as_deref().unwrap_or(USUAL);
        let path = match written.strip_prefix("~/") {
            None => self.path(written),
            Some(rest) => match self.environment.get("HOME") {
                Some(home) => Path::new(home).join(rest),
                None => {
                    let message = "`~` cannot be resolved: the environment variable `HOME` is not set";
                    self.error(&at, message, "write a full path");
                    return None;
                }
            },
        };
        Some(Some(path))
    }

    /// A file has the tokens of one login.
    pub(super) fn token_files_apart(&mut self, all: &CredentialsByName) {
        let mut first: BTreeMap<&Path, &str> = BTreeMap::new();
        for (name, credential) in all {
            let OutboundSource::Grant(grant) = &credential.source else { continue };
            let Some(file) = &grant.file else { continue };
            if let Some(other) = first.insert(file, name) {
                let message =
                    format!("the credentials `{other}` and `{name}` have the same file for their tokens");
                let help = "write another `token_file` for one of them";
                self.error(&["credentials", name], message, help);
            }
        }
    }
}
