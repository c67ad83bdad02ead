//! The policies that decide about the calls of one upstream.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderName;
use witgate_plugin::{Pattern, Scheme, TargetKind};

use super::Recipe;
use crate::{Policy, PolicyError};
use witgate_base::cause::Cause;
use witgate_base::fingerprints::Fingerprints;
use witgate_config::pins::{PinMode, Pins};
use witgate_config::token_issue::TokenIssue;
use witgate_config::{self as config, Mode};

/// The policies that decide about the calls of one upstream, all built from one recipe.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// A text of the settings of the upstream that stay the same as long as it is served. An upstream of the same name
    /// with other settings is another one, with a pipeline at another place.
    pub made_from: Arc<str>,
    /// The time since which the upstream is no longer served. Its pipeline denies new calls, and its place stays taken, so
    /// that no call is ever judged by the pipeline of another upstream. None: it is served.
    pub retired_at: Option<Instant>,
    /// The enforced authenticators, in order.
    pub authenticate: Vec<Arc<Policy>>,
    /// The enforced authorizers. Each of them has to allow a call.
    pub authorize: Vec<Arc<Policy>>,
    /// The shadow authenticators, whose verdicts are only recorded.
    pub shadow_authenticate: Vec<Arc<Policy>>,
    /// The shadow authorizers, whose verdicts are only recorded.
    pub shadow_authorize: Vec<Arc<Policy>>,
    /// The roles of callers without a credential. None: such callers are refused.
    pub anonymous: Option<Vec<String>>,
    /// The tools that such callers see in lists if a credential can be in their arguments.
    pub shown_to_anonymous: Vec<Pattern>,
    /// OAuth scopes that a first login should ask for.
    pub scopes: Vec<String>,
    /// The tokens that callers can ask for.
    pub token_issue: Option<Arc<TokenIssue>>,
    /// The comparison of the upstream's definitions with the approved ones. None: there is none.
    pub pins: Option<Pins>,
    /// True if no credential is required, and credentials are ignored.
    pub unchecked: bool,
    /// The recipe for rebuilding the pipeline with current data.
    pub recipe: Arc<Recipe>,
    /// The pipeline that replaces this one as soon as all its policies can be built. Until then, both have to allow a
    /// call.
    pub next: Option<Box<NextPipeline>>,
    /// The reason why the pipeline denies every call. None: the policies decide.
    pub closed: Option<ClosedPipeline>,
}

/// A pipeline that is held back. It can only restrict the live one.
#[derive(Clone, Debug)]
pub struct NextPipeline {
    /// The part of it that could be built. A policy that cannot be built is replaced by the live one of its name, if
    /// there is one.
    pub pipeline: Pipeline,
    /// True if it has all its authorizers. If not, a missing one might have been the one that allows.
    pub has_all_authorizers: bool,
}

/// The reason why a pipeline denies every call.
#[derive(Clone, Debug)]
pub struct ClosedPipeline {
    /// The broken policy, or the upstream.
    pub name: Arc<str>,
    /// A sentence for the operator.
    pub reason: String,
}

/// A pipeline built from the available policies.
pub struct PipelineAssembly {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// Policies that are listed under a hook that they do not have.
    pub misfits: Vec<PolicyError>,
    /// True if it has every enforced policy.
    pub is_whole: bool,
    /// True if it has every enforced authorizer.
    pub has_all_authorizers: bool,
}

impl Pipeline {
    /// True if an enforced authenticator judges credentials of this scheme.
    pub fn judges(&self, scheme: Scheme) -> bool {
        self.authenticate.iter().any(|policy| policy.judges(scheme))
    }

    /// The realm of user names and passwords, if an enforced authenticator judges them.
    pub fn realm(&self) -> Option<&str> {
        self.authenticate.iter().find_map(|policy| policy.realm())
    }

    /// True if a shadow authenticator judges credentials of this scheme.
    pub fn watches(&self, scheme: Scheme) -> bool {
        self.shadow_authenticate.iter().any(|policy| policy.judges(scheme))
    }

    /// True if an authenticator that is not a shadow judges credentials of this scheme in this header, in this pipeline
    /// or in the one that is held back.
    pub fn enforces(&self, scheme: Scheme, header: Option<&HeaderName>) -> bool {
        let is_there = |policy: &Policy| {
            scheme != Scheme::Header || header.is_none_or(|name| policy.credential_headers().contains(name))
        };
        let next = self.next.iter().flat_map(|next| &next.pipeline.authenticate);
        self.authenticate.iter().chain(next).any(|policy| policy.judges(scheme) && is_there(policy))
    }

    /// The number of authenticators that are not shadows, in this pipeline and in the one that is held back.
    pub fn enforcing_authenticators(&self) -> usize {
        let next = self.next.iter().map(|next| next.pipeline.authenticate.len()).sum::<usize>();
        self.authenticate.len() + next
    }

    /// True if one of its policies is being recorded.
    pub fn is_recorded(&self) -> bool {
        self.policies().any(|policy| policy.is_recorded())
    }

