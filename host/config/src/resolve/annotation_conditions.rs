//! Conditions on the annotations of tools, which count only where Witgate holds back definitions that are not approved.

use std::collections::BTreeMap;

use serde_json::Value;

use super::resolver::Resolver;
use crate::pins::PinMode;
use crate::{Policy, PolicyKind, Upstream};

impl Resolver<'_> {
    /// Refuses conditions on annotations in policies that decide for an upstream whose definitions are not held. What a
    /// server says of its own tools would decide there.
    pub(super) fn annotations_are_approved(
        &mut self,
        upstreams: &[Upstream],
        policies: &BTreeMap<String, Policy>,
    ) {
        let is_held =
            |upstream: &&Upstream| upstream.pins.as_ref().is_some_and(|pins| pins.mode == PinMode::Hold);
        for upstream in upstreams.iter().filter(|upstream| !is_held(upstream)) {
            for policy in upstream.pipeline.authorize.iter().filter_map(|name| policies.get(name)) {
                for (place, annotation) in conditions(policy) {
                    let place = place.iter().map(String::as_str);
                    let at: Vec<_> = ["policies", &policy.name, "config"].into_iter().chain(place).collect();
                    self.refuse_annotation(&at, annotation, upstream);
                }
            }
        }
    }

    fn refuse_annotation(&mut self, at: &[&str], annotation: &str, upstream: &Upstream) {
        let name = &upstream.name;
        let now = match &upstream.pins {
            Some(pins) => format!("has `pins = \"{}\"`", pins.mode.name()),
            None => "has no `pins`".to_owned(),
        };
        let message = format!(
            "a condition on `{annotation}` needs approved definitions, and the upstream `{name}`, for which the policy \
             decides, {now}"
        );
        let help = format!(
            "write `pins = \"hold\"` under `[upstreams.{name}]`, and approve its tools with `witgate upstream approve \
             {name} --live`; or give it a pipeline without this policy"
        );
        self.error(at, message, help);
    }
}

/// The conditions of a policy on annotations, by the places of their settings, with the name of the annotation.
fn conditions(policy: &Policy) -> Vec<(Vec<String>, &str)> {
    if policy.kind != PolicyKind::Rbac {
        return Vec::new();
    }
    let roles = policy.config.get("roles").and_then(Value::as_object).into_iter().flatten();
    let of_roles = roles.flat_map(|(name, role)| in_list(&["roles", name], role));
    in_list(&[], &policy.config).into_iter().chain(of_roles).collect()
}

/// The conditions on annotations in the settings `holder`, which are at `place`.
fn in_list<'c>(place: &[&str], holder: &'c Value) -> Vec<(Vec<String>, &'c str)> {
    let all = holder.get("conditions").and_then(Value::as_array).into_iter().flatten().enumerate();
    let found = all.filter_map(|(index, condition)| {
        let annotation = condition.get("annotation")?.as_str()?;
        let index = index.to_string();
        let steps = place.iter().copied().chain(["conditions", &index, "annotation"]);
        Some((steps.map(str::to_owned).collect(), annotation))
    });
    found.collect()
}
