//! The common parts of the hostile guests. Each guest is a file of its own: `examples/*.rs` where the SDK can
//! express it, `wat/*.wat` where it cannot. The test `tests/tests/it/hostile/expectations.rs` holds the expected
//! fate of each, and does not compile while one is missing.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

#[cfg(target_family = "wasm")]
pub mod wasi;

pub use witgate_plugin::{
    Authenticate, Authorize, Call, ConfigError, Credential, Data, Decision, Denial, Description, Host,
    HttpError, HttpRequest, HttpResponse, Identity, Level, Plugin, Principal, Scheme, Verdict, Wants,
};

/// The host, as every guest reaches it.
#[cfg(target_family = "wasm")]
pub const HOST: witgate_plugin::guest::GuestHost = witgate_plugin::guest::GuestHost;

/// A guest made of functions, each harmless until it is replaced.
pub trait Hostile {
    /// Misbehaves in `describe`.
    fn describe() -> Description {
        description("{}")
    }

    /// Misbehaves in `configure`, without reading the settings.
    ///
    /// # Errors
    /// Where it is one that refuses them.
    fn configure() -> Result<Wants, ConfigError> {
        Ok(Wants::default())
    }

    /// The hook of an authorizer.
    fn authorize(_call: &Call<'_>) -> Decision {
        Decision::Allow
    }

    /// The hook of an authenticator.
    fn authenticate(_credential: &Credential<'_>) -> Verdict {
        Verdict::NotMine
    }
}

/// A description as good as any, with this schema of settings.
pub fn description(config_schema: &str) -> Description {
    Description {
        name: "hostile".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        summary: "Hurts in the way that its file's name says.".to_owned(),
        config_schema: config_schema.to_owned(),
    }
}

/// Wants the credential that the tests show.
pub fn wants_key() -> Wants {
    let credential_header = Some("X-API-Key".to_owned());
    Wants { schemes: vec![Scheme::Header], credential_header, ..Wants::default() }
}

/// The result of a call of the host: inside a component it is finished when it returns.
#[allow(clippy::panic, reason = "nothing waits here")]
pub fn done<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the host's calls are finished when they return"),
    }
}

/// A GET request without anything.
pub fn get(url: &str) -> HttpRequest {
    HttpRequest {
        method: witgate_plugin::Method::Get,
        url: url.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        client_auth: witgate_plugin::ClientAuth::None,
        share: false,
    }
}

/// Something that takes time and cannot be left out by a compiler.
pub fn work(turns: u64) -> u64 {
    (0..turns).fold(0, |sum, turn| std::hint::black_box(sum ^ turn))
}

/// Exports a type that is [`Hostile`] as an authorizer.
#[macro_export]
macro_rules! authorizer {
    ($guest:ty) => {
        $crate::plugin_around!($guest);
        impl $crate::Authorize for Shell {
            async fn authorize<H: $crate::Host>(
                &self,
                _host: &H,
                call: &$crate::Call<'_>,
                _principal: &$crate::Principal<'_>,
            ) -> $crate::Decision {
                <$guest as $crate::Hostile>::authorize(call)
            }
        }
        witgate_plugin::export_authorizer!(Shell);
    };
}

/// Exports a type that is [`Hostile`] as an authenticator.
#[macro_export]
macro_rules! authenticator {
    ($guest:ty) => {
        $crate::plugin_around!($guest);
        impl $crate::Authenticate for Shell {
            async fn authenticate<H: $crate::Host>(
                &self,
                _host: &H,
                _call: &$crate::Call<'_>,
                credential: &$crate::Credential<'_>,
            ) -> $crate::Verdict {
                <$guest as $crate::Hostile>::authenticate(credential)
            }
        }
        witgate_plugin::export_authenticator!(Shell);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! plugin_around {
    ($guest:ty) => {
        struct Shell;
        impl $crate::Plugin for Shell {
            const NAME: &'static str = "hostile";
            const VERSION: &'static str = "0";
            const SUMMARY: &'static str = "";
            type Config = ();

            fn configure(_policy: &str, (): ()) -> Result<(Self, $crate::Wants), $crate::ConfigError> {
                <$guest as $crate::Hostile>::configure().map(|wants| (Self, wants))
            }

            fn describe() -> $crate::Description {
                <$guest as $crate::Hostile>::describe()
            }

            // Whatever the settings are: reading them would only make the component larger.
            fn configure_json(
                policy: &str,
                _config: &str,
            ) -> Result<(Self, $crate::Wants), $crate::ConfigError> {
                Self::configure(policy, ())
            }
        }
    };
}
