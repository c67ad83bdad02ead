//! The place that a command asks about: one upstream, or an endpoint with several.

use std::borrow::Cow;
use std::sync::Arc;

use witgate_cases::CaseCall;
use witgate_endpoints::NamePlan;
use witgate_flow::request::Route;
use witgate_plugin::TargetKind;

use super::scene::ExplanationScene;
use crate::cli::outcome::CommandFailure;

/// An upstream, or an endpoint with its names.
pub(in crate::cli) struct AskedPlace {
    /// The places of the upstreams: at the endpoint, and in the configuration.
    upstreams: Vec<(usize, usize)>,
    /// The names at the endpoint. None: it is one upstream, and names are its own.
    plan: Option<NamePlan>,
    endpoint: String,
}

impl AskedPlace {
    /// The upstreams, by their places in the configuration, each with its place here.
    pub(in crate::cli) fn upstreams(&self) -> impl Iterator<Item = (usize, usize)> {
        self.upstreams.iter().copied()
    }

    /// The place of the first upstream. All of them accept the same credentials.
    pub(in crate::cli) fn first(&self) -> Result<usize, CommandFailure> {
        let first = self.upstreams.first().map(|(_, upstream)| *upstream);
        first.ok_or_else(|| CommandFailure::new(format!("the endpoint `{}` has no upstream", self.endpoint)))
    }

    /// True if there are several upstreams.
    pub(in crate::cli) fn is_endpoint(&self) -> bool {
        self.plan.is_some()
    }

    /// The name here of what the upstream at `place` calls `name`. None: it is not offered here.
    pub(in crate::cli) fn shown<'n>(
        &self,
        place: usize,
        kind: TargetKind,
        name: &'n str,
    ) -> Option<Cow<'n, str>> {
        match &self.plan {
            Some(plan) => plan.shown(place, kind, name),
            None => Some(name.into()),
        }
    }

    /// The upstream that a call here goes to, by its place in the configuration, and the call there.
    pub(in crate::cli) fn call(&self, call: CaseCall) -> Result<(usize, CaseCall), CommandFailure> {
        let Some(plan) = &self.plan else { return Ok((self.first()?, call)) };
        let found = plan.target(call.kind, &call.target).and_then(|(place, name)| {
            let (_, upstream) = self.upstreams().find(|(at, _)| *at == place)?;
            Some((upstream, name.to_owned()))
        });
        match found {
            Some((upstream, target)) => Ok((upstream, CaseCall { target, ..call })),
            None => Err(CommandFailure::new(no_name(&self.endpoint, &call))),
        }
    }
}

fn no_name(endpoint: &str, call: &CaseCall) -> String {
    let help = match call.kind {
        TargetKind::Method => "name one of its upstreams in its place",
        TargetKind::Resource => "`owns` of an upstream has no pattern for it",
        TargetKind::Tool | TargetKind::Prompt => {
            "names begin with that of their upstream, as in `notes__search`, unless `owns` has them"
        }
    };
    format!("at the endpoint `{endpoint}`, `{}` belongs to no upstream: {help}", call.target)
}

impl ExplanationScene {
    /// The upstream or the endpoint of this name, or the only upstream. From now on, a question is asked there, so that
    /// tokens need the audience of the endpoint.
    pub(in crate::cli) fn enter(&mut self, name: Option<&str>) -> Result<AskedPlace, CommandFailure> {
        let is_upstream = |name: &str| self.view().place(name).is_some();
        let named = name.filter(|name| !is_upstream(name));
        let endpoint = named.and_then(|name| self.config.endpoints.iter().find(|known| known.name == name));
        let Some(endpoint) = endpoint.cloned() else {
            let upstreams = vec![(0, self.upstream(name)?)];
            return Ok(AskedPlace { upstreams, plan: None, endpoint: String::new() });
        };
        let places = endpoint.upstreams.iter().enumerate();
        let places = places.filter_map(|(place, member)| Some((place, self.view().place(&member.name)?)));
        let upstreams: Vec<_> = places.collect();
        for (_, upstream) in &upstreams {
            if let Some(route) = self.routes.get_mut(*upstream) {
                let resource = endpoint.resource.as_str().into();
                *route = Arc::new(Route { resource, ..Route::clone(route) });
            }
        }
        Ok(AskedPlace { upstreams, plan: Some(NamePlan::new(&endpoint)), endpoint: endpoint.name })
    }
}
