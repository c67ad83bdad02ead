//! The built-ins: the shipped checks, linked natively.

use serde_json::Value;
use witgate_api_key::ApiKey;
use witgate_basic::Basic;
use witgate_client_certificate::CertificatePolicy;
use witgate_jwt::Jwt;
use witgate_oauth2_introspection::Introspection;
use witgate_plugin::{
    Authenticate as _, Authorize as _, Call, ConfigError, Credential, Decision, Description, EntryDecision,
    Plugin, Principal, Unavailability, Verdict, Wants,
};
use witgate_rbac::Rbac;

use witgate_component::output::check_wants;
use witgate_config::PolicyKind;
use witgate_services::PolicyHost;

/// A shipped check with its settings.
pub(super) enum Builtin {
    ApiKey(ApiKey),
    Basic(Basic),
    Jwt(Jwt),
    Introspection(Introspection),
    ClientCertificate(CertificatePolicy),
    Rbac(Rbac),
}

impl std::fmt::Debug for Builtin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ApiKey(_) => "ApiKey",
            Self::Basic(_) => "Basic",
            Self::Jwt(_) => "Jwt",
            Self::Introspection(_) => "Introspection",
            Self::ClientCertificate(_) => "ClientCertificate",
            Self::Rbac(_) => "Rbac",
        })
    }
}

impl Builtin {
    /// The description of a kind's built-in. None: the kind has none.
    pub(super) fn describe(kind: PolicyKind) -> Option<Description> {
        match kind {
            PolicyKind::ApiKey => Some(ApiKey::describe()),
            PolicyKind::Basic => Some(Basic::describe()),
            PolicyKind::Jwt => Some(Jwt::describe()),
            PolicyKind::Introspection => Some(Introspection::describe()),
            PolicyKind::ClientCertificate => Some(CertificatePolicy::describe()),
            PolicyKind::Rbac => Some(Rbac::describe()),
            PolicyKind::Custom => None,
        }
    }

    pub(super) fn configure(
        kind: PolicyKind,
        policy: &str,
        config: &Value,
    ) -> Result<(Self, Wants), ConfigError> {
        fn configured<P: Plugin>(
            policy: &str,
            config: &Value,
            of: fn(P) -> Builtin,
        ) -> Result<(Builtin, Wants), ConfigError> {
            let (plugin, wants) = P::configure_json(policy, &config.to_string())?;
            check_wants(&wants).map_err(|why| ConfigError::at("", why))?;
            Ok((of(plugin), wants))
        }
        match kind {
            PolicyKind::ApiKey => configured(policy, config, Self::ApiKey),
            PolicyKind::Basic => configured(policy, config, Self::Basic),
            PolicyKind::Jwt => configured(policy, config, Self::Jwt),
            PolicyKind::Introspection => configured(policy, config, Self::Introspection),
            PolicyKind::ClientCertificate => configured(policy, config, Self::ClientCertificate),
            PolicyKind::Rbac => configured(policy, config, Self::Rbac),
            PolicyKind::Custom => Err(ConfigError::at("", "a custom policy has no built-in")),
        }
    }

    pub(super) fn authenticates(&self) -> bool {
        !matches!(self, Self::Rbac(_))
    }

    /// True if a verdict takes no longer than to find it in the memory of verdicts: one digest and one lookup.
    pub(super) fn is_quick(&self) -> bool {
        matches!(self, Self::ApiKey(_))
    }

    pub(super) fn authorizes(&self) -> bool {
        matches!(self, Self::Rbac(_) | Self::ApiKey(_) | Self::Basic(_))
    }

    /// A check without this hook recognises no credential.
    pub(super) async fn authenticate(
        &self,
        host: &PolicyHost<'_>,
        call: &Call<'_>,
        credential: &Credential<'_>,
    ) -> Verdict {
        match self {
            Self::ApiKey(check) => check.authenticate(host, call, credential).await,
            Self::Basic(check) => check.authenticate(host, call, credential).await,
            Self::Jwt(check) => check.authenticate(host, call, credential).await,
            Self::Introspection(check) => check.authenticate(host, call, credential).await,
            Self::ClientCertificate(check) => check.authenticate(host, call, credential).await,
            Self::Rbac(_) => Verdict::NotMine,
        }
    }

    /// A check without this hook allows nothing.
    pub(super) async fn authorize(
        &self,
        host: &PolicyHost<'_>,
        call: &Call<'_>,
        principal: &Principal<'_>,
    ) -> Decision {
        match self {
            Self::ApiKey(check) => check.authorize(host, call, principal).await,
            Self::Basic(check) => check.authorize(host, call, principal).await,
            Self::Rbac(check) => check.authorize(host, call, principal).await,
            Self::Jwt(_) | Self::Introspection(_) | Self::ClientCertificate(_) => Decision::Abstain,
        }
    }

    /// As [`Builtin::authorize`], for entries of a list.
    pub(super) async fn authorize_entries(
        &self,
        host: &PolicyHost<'_>,
        call: &Call<'_>,
        targets: &[&str],
        principal: &Principal<'_>,
    ) -> Result<Vec<EntryDecision>, Unavailability> {
        match self {
            Self::ApiKey(check) => check.authorize_entries(host, call, targets, principal).await,
            Self::Basic(check) => check.authorize_entries(host, call, targets, principal).await,
            Self::Rbac(check) => check.authorize_entries(host, call, targets, principal).await,
            Self::Jwt(_) | Self::Introspection(_) | Self::ClientCertificate(_) => {
                Ok(vec![EntryDecision::Abstain; targets.len()])
            }
        }
    }
}
