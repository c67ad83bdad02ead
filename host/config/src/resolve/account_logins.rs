//! `[accounts.login]`.

use std::collections::{BTreeMap, BTreeSet};

use url::Url;
use witgate_plugin::issuer::is_issuer;

use super::credentials::CredentialsByName;
use super::resolver::Resolver;
use crate::account_logins::{PersonRule, ProviderForm, ProviderSettings, provider_callback_path};
use crate::credentials::{GrantSettings, OutboundSource, TokenSettings};
use crate::raw::{self, AccountLogin, CredentialTable, ProviderPreset};

/// The name under which the database knows the subjects of GitHub.
const GITHUB: &str = "https://github.com";

/// The longest name of a table.
const LONGEST_NAME: usize = 32;

impl Resolver<'_> {
    /// The providers at which people log in, whose answers lead to the pages at `origin`.
    pub(super) fn account_logins(
        &mut self,
        file: &raw::File,
        origin: &str,
        credentials: &CredentialsByName,
    ) -> Vec<ProviderSettings> {
        let written = file.accounts.iter().flat_map(|accounts| &accounts.login);
        let resolve = |(name, login): (&String, &AccountLogin)| {
            self.account_login(file, (name.as_str(), login), origin, credentials)
        };
        written.filter_map(resolve).collect()
    }

    fn account_login(
        &mut self,
        file: &raw::File,
        (name, written): (&str, &AccountLogin),
        origin: &str,
        credentials: &CredentialsByName,
    ) -> Option<ProviderSettings> {
        self.is_part_of_path(name)?;
        let at = ["accounts", "login", name, "credential"];
        let credential = self.credential_named(&at, &written.credential, credentials)?;
        let table = file.credentials.get(&written.credential)?;
        let (OutboundSource::Grant(client), Some(preset)) = (&credential.source, table.preset) else {
            let message = format!("the credential `{}` is not of the kind `oauth`", written.credential);
            self.error(&at, message, "name one with Witgate's client at the provider");
            return None;
        };
        let issuer = self.identity_issuer(&at, &written.credential, table)?;
        let allow = match &written.allow {
            Some(rules) => Some(self.person_rules(&["accounts", "login", name, "allow"], rules, preset)?),
            None => None,
        };
        let mut roles = BTreeMap::new();
        for (role, rules) in &written.roles {
            let at = ["accounts", "login", name, "roles", role];
            roles.insert(role.clone(), self.person_rules(&at, rules, preset)?);
        }
        let rules: BTreeSet<_> = allow.iter().flatten().chain(roles.values().flatten()).collect();
        let matches_email = written.match_email.unwrap_or(false);
        self.is_not_open(name, written, allow.as_deref(), preset)?;
        if matches_email && preset == ProviderPreset::Entra {
            self.tells_no_address(&["accounts", "login", name, "match_email"]);
            return None;
        }
        let form = form(preset, client, &rules, matches_email)?;
        Some(ProviderSettings {
            name: name.to_owned(),
            label: written.label.clone().unwrap_or_else(|| name.to_owned()),
            client: of_logins(client, &form, &issuer, table),
            redirect_uri: Url::parse(&format!("{origin}{}", provider_callback_path(name))).ok()?,
            form,
            issuer,
            allow,
            makes_accounts: written.new_accounts.unwrap_or(false),
            matches_email,
            roles,
        })
    }

    fn is_part_of_path(&mut self, name: &str) -> Option<()> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(is_plain) {
            return Some(());
        }
        let message = format!("`{name}` cannot be a part of the path of a page");
        let help = format!("use at most {LONGEST_NAME} small letters, digits and hyphens");
        self.error(&["accounts", "login", name], message, help);
        None
    }

    /// The issuer of the subjects of a provider. It is compared byte by byte.
    fn identity_issuer(&mut self, at: &[&str], name: &str, table: &CredentialTable) -> Option<String> {
        if let Some(issuer) = identity_issuer(table) {
            return Some(issuer);
        }
        match table.preset {
            Some(ProviderPreset::Entra) => {
                let message = "ID tokens name the id of their tenant, not its domain";
                let help = "write the id: a UUID, of one tenant";
                self.error(&["credentials", name, "tenant"], message, help);
            }
            _ => {
                let message = "nothing says who issues the ID tokens of this provider";
                let help =
                    format!("add `issuer` to `[credentials.{name}]`, as the provider's metadata has it");
                self.error(at, message, help);
            }
        }
        None
    }

    /// The rules in a list. A rule that the provider cannot answer would fit nobody.
    fn person_rules(
        &mut self,
        at: &[&str],
        written: &[String],
        preset: ProviderPreset,
    ) -> Option<Vec<PersonRule>> {
        if written.is_empty() {
            self.error(at, "this list is empty, so it fits nobody", "leave it out, or write a rule");
            return None;
        }
        let mut rules = Vec::new();
        for (index, text) in written.iter().enumerate() {
            let index = index.to_string();
            let at = [at, &[index.as_str()]].concat();
            let Some(rule) = PersonRule::parse(text) else {
                let help = "write `*`, `subject:ID`, `email:ADDRESS`, `domain:NAME`, `group:NAME`, `org:NAME` or \
                            `login:NAME`";
                self.error(&at, format!("`{text}` is no rule for people"), help);
                continue;
            };
            let is_github = preset == ProviderPreset::Github;
            match &rule {
                PersonRule::Organization(_) | PersonRule::Login(_) if !is_github => {
                    self.error(&at, "only GitHub knows this", "write `group:NAME` or `subject:ID`");
                }
                PersonRule::Group(_) if is_github => {
                    self.error(&at, "GitHub has no groups of this kind", "write `org:NAME`");
                }
                PersonRule::Email(_) | PersonRule::Domain(_) if preset == ProviderPreset::Entra => {
                    self.tells_no_address(&at);
                }
                _ => rules.push(rule),
            }
        }
        (rules.len() == written.len()).then_some(rules)
    }

    /// Anybody can write any address into an account of their own tenant.
    fn tells_no_address(&mut self, at: &[&str]) {
        let message = "Entra does not say whether an e-mail address is verified";
        self.error(at, message, "write `group:ID` or `subject:ID`");
    }

    /// Accounts for everybody in the world are rarely meant.
    fn is_not_open(
        &mut self,
        name: &str,
        written: &AccountLogin,
        allow: Option<&[PersonRule]>,
        preset: ProviderPreset,
    ) -> Option<()> {
        if written.new_accounts != Some(true) {
            return Some(());
        }
        let at = ["accounts", "login", name, "new_accounts"];
        let Some(allow) = allow else {
            let message = "new accounts need a rule that says who gets one";
            self.error(&at, message, "add `allow`, such as `[\"domain:example.com\"]`");
            return None;
        };
        let is_public = matches!(preset, ProviderPreset::Github | ProviderPreset::Google);
        if is_public && allow.contains(&PersonRule::Everybody) {
            let message = "everybody who has an account at this provider gets one here";
            self.warning(&at, message, "write a narrower `allow`");
        }
        Some(())
    }
}

