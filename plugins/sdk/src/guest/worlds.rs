//! The exports, for any plugin that fits.
//!
//! The bindings are generated once, for the world with all hooks. A component with fewer hooks
//! exports only their functions, and contains the type of its own world
//! (`worlds/*.component-type`, written by `cargo xtask wit` and compared with `wit/` by the tests).

#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::all,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "generated"
)]

wit_bindgen::generate!({
    path: "wit",
    world: "list-policy",
    pub_export_macro: true,
    default_bindings_module: "witgate_plugin::guest::worlds",
    with: {
        "witgate:auth/types@0.1.0": crate::guest::imports::witgate::auth::types,
        "witgate:auth/request@0.1.0": crate::guest::imports::witgate::auth::request,
        "witgate:auth/caller@0.1.0": crate::guest::imports::witgate::auth::caller,
        "witgate:auth/clock@0.1.0": crate::guest::imports::witgate::auth::clock,
        "witgate:auth/log@0.1.0": crate::guest::imports::witgate::auth::log,
        "witgate:auth/verdict-memory@0.1.0": crate::guest::imports::witgate::auth::verdict_memory,
        "witgate:auth/crypto@0.1.0": crate::guest::imports::witgate::auth::crypto,
        "witgate:auth/secrets@0.1.0": crate::guest::imports::witgate::auth::secrets,
        "witgate:auth/cache@0.1.0": crate::guest::imports::witgate::auth::cache,
        "witgate:auth/http@0.1.0": crate::guest::imports::witgate::auth::http,
    },
});

use super::{Component, GuestHost, InstanceSlot, convert, finish, instance, panics};
use exports::witgate::auth::{authentication, authorization, list_authorization, plugin};

impl<P: InstanceSlot> plugin::Guest for Component<P> {
    fn describe() -> plugin::Description {
        panics::log_all();
        let crate::Description { name, version, summary, config_schema } = P::describe();
        plugin::Description { name, version, summary, config_schema }
    }

    fn configure(policy: String, config: String) -> Result<plugin::Wants, plugin::ConfigError> {
        panics::log_all();
        let (configured, wants) = P::configure_json(&policy, &config)
            .map_err(|e| plugin::ConfigError { pointer: e.pointer, message: e.message })?;
        // After a second `configure`, the first settings stay in use.
        let _ = P::slot().set(configured);
        let mut data = plugin::Data::empty();
        data.set(plugin::Data::ARGUMENTS, wants.data.arguments);
        data.set(plugin::Data::META, wants.data.meta);
        data.set(plugin::Data::PEER, wants.data.peer);
        data.set(plugin::Data::CLAIMS, wants.data.claims);
        Ok(plugin::Wants {
            schemes: wants.schemes.into_iter().map(convert::scheme_out).collect(),
            credential_header: wants.credential_header,
            headers: wants.headers,
            data,
        })
    }
}

impl<P: InstanceSlot + crate::Authenticate> authentication::Guest for Component<P> {
    fn authenticate(
        call: authentication::Call,
        credential: authentication::Credential,
    ) -> authentication::Verdict {
        let verdict = finish(instance::<P>().authenticate(
            &GuestHost,
            &convert::call(&call),
            &convert::credential(&credential),
        ));
        convert::verdict(verdict)
    }
}

impl<P: InstanceSlot + crate::Authorize> authorization::Guest for Component<P> {
    fn authorize(call: authorization::Call, principal: authorization::Principal) -> authorization::Decision {
        let decision = finish(instance::<P>().authorize(
            &GuestHost,
            &convert::call(&call),
            &convert::principal(&principal),
        ));
        convert::decision(decision)
    }
}

impl<P: InstanceSlot + crate::Authorize> list_authorization::Guest for Component<P> {
    fn authorize_entries(
        call: list_authorization::Call,
        targets: Vec<String>,
        principal: list_authorization::Principal,
    ) -> Result<Vec<list_authorization::EntryDecision>, list_authorization::Unavailability> {
        let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
        let decisions = finish(instance::<P>().authorize_entries(
            &GuestHost,
            &convert::call(&call),
            &targets,
            &convert::principal(&principal),
        ));
        decisions
            .map(|decisions| decisions.into_iter().map(convert::entry_decision).collect())
            .map_err(convert::unavailability)
    }
}