    /// Headers that contain credentials, besides `Authorization`, as its authenticators have declared them.
    pub fn credential_headers(&self) -> impl Iterator<Item = &HeaderName> + Clone {
        let next = self.next.iter().flat_map(|next| next.pipeline.own_authenticators());
        self.own_authenticators().chain(next).flat_map(|policy| policy.credential_headers())
    }

    /// The headers of each authenticator that is not a shadow, in this pipeline and in the one that is held back.
    pub fn header_groups(&self) -> impl Iterator<Item = &[HeaderName]> {
        let next = self.next.iter().flat_map(|next| &next.pipeline.authenticate);
        self.authenticate.iter().chain(next).map(|policy| policy.credential_headers())
    }

    /// The arguments of tools that its authenticators have declared as credentials, with the policy of each.
    pub fn credential_arguments(&self) -> impl Iterator<Item = (&Policy, &config::ArgumentSettings)> {
        let next = self.next.iter().flat_map(|next| next.pipeline.own_authenticators());
        let all = self.own_authenticators().chain(next);
        all.filter_map(|policy| Some((&**policy, policy.credential_argument()?)))
    }

    /// The arguments that the server gets with a call of `tool`, as name and value, in place of what callers send.
    pub fn injected_arguments(&self, tool: &str) -> Vec<(&str, &str)> {
        let declared = self.own_authenticators().filter_map(|policy| policy.credential_argument());
        let mut values: Vec<(&str, &str)> = Vec::new();
        for argument in declared.filter(|argument| argument.is_of(tool)) {
            let Some(value) = &argument.inject else { continue };
            if !values.iter().any(|(name, _)| *name == &*argument.name) {
                values.push((&argument.name, value.expose()));
            }
        }
        values
    }

    /// True if callers without a credential see the tool in lists, because an enforced authenticator judges an argument of
    /// its calls.
    pub fn lists_for_credential(&self, tool: &str) -> bool {
        self.shown_to_anonymous.iter().any(|pattern| pattern.matches(TargetKind::Tool, tool))
            && self
                .authenticate
                .iter()
                .any(|policy| policy.credential_argument().is_some_and(|argument| argument.is_of(tool)))
    }

    fn own_authenticators(&self) -> impl Iterator<Item = &Arc<Policy>> + Clone {
        self.authenticate.iter().chain(&self.shadow_authenticate)
    }

    /// True if the pipeline is live as configured, with nothing held back or broken.
    pub fn is_whole(&self) -> bool {
        self.is_retired()
            || self.next.is_none()
                && self.closed.is_none()
                && !self.policies().any(|policy| policy.is_broken())
    }

    /// True if it is known to decide as `other` does, because it has the same policies, as in a pipeline that is held
    /// back.
    pub fn judges_as(&self, other: &Self) -> bool {
        let same = |mine: &[Arc<Policy>], theirs: &[Arc<Policy>]| {
            mine.len() == theirs.len()
                && mine.iter().zip(theirs).all(|(mine, theirs)| Arc::ptr_eq(mine, theirs))
        };
        let is_pending = |pipeline: &Self| pipeline.next.is_some() || pipeline.closed.is_some();
        same(&self.authenticate, &other.authenticate)
            && same(&self.authorize, &other.authorize)
            && self.anonymous == other.anonymous
            && self.shown_to_anonymous == other.shown_to_anonymous
            && self.unchecked == other.unchecked
            && self.holds_as(other)
            && !is_pending(self)
            && !is_pending(other)
    }

    fn holds_as(&self, other: &Self) -> bool {
        let held = |pipeline: &Self| {
            pipeline.pins().filter(|pins| pins.mode == PinMode::Hold).map(|pins| *pins.approved.digest())
        };
        held(self) == held(other)
    }