/// The issuer of the subjects at the provider of a credential. None: it is not known.
pub(super) fn identity_issuer(table: &CredentialTable) -> Option<String> {
    match table.preset? {
        ProviderPreset::Github => Some(GITHUB.to_owned()),
        ProviderPreset::Google => Some("https://accounts.google.com".to_owned()),
        ProviderPreset::Entra => {
            let tenant = table.tenant.as_deref().filter(|tenant| is_uuid(tenant))?;
            Some(format!("https://login.microsoftonline.com/{}/v2.0", tenant.to_ascii_lowercase()))
        }
        ProviderPreset::Custom => table.issuer.clone().filter(|issuer| is_issuer(issuer)),
    }
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

fn form(
    preset: ProviderPreset,
    client: &GrantSettings,
    rules: &BTreeSet<&PersonRule>,
    matches_email: bool,
) -> Option<ProviderForm> {
    if preset != ProviderPreset::Github {
        let has_hosted_domain = preset == ProviderPreset::Google;
        return Some(ProviderForm::OpenId { userinfo: client.account_url.clone(), has_hosted_domain });
    }
    let organization = |rule: &&PersonRule| match rule {
        PersonRule::Organization(name) => Some(name.clone()),
        _ => None,
    };
    let is_about_email = |rule: &&PersonRule| matches!(rule, PersonRule::Email(_) | PersonRule::Domain(_));
    Some(ProviderForm::Github {
        user: client.account_url.clone()?,
        organizations: rules.iter().filter_map(organization).collect(),
        needs_email: matches_email || rules.iter().any(is_about_email),
    })
}

/// The client for logins: it asks for no more than who somebody is.
fn of_logins(
    client: &GrantSettings,
    form: &ProviderForm,
    issuer: &str,
    table: &CredentialTable,
) -> GrantSettings {
    let (scopes, issuer): (Vec<&str>, _) = match form {
        ProviderForm::OpenId { .. } => (vec!["openid", "email", "profile"], Some(issuer.to_owned())),
        ProviderForm::Github { organizations, needs_email, .. } => {
            let more = [(!organizations.is_empty(), "read:org"), (*needs_email, "user:email")];
            let more = more.into_iter().filter(|(is_needed, _)| *is_needed).map(|(_, scope)| scope);
            (["read:user"].into_iter().chain(more).collect(), None)
        }
    };
    let scopes = scopes.into_iter().map(str::to_owned).collect();
    GrantSettings {
        token: TokenSettings { scopes, resource: None, audience: None, ..client.token.clone() },
        issuer,
        params: table.params.clone(),
        connect: None,
        ..client.clone()
    }
}
