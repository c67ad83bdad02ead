//! A policy whose hooks do what its settings say, whatever they are asked.

use schemars::JsonSchema;
use serde::Deserialize;
use witgate_plugin::{
    Authenticate, Authorize, Call, ConfigError, Credential, Decision, EntryDecision, Host, Identity, Plugin,
    Principal, Scheme, Unavailability, Verdict, Wants,
};

/// The settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The act of both hooks.
    does: Act,
}

/// The act of a hook.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Names somebody; allows.
    Yes,
    /// Says that it is none of its business.
    Passes,
    /// Refuses; denies.
    No,
    /// Says that it cannot say.
    CannotSay,
    /// Never ends.
    Loops,
    /// Traps.
    Traps,
    /// Takes memory until there is none.
    EatsMemory,
    /// Says what passes the bounds.
    TalksNonsense,
}

/// The plugin.
#[derive(Debug)]
pub struct Scripted(Act);

impl Plugin for Scripted {
    const NAME: &'static str = "scripted";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Does what its settings say, whatever it is asked.";
    type Config = Settings;

    fn configure(_policy: &str, settings: Settings) -> Result<(Self, Wants), ConfigError> {
        Ok((Self(settings.does), Wants { schemes: vec![Scheme::Bearer], ..Wants::default() }))
    }
}

impl Authenticate for Scripted {
    async fn authenticate<H: Host>(&self, _: &H, _: &Call<'_>, _: &Credential<'_>) -> Verdict {
        match self.0 {
            Act::Yes => Verdict::Identity(Identity { subject: "somebody".to_owned(), ..Identity::default() }),
            Act::Passes => Verdict::NotMine,
            Act::No => Verdict::refused("revoked", "on purpose"),
            Act::CannotSay => Verdict::unavailable("on purpose", None),
            Act::TalksNonsense => Verdict::Identity(Identity::default()),
            Act::Loops | Act::Traps | Act::EatsMemory => fail(self.0),
        }
    }
}

impl Authorize for Scripted {
    async fn authorize<H: Host>(&self, _: &H, _: &Call<'_>, _: &Principal<'_>) -> Decision {
        match self.0 {
            Act::Yes => Decision::Allow,
            Act::Passes => Decision::Abstain,
            Act::No => Decision::deny("denied", "on purpose"),
            Act::CannotSay => Decision::Unavailable(Unavailability::new("on purpose", None)),
            Act::TalksNonsense => Decision::deny("This is no reason code\n", "on purpose"),
            Act::Loops | Act::Traps | Act::EatsMemory => fail(self.0),
        }
    }

    async fn authorize_entries<H: Host>(
        &self,
        _: &H,
        _: &Call<'_>,
        targets: &[&str],
        _: &Principal<'_>,
    ) -> Result<Vec<EntryDecision>, Unavailability> {
        match self.0 {
            Act::Yes => Ok(vec![EntryDecision::Allow; targets.len()]),
            Act::Passes => Ok(vec![EntryDecision::Abstain; targets.len()]),
            Act::No => Ok(vec![EntryDecision::Deny; targets.len()]),
            Act::CannotSay => Err(Unavailability::new("on purpose", None)),
            // One decision too many.
            Act::TalksNonsense => Ok(vec![EntryDecision::Allow; targets.len() + 1]),
            Act::Loops | Act::Traps | Act::EatsMemory => fail(self.0),
        }
    }
}

/// Ends without an answer.
#[allow(clippy::panic, reason = "this is what it is for")]
fn fail(act: Act) -> ! {
    match act {
        Act::Loops => {
            let mut turns = 0_u64;
            loop {
                turns = std::hint::black_box(turns.wrapping_add(1));
            }
        }
        Act::EatsMemory => {
            let mut eaten: Vec<Vec<u8>> = Vec::new();
            loop {
                eaten.push(std::hint::black_box(vec![1; 1 << 20]));
            }
        }
        _ => panic!("asked to"),
    }
}

witgate_plugin::export_policy!(Scripted);
