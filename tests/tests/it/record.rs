//! `witgate plugin record`: what a running gateway decides becomes cases that pass when they are run against the same policy,
//! show what another one would decide otherwise, and hold no credential and no secret.

mod bounds;
mod changes;
mod kinds;
mod redaction;
mod testbed;
