//! The expected end of each guest. A guest without an expectation does not compile.

use witgate_tests::hostile::Guest;

/// One guest.
pub(super) struct Case {
    pub(super) hook: Hook,
    /// The settings of its policy beside the component. `{server}` is where it may go.
    pub(super) settings: &'static str,
    pub(super) expected: Expected,
}

/// The hook of a guest.
pub(super) enum Hook {
    Authorize,
    Authenticate,
}

/// The expected end of a guest.
pub(super) enum Expected {
    /// The guest does not become a policy, for one of these reasons.
    Refused(&'static [&'static str]),
    /// The guest does not become a policy, and its time limit has passed first.
    RefusedLate(&'static [&'static str]),
    /// The guest is not even compiled, because that would take too long or too much memory.
    NotCompiled,
    /// The guest becomes a policy after a while.
    TakesOver,
    /// The guest becomes a policy, and calls end in these ways, one after the other. The calls are of these tools, or
    /// with these credentials.
    Called(&'static [(&'static str, End)]),
}

/// The end of a call.
pub(super) enum End {
    /// The call goes on to the upstream.
    Passes,
    /// The call is denied, because the policy failed in this way.
    Fails(&'static str),
    /// The call is denied, because the policy failed in one of these ways.
    FailsAnyhow(&'static [&'static str]),
    /// The call is denied with the reason that the policy gives.
    Denies(&'static str),
    /// The credential is refused for this reason.
    Refuses(&'static str),
}

use End::{Denies, Fails, FailsAnyhow, Passes, Refuses};

/// One call of an existing tool.
macro_rules! once {
    ($end:expr) => {
        Expected::Called(&[("echo", $end)])
    };
}

fn authorizer(expected: Expected) -> Case {
    Case { hook: Hook::Authorize, settings: "", expected }
}

fn with(settings: &'static str, expected: Expected) -> Case {
    Case { settings, ..authorizer(expected) }
}

fn authenticator(expected: Expected) -> Case {
    Case { hook: Hook::Authenticate, ..authorizer(expected) }
}

const NO_WORLD: &[&str] = &["the component is not of a world of `witgate:auth@0.1.0`"];
const OTHER_VERSION: &[&str] = &["this host has `witgate:auth@0.1.0`, so build it against that version"];
const HTTP: &str = "grants = { http = [\"{server}\"] }";

/// The expected end of `guest`.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn case(guest: Guest) -> Case {
    use Expected::{NotCompiled, Refused, RefusedLate, TakesOver};
    match guest {
        // Time.
        Guest::Loops | Guest::LoopsInRealloc | Guest::LoopsAfterReturn => authorizer(once!(Fails("timeout"))),
        Guest::Drips => authorizer(Expected::Called(&[("echo", Passes), ("echo", Passes), ("echo", Passes)])),
        Guest::Sleeps | Guest::WaitsForMany => with("limits = { wait_ms = 300 }", once!(Fails("timeout"))),
        Guest::AsksTheClock | Guest::FloodsStdout => {
            authorizer(Expected::Called(&[("any", FailsAnyhow(&["timeout", "host-calls"]))]))
        }
        Guest::LoopsInDescribe | Guest::LoopsAtStart => {
            authorizer(RefusedLate(&["`describe` ended with `timeout`"]))
        }
        Guest::LoopsInConfigure => authorizer(RefusedLate(&["`configure` ended with `timeout`"])),

        // Memory.
        // On a busy machine that takes its time.
        Guest::EatsMemory | Guest::GrowsAtOnce | Guest::GrowsInParts | Guest::FillsTable => {
            with("limits = { timeout_ms = 20000 }", once!(Fails("memory")))
        }
        Guest::LargeFromTheStart | Guest::ManyMemories => authorizer(Refused(&["memory", "memories"])),
        Guest::LargeTableFromTheStart => authorizer(Refused(&["table", "memory"])),
        Guest::HoardsMemories => with("limits = { timeout_ms = 5000 }", once!(Passes)),
        Guest::Recurses => authorizer(once!(Fails("stack"))),
        Guest::RecursesWithFrames => authorizer(once!(FailsAnyhow(&["stack", "trap"]))),

        // Answers that are too large.
        Guest::SaysTooMuch | Guest::LogsTooMuchAtOnce | Guest::Amplifies => {
            with("limits = { output_kib = 256, memory_mib = 32 }", once!(Fails("output")))
        }
        Guest::IdentifiesTooMuch => Case {
            settings: "limits = { output_kib = 256, memory_mib = 64 }",
            ..authenticator(once!(Fails("output")))
        },
        Guest::SendsTooMuch => with(
            "grants = { http = [\"{server}\"] }\nlimits = { output_kib = 256, memory_mib = 32 }",
            Expected::Called(&[("{server}/large", Fails("output"))]),
        ),
        Guest::AmplifiesToHost => with(HTTP, once!(Fails("output"))),
        Guest::DescribesTooMuch => {
            authorizer(Refused(&["`describe` ended with `output`", "invalid `describe` result"]))
        }
        Guest::WantsTooMuch => {
            authorizer(Refused(&["`configure` ended with `output`", "which are more than 64"]))
        }
        Guest::WantsNoHeader => authorizer(Refused(&["the credential header \"X API Key:\" is not"])),
        Guest::RefusesSettings | Guest::RefusesSettingsAtLength => {
            authorizer(Refused(&["the component refuses its settings"]))
        }

        // Answers that are none.
        Guest::AnswersInvalidUtf8
        | Guest::AnswersHalfACharacter
        | Guest::PointsOutside
        | Guest::AnswersFromOutside
        | Guest::AnswersUnaligned
        | Guest::UnknownDecision
        | Guest::UnknownOption => authorizer(once!(Fails("bad-output"))),
        Guest::LengthOverflows => authorizer(once!(FailsAnyhow(&["bad-output", "output"]))),
        Guest::UnknownLevel | Guest::LogsFromOutside | Guest::LiesInRealloc => {
            authorizer(once!(FailsAnyhow(&["bad-output", "trap"])))
        }
        Guest::TrapsInRealloc | Guest::TrapsAfterReturn | Guest::CallsInRealloc | Guest::Reenters => {
            authorizer(once!(Fails("trap")))
        }

        // Answers out of bounds.
        Guest::DeniesOutOfBounds => authorizer(Expected::Called(&[
            ("no-reason", Fails("bad-output")),
            ("long-reason", Fails("bad-output")),
            ("reason-with-newline", Fails("bad-output")),
            ("reason-with-escape", Fails("bad-output")),
            ("reason-in-capitals", Fails("bad-output")),
            ("many-scopes", Fails("bad-output")),
            ("long-scope", Fails("bad-output")),
            ("scope-with-quote", Fails("bad-output")),
            ("scope-with-newline", Fails("bad-output")),
            ("long-detail", Fails("bad-output")),
            ("forged-detail", Denies("fine")),
            ("forever", Denies("fine")),
            ("echo", Passes),
        ])),
        Guest::IdentifiesOutOfBounds => authenticator(Expected::Called(&[
            ("nobody", Fails("bad-output")),
            ("long-name", Fails("bad-output")),
            ("name-with-escape", Fails("bad-output")),
            ("name-with-newline", Fails("bad-output")),
            ("long-issuer", Fails("bad-output")),
            ("many-roles", Fails("bad-output")),
            ("empty-role", Fails("bad-output")),
            ("spaced-scope", Fails("bad-output")),
            ("claims-no-json", Fails("bad-output")),
            ("claims-no-object", Fails("bad-output")),
            ("claims-twice", Fails("bad-output")),
            ("claims-nan", Fails("bad-output")),
            ("claims-large", Fails("bad-output")),
            // A reader of them would have its own bounds; there is none here.
            ("claims-deep", Passes),
            ("claims-beyond-numbers", Passes),
            ("lives-long", Fails("bad-output")),
            ("lives-forever", Fails("bad-output")),
            ("has-never-lived", Refuses("expired")),
            ("name-from-right-to-left", Passes),
            ("anybody", Passes),
        ])),
        Guest::DescribesWithEscapes => authorizer(Refused(&["invalid `describe` result: the name"])),

        // The host's services.
        Guest::LeaksHandles => with(
            // A clock to wait for is two.
            "limits = { handles = 7 }",
            Expected::Called(&[
                ("echo", Passes),
                ("echo", Passes),
                ("echo", Passes),
                ("echo", Fails("handles")),
                ("echo", Passes),
            ]),
        ),
        Guest::HoardsHandles => authorizer(once!(Fails("handles"))),
        Guest::FloodsHost => authorizer(once!(Fails("host-calls"))),
        Guest::FloodsLog => authorizer(once!(Fails("log"))),
        Guest::LogsEscapes => authorizer(once!(Passes)),
        Guest::FloodsCache => {
            with("grants = { cache = true }\nlimits = { timeout_ms = 10000 }", once!(Passes))
        }
        Guest::FloodsHttp => with(
            "grants = { http = [\"{server}\"] }\nlimits = { http_requests = 4 }",
            Expected::Called(&[("{server}/flood", Fails("http-requests"))]),
        ),
        Guest::HashesWithoutEnd => {
            with("grants = { crypto = true }", once!(FailsAnyhow(&["host-calls", "timeout"])))
        }
        Guest::TriesKeys => with("grants = { crypto = true }", once!(Fails("host-denied"))),
        Guest::PeeksAtSecrets => with("grants = { secrets = [\"vault\"] }", once!(Fails("host-denied"))),
        Guest::WantsCredentials => authorizer(once!(Passes)),
        Guest::ReachesOut => with(
            "grants = { http = [\"{server}\", \"http://169.254.169.254\", \"http://[fe80::1]\"] }\n\
             limits = { http_requests = 10 }",
            REACHES,
        ),
        Guest::ReachesOutInDescribe => with(
            "grants = { http = [\"http://127.0.0.1:1\"], secrets = [\"vault\"], cache = true }",
            once!(Passes),
        ),

        // WASI, of which there are stubs.
        Guest::AsksForRandomness => authorizer(Expected::Called(&[
            ("all", FailsAnyhow(&["trap", "memory", "output"])),
            ("a-terabyte", FailsAnyhow(&["trap", "memory", "output"])),
            ("what-is-allowed", FailsAnyhow(&["trap", "memory", "output"])),
            ("echo", Passes),
        ])),
        Guest::WritesZeroes | Guest::Exits => authorizer(once!(Fails("trap"))),
        Guest::ReadsStdin | Guest::LooksAround | Guest::LooksUpNames | Guest::HoardsSockets => {
            authorizer(once!(Passes))
        }

        // Traps.
        Guest::Traps => authorizer(once!(Fails("trap"))),
        // What comes after a trap has another instance, which begins anew.
        Guest::TrapsEverySecondTime => authorizer(Expected::Called(&[
            ("echo", Passes),
            ("echo", Fails("trap")),
            ("echo", Passes),
            ("echo", Fails("trap")),
        ])),
        Guest::TrapsInDescribe | Guest::TrapsAtStart => {
            authorizer(Refused(&["`describe` ended with `trap`"]))
        }
        Guest::TrapsInConfigure => authorizer(Refused(&["`configure` ended with `trap`"])),

        // What is not made for this host.
        Guest::ExportsNothing | Guest::ExportsAnotherWorld | Guest::ExportsOlder | Guest::ExportsNewer => {
            authorizer(Refused(NO_WORLD))
        }
        Guest::HookOfAnotherType => {
            authorizer(Refused(&["its `authorization` has functions of other types"]))
        }
        Guest::ImportsOlder | Guest::ImportsNewer => authorizer(Refused(OTHER_VERSION)),
        Guest::ImportsUnknown => authorizer(Refused(&["`wasi:http/outgoing-handler@0.2.0`"])),
        Guest::ImportsAnotherType => authorizer(Refused(&["`witgate:auth/log@0.1.0`"])),

        // Schemas of settings.
        Guest::SchemaIsNoJson => authorizer(Refused(&["config schema is not JSON"])),
        Guest::SchemaIsNoSchema | Guest::SchemaOfPatterns => {
            authorizer(Refused(&["config schema is not a JSON Schema"]))
        }
        Guest::SchemaRefersToItself => authorizer(Refused(&["config schema refers to itself"])),
        Guest::SchemaMultiplies | Guest::SchemaIsAChain => {
            authorizer(Refused(&["config schema is too large"]))
        }
        Guest::SchemaRefersElsewhere => {
            authorizer(Refused(&["config schema refers to something outside it"]))
        }

        // What an instance keeps.
        Guest::Remembers => authorizer(Expected::Called(&[("echo", Passes), ("echo", Denies("remembers"))])),

        // Compiling.
        Guest::CompilesForEver => authorizer(NotCompiled),
        Guest::CompilesSlowly => authorizer(TakesOver),
    }
}

/// The expected end of guests that try to reach forbidden addresses, in any spelling.
const REACHES: Expected = Expected::Called(&[
    ("{server}/", Denies("status-200")),
    ("headers+{server}/", Passes),
    // Nobody follows it.
    ("{server}/redirect", Denies("status-302")),
    ("http://127.0.0.1:{elsewhere}/", Fails("host-denied")),
    ("http://localhost:{elsewhere}/", Fails("host-denied")),
    ("http://localhost:{port}/", Fails("host-denied")),
    ("http://127.0.0.1:{port}@127.0.0.1:{elsewhere}/", Fails("host-denied")),
    ("http://127.1:{elsewhere}/", Fails("host-denied")),
    ("http://2130706433:{elsewhere}/", Fails("host-denied")),
    ("http://0x7f000001:{elsewhere}/", Fails("host-denied")),
    ("http://0177.0.0.1:{elsewhere}/", Fails("host-denied")),
    ("http://0.0.0.0:{elsewhere}/", Fails("host-denied")),
    ("http://[::1]:{elsewhere}/", Fails("host-denied")),
    ("http://[::ffff:127.0.0.1]:{elsewhere}/", Fails("host-denied")),
    ("http://[::ffff:7f00:1]:{port}/", Fails("host-denied")),
    ("https://127.0.0.1:{port}/", Fails("host-denied")),
    // Granted, and nobody's reach all the same.
    ("http://169.254.169.254/latest/meta-data/", Fails("host-denied")),
    ("http://2852039166/latest/meta-data/", Fails("host-denied")),
    ("http://[::ffff:169.254.169.254]/latest/meta-data/", Fails("host-denied")),
    ("http://[fe80::1]/", Fails("host-denied")),
    // No URLs for a request: nothing is asked for.
    ("file:///etc/passwd", Passes),
    ("gopher://127.0.0.1:{elsewhere}/", Passes),
    ("//127.0.0.1:{elsewhere}/", Passes),
    ("http:", Passes),
]);
