//! The integration tests, in one binary.

// A test fails by panicking; JSON that lacks a member reads as null, which no assertion takes for a success.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod accounts;
mod attacks;
mod audit_log;
mod authors;
mod bad_input;
mod caller;
mod clients;
mod confinement;
mod conformance;
mod credentials;
mod definitions;
mod doctor;
mod dpop;
mod embed;
mod endpoints;
mod eras;
mod examples;
mod explain;
mod first_hour;
mod guide;
mod hostile;
mod identity;
mod issuers;
mod keep_alive;
mod kill;
mod language;
mod layers;
mod limits;
mod logins;
mod moving_over;
mod names;
mod network;
mod oauth;
mod pages;
mod plugin_faults;
mod plugin_run;
mod plugin_test;
mod policies;
mod properties;
mod providers;
mod record;
mod reference;
mod scopes;
mod second_factors;
mod secret_sources;
mod secrets;
mod seeds;
mod servers;
mod shutdown;
mod starvation;
mod swap;
mod telemetry;
mod tls;
mod tokens;
mod upstream_faults;
mod users;
mod wrong_plugins;
