//! The settings of a policy, kept for a recording.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use witgate_component::settings::{Schema, Settings};
use witgate_config::{self as config, KeySource, Limits, PolicyKind};

/// The settings of a policy, as a recording writes them.
#[derive(Debug)]
pub struct RecordedSettings {
    /// True if the policy reads raw secrets.
    pub reads_secrets: bool,
    /// The policy's kind.
    pub kind: PolicyKind,
    /// The file of the component.
    pub component: Option<PathBuf>,
    /// The settings in the form of the configuration.
    pub config: Value,
    /// The implementation. None: nothing decides.
    pub schema: Option<Arc<Schema>>,
    /// The directory that paths in the settings are relative to.
    pub dir: PathBuf,
    /// The keys, by name.
    pub sources: BTreeMap<String, KeySource>,
    /// The limits.
    pub limits: Limits,
}

impl RecordedSettings {
    /// Collects the settings when the policy is built.
    pub fn of(config: &config::Policy, dir: &Path, schema: Arc<Schema>, settings: &Settings) -> Self {
        Self {
            reads_secrets: !settings.raw_secrets.is_empty(),
            kind: config.kind,
            component: config.component.clone(),
            config: config.config.clone(),
            schema: Some(schema),
            dir: dir.to_owned(),
            sources: settings.sources.clone(),
            limits: config.limits,
        }
    }

    /// The settings of a policy that could not be built.
    pub fn nothing(config: &config::Policy) -> Self {
        Self {
            reads_secrets: false,
            kind: config.kind,
            component: config.component.clone(),
            config: Value::Null,
            schema: None,
            dir: PathBuf::new(),
            sources: BTreeMap::new(),
            limits: config.limits,
        }
    }
}