    /// All its policies, including those of the pipeline that is held back.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        let next = self.next.iter().flat_map(|next| next.pipeline.own_policies());
        self.own_policies().chain(next)
    }

    /// Its own policies.
    pub(crate) fn own_policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        let enforced = self.authenticate.iter().chain(&self.authorize);
        enforced.chain(&self.shadow_authenticate).chain(&self.shadow_authorize)
    }

    /// The comparison of definitions, in this pipeline or in the one that is held back: the stricter one. Both have the
    /// same approved definitions, unless the file of one of them is damaged.
    pub fn pins(&self) -> Option<&Pins> {
        let next = self.next.as_ref().and_then(|next| next.pipeline.pins.as_ref());
        match (&self.pins, next) {
            (Some(own), Some(next)) if next.mode > own.mode => Some(next),
            (Some(own), _) => Some(own),
            (None, next) => next,
        }
    }

    /// The same; without a usable file of approved definitions, with those of `running`, which may not be the current
    /// ones.
    pub fn keeping_pins(mut self, running: &Self) -> Self {
        if let (Some(own), Some(former)) = (&mut self.pins, running.pins())
            && own.is_damaged
        {
            own.approved = Arc::clone(&former.approved);
        }
        self
    }

    /// True if entries are neither listed nor callable unless their definitions are approved.
    pub fn holds_definitions(&self) -> bool {
        self.pins().is_some_and(|pins| pins.mode == PinMode::Hold)
    }

    /// The policy of this name, if the live pipeline has it.
    pub fn own_policy(&self, name: &str) -> Option<&Arc<Policy>> {
        self.own_policies().find(|policy| &**policy.name() == name)
    }

    /// The pipeline of an upstream that is no longer served.
    pub fn retired(&self) -> Self {
        let reason = "the upstream is not served any more".to_owned();
        let made_from = Arc::clone(&self.made_from);
        let retired_at = self.retired_at.or_else(|| Some(Instant::now()));
        Self { made_from, retired_at, ..Self::closed(&self.upstream, &self.upstream, reason) }
    }

    /// True if the upstream is no longer served.
    pub fn is_retired(&self) -> bool {
        self.retired_at.is_some()
    }

    /// True if the pipeline serves the upstream as `config` describes it.
    pub fn serves(&self, upstream: &config::Upstream, config: &config::Config) -> bool {
        !self.is_retired()
            && *self.upstream == *upstream.name
            && *self.made_from == *made_from(upstream, &config.server)
    }

    /// A pipeline that denies every call.
    pub fn closed(upstream: &str, name: &str, reason: String) -> Self {
        let closed = Some(ClosedPipeline { name: name.into(), reason });
        Self { upstream: upstream.into(), closed, ..Self::default() }
    }
}

/// Composes the pipeline of `upstream` from the policies that `find` returns. Shadow policies may be missing, because
/// they decide nothing.
pub fn assemble(
    upstream: &config::Upstream,
    config: &config::Config,
    recipe: &Arc<Recipe>,
    find: impl Fn(&str) -> Option<Arc<Policy>>,
) -> PipelineAssembly {
    let written = &upstream.pipeline;
    let authenticators =
        HookMembers::of(&written.authenticate, config, &find, Policy::authenticates, "authenticate");
    let authorizers = HookMembers::of(&written.authorize, config, &find, Policy::authorizes, "authorize");
    let has_all_authorizers = authorizers.has_all;
    let is_whole = authenticators.has_all && has_all_authorizers;
    let misfits = authenticators.misfits.into_iter().chain(authorizers.misfits).collect();
    let pipeline = Pipeline {
        upstream: upstream.name.as_str().into(),
        made_from: made_from(upstream, &config.server).into(),
        retired_at: None,
        authenticate: authenticators.enforced,
        authorize: authorizers.enforced,
        shadow_authenticate: authenticators.shadows,
        shadow_authorize: authorizers.shadows,
        anonymous: written.anonymous.clone(),
        shown_to_anonymous: written.shown_to_anonymous.clone(),
        scopes: upstream.scopes.clone(),
        token_issue: upstream.token_issue.clone(),
        pins: upstream.pins.clone(),
        unchecked: config.auth_disabled,
        recipe: Arc::clone(recipe),
        next: None,
        closed: None,
    };
    PipelineAssembly { pipeline, misfits, is_whole, has_all_authorizers }
}

/// A text of the settings with which an upstream is served as long as it is.
pub fn made_from(upstream: &config::Upstream, server: &config::Server) -> String {
    let config::Server { extensions, advertise_auth, audit_overflow, .. } = server;
    format!("{} {extensions:?} {advertise_auth} {audit_overflow:?}", upstream.place())
}

/// The members of a pipeline under one hook.
struct HookMembers {
    enforced: Vec<Arc<Policy>>,
    shadows: Vec<Arc<Policy>>,
    misfits: Vec<PolicyError>,
    has_all: bool,
}

impl HookMembers {
    fn of(
        names: &[String],
        config: &config::Config,
        find: impl Fn(&str) -> Option<Arc<Policy>>,
        fits: fn(&Policy) -> bool,
        hook: &str,
    ) -> Self {
        let mut members =
            Self { enforced: Vec::new(), shadows: Vec::new(), misfits: Vec::new(), has_all: true };
        for name in names {
            match find(name) {
                Some(policy) if !fits(&policy) => {
                    members.misfits.push(misfit(&policy, hook));
                    members.has_all &= policy.mode() == Mode::Shadow;
                }
                Some(policy) if policy.mode() == Mode::Shadow => members.shadows.push(policy),
                Some(policy) => members.enforced.push(policy),
                None => members.has_all &= is_shadow(config, name),
            }
        }
        members
    }
}

fn is_shadow(config: &config::Config, name: &str) -> bool {
    config.policies.get(name).is_some_and(|policy| policy.mode == Mode::Shadow)
}

fn misfit(policy: &Policy, hook: &str) -> PolicyError {
    PolicyError {
        policy: policy.name().to_string(),
        message: format!(
            "the pipeline lists it under `{hook}`, but it has no such hook; remove it there{}",
            match policy.authenticates() {
                true => ": it is an authenticator, which belongs under `authenticate`",
                false => ": it is an authorizer, which belongs under `authorize`",
            }
        ),
        cause: Cause::Content,
        files: Fingerprints::default(),
    }
}
