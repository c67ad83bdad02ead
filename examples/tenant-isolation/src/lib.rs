//! Callers can reach only their own tenant: a claim of the caller has to equal the tenant that the call names, in an argument or
//! in the URI of a resource.
//!
//! A call without a rule is denied: nobody may call a new tool until a rule says where it names its tenant.

mod place;

use schemars::JsonSchema;
use serde::Deserialize;
use witgate_plugin::{
    Authorize, Call, Claims, ConfigError, Data, Decision, Denial, Host, Pattern, Plugin, Principal,
    TargetKind, Wants,
};

use place::Template;

/// The settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The claim with the caller's tenant; dots lead into nested objects.
    #[serde(default = "tenant")]
    claim: String,
    /// Tools and prompts that name the tenant in an argument.
    #[serde(default)]
    arguments: Vec<ArgumentRule>,
    /// Resources, as URIs in which `{tenant}` stands for the tenant and `*` at the end for the rest.
    #[serde(default)]
    resources: Vec<String>,
    /// Patterns of targets that belong to no tenant.
    #[serde(default)]
    shared: Vec<String>,
}

/// A rule for calls that name the tenant in an argument.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ArgumentRule {
    /// Patterns of the calls.
    #[schemars(length(min = 1))]
    calls: Vec<String>,
    /// JSON Pointer to the argument.
    argument: String,
}

fn tenant() -> String {
    "tenant".to_owned()
}

/// The plugin.
#[derive(Debug)]
pub struct TenantIsolation {
    claim: String,
    arguments: Vec<(Vec<Pattern>, String)>,
    resources: Vec<Template>,
    shared: Vec<Pattern>,
}

impl Plugin for TenantIsolation {
    const NAME: &'static str = "tenant-isolation";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Lets callers reach what belongs to their own tenant.";
    type Config = Settings;

    fn configure(_policy: &str, settings: Settings) -> Result<(Self, Wants), ConfigError> {
        let argument = |(index, rule): (usize, ArgumentRule)| {
            let place = format!("/arguments/{index}");
            match rule.argument.starts_with('/') {
                true => Ok((patterns(&format!("{place}/calls"), &rule.calls)?, rule.argument)),
                false => {
                    let message = "write a JSON Pointer, which begins with `/`: `/tenant`";
                    Err(ConfigError::at(format!("{place}/argument"), message))
                }
            }
        };
        let template = |(index, text): (usize, &String)| {
            Template::new(text).map_err(|why| ConfigError::at(format!("/resources/{index}"), why))
        };
        let arguments = settings.arguments.into_iter().enumerate().map(argument).collect::<Result<_, _>>()?;
        let resources = settings.resources.iter().enumerate().map(template).collect::<Result<_, _>>()?;
        let shared = patterns("/shared", &settings.shared)?;
        let data = Data { arguments: true, claims: true, ..Data::default() };
        Ok((Self { claim: settings.claim, arguments, resources, shared }, Wants { data, ..Wants::default() }))
    }
}

fn patterns(place: &str, texts: &[String]) -> Result<Vec<Pattern>, ConfigError> {
    let pattern = |(index, text): (usize, &String)| {
        text.parse::<Pattern>()
            .map_err(|error| ConfigError::at(format!("{place}/{index}"), error.to_string()))
    };
    texts.iter().enumerate().map(pattern).collect()
}

impl Authorize for TenantIsolation {
    async fn authorize<H: Host>(&self, host: &H, call: &Call<'_>, _principal: &Principal<'_>) -> Decision {
        match self.judge(host, call) {
            Ok(()) => Decision::Allow,
            Err(denial) => Decision::Deny(denial),
        }
    }
}

impl TenantIsolation {
    fn judge<H: Host>(&self, host: &H, call: &Call<'_>) -> Result<(), Denial> {
        if self.shared.iter().any(|pattern| pattern.matches(call.kind, call.target)) {
            return Ok(());
        }
        let tenant = self.tenant_of_caller(host)?;
        match call.kind {
            TargetKind::Resource => self.judge_resource(call, &tenant),
            TargetKind::Tool | TargetKind::Prompt | TargetKind::Method => {
                self.judge_arguments(host, call, &tenant)
            }
        }
    }

    fn tenant_of_caller<H: Host>(&self, host: &H) -> Result<String, Denial> {
        let text = host.claims().unwrap_or_else(|| "{}".into());
        let claims = Claims::parse(&text).map_err(|_| denial("no-tenant", "the claims cannot be read"))?;
        let tenant = claims
            .name(&self.claim)
            .map_err(|_| denial("no-tenant", "the claim with the tenant is not a name"))?;
        let tenant =
            tenant.ok_or_else(|| denial("no-tenant", "the caller has no claim with their tenant"))?;
        match place::is_name(tenant) {
            true => Ok(tenant.to_owned()),
            false => Err(denial(
                "no-tenant",
                "the tenant's name has characters other than letters, digits, `-`, `_` and `.`",
            )),
        }
    }

    /// Checks every rule that covers the call.
    fn judge_arguments<H: Host>(&self, host: &H, call: &Call<'_>, tenant: &str) -> Result<(), Denial> {
        let about = |calls: &[Pattern]| calls.iter().any(|pattern| pattern.matches(call.kind, call.target));
        let mut places =
            self.arguments.iter().filter(|(calls, _)| about(calls)).map(|(_, place)| place).peekable();
        if places.peek().is_none() {
            return Err(no_rule());
        }
        // A request for a list has no arguments: an entry is shown if some arguments would be allowed.
        if call.listing {
            return Ok(());
        }
        let text = host.arguments().unwrap_or_else(|| "{}".into());
        let odd = |_| denial("argument-type", "the arguments cannot be read");
        let arguments = witgate_plugin::json::parse(&text).map_err(odd)?;
        places.try_for_each(|place| match arguments.pointer(place) {
            None => Err(denial("argument-missing", format!("the argument `{place}` is missing"))),
            Some(found) => match found.as_str() {
                Some(found) if found == tenant => Ok(()),
                Some(_) => Err(other_tenant()),
                None => Err(denial("argument-type", format!("the argument `{place}` is not a text"))),
            },
        })
    }

    fn judge_resource(&self, call: &Call<'_>, tenant: &str) -> Result<(), Denial> {
        place::plain(call.target).map_err(|why| denial("uri-form", why))?;
        let mut named =
            self.resources.iter().filter_map(|template| template.tenant_in(call.target)).peekable();
        if named.peek().is_none() {
            return Err(no_rule());
        }
        // A template of resources is listed with a variable in the tenant's place.
        let is_own = |found: &str| found == tenant || (call.listing && place::is_variable(found));
        match named.all(is_own) {
            true => Ok(()),
            false => Err(other_tenant()),
        }
    }
}

fn no_rule() -> Denial {
    denial("no-rule", "no rule covers the call; write one that says where it names its tenant")
}

fn other_tenant() -> Denial {
    denial("other-tenant", "the call names another tenant than the caller's")
}

fn denial(reason: &str, detail: impl Into<String>) -> Denial {
    Denial { reason: reason.to_owned(), detail: Some(detail.into()), ..Denial::default() }
}

witgate_plugin::export_authorizer!(TenantIsolation);
