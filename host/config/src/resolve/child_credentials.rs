//! The credentials of child processes: APIs that they call through Witgate, and files with tokens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use url::{Host, Url};

use super::credentials::CredentialsByName;
use super::resolver::Resolver;
use crate::credentials::{ApiSettings, ChildCredentials, CredentialSettings, OutboundSource};
use crate::identity::IdentitySettings;
use crate::raw;

/// The directory for token files within a directory of Witgate.
const FOLDER: &str = "witgate-tokens";

impl Resolver<'_> {
    /// The credentials of the processes of the upstream `name`, which get `identity`.
    pub(super) fn child_credentials(
        &mut self,
        name: &str,
        written: &raw::Upstream,
        all: &CredentialsByName,
        identity: &IdentitySettings,
    ) -> ChildCredentials {
        if written.command.is_none() {
            self.have_no_process(name, written);
            return ChildCredentials::default();
        }
        self.variables_apart(name, written, identity);
        let mut apis = BTreeMap::new();
        for (variable, api) in &written.apis {
            let at = ["upstreams", name, "apis", variable];
            let to = self.api_url(&[&at[..], &["to"]].concat(), &api.to);
            let at = [&at[..], &["credential"]].concat();
            let credential = self.credential_named(&at, &api.credential, all);
            let credential = credential.filter(|credential| self.is_for_processes(&at, credential));
            if let (Some(to), Some(credential)) = (to, credential) {
                apis.insert(variable.clone(), ApiSettings { to, credential });
            }
        }
        let mut token_files = BTreeMap::new();
        for (variable, credential) in &written.token_files {
            let at = ["upstreams", name, "token_files", variable];
            let credential = self.credential_named(&at, credential, all);
            let credential = credential.filter(|credential| self.is_for_processes(&at, credential));
            if let Some(credential) = credential.filter(|credential| self.is_one_text(&at, credential)) {
                token_files.insert(variable.clone(), credential);
            }
        }
        ChildCredentials { apis, token_files, folder: self.token_folder() }
    }

    fn have_no_process(&mut self, name: &str, written: &raw::Upstream) {
        for (setting, is_empty) in
            [("apis", written.apis.is_empty()), ("token_files", written.token_files.is_empty())]
        {
            if !is_empty {
                let message =
                    format!("`{setting}` is for child processes, and this upstream has no `command`");
                self.error(&["upstreams", name, setting], message, "leave it out, or use `credential`");
            }
        }
    }

    /// Each variable has one value.
    fn variables_apart(&mut self, name: &str, written: &raw::Upstream, identity: &IdentitySettings) {
        let is_elsewhere = |variable: &String| {
            written.env.contains_key(variable) || identity.env.iter().any(|(_, name)| name == variable)
        };
        let apis = written.apis.keys().map(|variable| ("apis", variable));
        let files = written.token_files.keys().map(|variable| ("token_files", variable));
        for (setting, variable) in apis.chain(files) {
            let at = ["upstreams", name, setting, variable];
            if variable.is_empty() || variable.contains(['=', '\0']) {
                let message = format!("the name of an environment variable has no `=`: `{variable}`");
                self.error(&at, message, "correct the name");
            }
            let is_api = setting == "token_files" && written.apis.contains_key(variable);
            if is_api || is_elsewhere(variable) {
                let message = format!("the environment variable `{variable}` has two values");
                self.error(&at, message, "leave one of them out, or give it another name");
            }
        }
    }

    /// The URL of an API, which gets a credential.
    fn api_url(&mut self, at: &[&str], text: &str) -> Option<Url> {
        let url = self.url_of_secrets(at, text)?;
        let has_more = url.query().is_some() || url.fragment().is_some();
        if has_more || !url.username().is_empty() || url.password().is_some() {
            let message = "the URL of an API is an origin and a path, without user, query and fragment";
            self.error(at, message, "write one such as `https://api.example.com/v1`");
            return None;
        }
        if url.host().is_some_and(|host| is_link_local(&host)) {
            let message = "this address is link-local, where clouds have their metadata";
            self.error(at, message, "write the URL of the API");
            return None;
        }
        Some(url)
    }

    /// A process calls APIs in its own name, for which there is no token of a caller.
    fn is_for_processes(&mut self, at: &[&str], credential: &CredentialSettings) -> bool {
        if matches!(credential.source, OutboundSource::Exchange(_)) {
            let message =
                "this credential is made from the tokens of callers, and a child process has no caller";
            self.error(at, message, "choose a credential of another kind");
            return false;
        }
        self.is_of_all_callers(at, credential)
    }

    fn is_one_text(&mut self, at: &[&str], credential: &CredentialSettings) -> bool {
        let is_pair = matches!(credential.source, OutboundSource::Basic { .. });
        if is_pair {
            let message = "a file has one token or secret, and this credential is a user with a password";
            self.error(at, message, "use `apis`, or write both into `env`");
        }
        !is_pair
    }

    /// The directory for token files: that of systemd for the service, that of the user's session, or that for data which
    /// survives a restart. The first two are in memory.
    fn token_folder(&self) -> PathBuf {
        let of_service =
            self.environment.get("RUNTIME_DIRECTORY").and_then(|folders| folders.split(':').next());
        let of_user = || self.environment.get("XDG_RUNTIME_DIR");
        let in_memory = of_service.or_else(of_user).map(Path::new).filter(|folder| folder.is_absolute());
        in_memory.unwrap_or(&self.state).join(FOLDER)
    }
}

fn is_link_local(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => address.is_link_local(),
        Host::Ipv6(address) => {
            address.is_unicast_link_local()
                || address.to_ipv4_mapped().is_some_and(|mapped| mapped.is_link_local())
        }
        Host::Domain(_) => false,
    }
}
