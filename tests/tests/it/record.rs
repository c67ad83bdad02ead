//! `witgate plugin record`: the decisions of a running gateway become cases. The cases pass against the same policy,
//! show the other decisions of another policy, and contain no credential and no secret.

mod bounds;
mod changes;
mod kinds;
mod redaction;
mod testbed;
