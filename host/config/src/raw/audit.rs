//! `[audit]`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::secret::SecretSource;

/// The audit log in a directory.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// The directory. It belongs to one process, and is made if it does not exist.
    pub directory: Option<String>,
    /// The private key that signs checkpoints: Ed25519, in PEM (PKCS #8), in a file that nobody else may read. Default:
    /// `private-key.pem` in the directory, which is made if it does not exist.
    pub key: Option<SecretSource>,
    /// The name of the log in checkpoints, such as `example.com/witgate`. Default: made from the key.
    #[schemars(length(min = 1, max = 128))]
    pub origin: Option<String>,
    /// The time at which entries are on the disk: `batched` (the default) or `before-answer`.
    pub sync: Option<AuditSync>,
    /// Behaviour while entries cannot be written: `deny` (the default) or `count`.
    pub unavailable: Option<AuditUnavailable>,
    /// The records that are also lines on standard error: `all` (the default), `refusals` or `none`.
    pub lines: Option<AuditLines>,
    /// Size in MiB after which a new segment begins. Default: 64.
    #[schemars(range(min = 1, max = 4096))]
    pub rotate_size_mib: Option<u64>,
    /// Age in hours after which a new segment begins. Default: 24.
    #[schemars(range(min = 1, max = 8760))]
    pub rotate_age_h: Option<u64>,
    /// Days after which a complete segment is removed. Default: none is removed.
    #[schemars(range(min = 1, max = 36_500))]
    pub keep_days: Option<u64>,
    /// Compress complete segments. Default: true.
    pub compress: Option<bool>,
    /// A further place that gets checkpoints, or several: files on another disk, or to which Witgate can only append,
    /// `log`, `otlp`, and witnesses.
    pub checkpoint_to: Option<CheckpointPlaces>,
    /// The name of this instance in entries. Default: the name of the host.
    #[schemars(length(min = 1, max = 128))]
    pub node: Option<String>,
    /// JSON pointers to arguments of calls whose values entries show, such as `/path`.
    pub arguments_clear: Vec<String>,
    /// JSON pointers to arguments of which entries show the type and the length only.
    pub arguments_masked: Vec<String>,
}

/// The time at which entries of the audit log are on the disk.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuditSync {
    /// Some milliseconds after the answer.
    Batched,
    /// Before the answer.
    BeforeAnswer,
}

/// The records of the audit log that are also lines on standard error.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuditLines {
    /// All records.
    All,
    /// Those of calls that were not allowed, or that failed.
    Refusals,
    /// None, as long as entries can be written.
    None,
}

/// The places of checkpoints.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum CheckpointPlaces {
    /// Several places. First, because a list of two texts would also be read as the members of a witness.
    Several(Vec<CheckpointTarget>),
    /// One place.
    One(CheckpointTarget),
}

/// A place of checkpoints.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum CheckpointTarget {
    /// A file, `log`, or `otlp`.
    Named(String),
    /// A witness.
    Witness(CheckpointWitness),
}

/// A witness that cosigns checkpoints.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckpointWitness {
    /// The submission prefix of its URLs.
    pub witness: String,
    /// Its public key.
    pub key: String,
}

impl CheckpointPlaces {
    /// The name of the place that is the log.
    pub const LOG: &str = "log";

    /// The name of the place that is the collector of `[telemetry]`.
    pub const OTLP: &str = "otlp";

    /// The places.
    pub fn all(&self) -> &[CheckpointTarget] {
        match self {
            Self::One(place) => std::slice::from_ref(place),
            Self::Several(places) => places,
        }
    }

    /// The places that are files.
    pub fn files(&self) -> impl Iterator<Item = &String> {
        self.all().iter().filter_map(|place| match place {
            CheckpointTarget::Named(name) if name != Self::LOG && name != Self::OTLP => Some(name),
            CheckpointTarget::Named(_) | CheckpointTarget::Witness(_) => None,
        })
    }

    /// The public keys of the witnesses.
    pub fn witness_keys(&self) -> impl Iterator<Item = &String> {
        self.all().iter().filter_map(|place| match place {
            CheckpointTarget::Witness(witness) => Some(&witness.key),
            CheckpointTarget::Named(_) => None,
        })
    }
}

/// Behaviour while entries of the audit log cannot be written.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuditUnavailable {
    /// Calls are denied with `audit-unavailable`.
    Deny,
    /// Calls go on, and lost entries are counted.
    Count,
}
