//! The access that policies give: who is known, what they may call, and how two sets of policies differ in that. The
//! policies are built for explanations alone, so asking them changes nothing, and the functions that decide are those of
//! `witgate serve`.

pub(crate) mod argument_classes;
pub(crate) mod comparison;
pub(crate) mod condition_values;
pub(crate) mod difference;
pub(crate) mod known_principals;
pub(crate) mod question;
pub(crate) mod rule_targets;
pub(crate) mod scene;
pub(crate) mod written_rules;

#[cfg(test)]
mod tests;
