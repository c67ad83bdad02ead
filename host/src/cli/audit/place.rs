//! The place of a log, and its public keys.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::cli::context::{Context, DEFAULT_CONFIG};
use crate::cli::outcome::CommandFailure;
use witgate_audit::cosignature::WitnessKey;
use witgate_audit::note::{CheckpointKey, CheckpointKeyError};
use witgate_audit::{PUBLIC_KEY_FILE, public_keys};
use witgate_config::raw;
use witgate_config::resolve::Outline;

/// The directory of the log.
#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct LogPlace {
    /// Directory of the log [default: `audit.directory` of the configuration]
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) directory: Option<PathBuf>,
}

impl LogPlace {
    pub(in crate::cli) fn directory(&self, context: &Context) -> Result<PathBuf, CommandFailure> {
        match &self.directory {
            Some(directory) => Ok(directory.clone()),
            None => configured(context, |audit| audit.directory.iter().collect())?.pop().ok_or_else(|| {
                CommandFailure::new(
                    "nothing says where the audit log is; name it with `--directory DIR`, or set `directory` under `[audit]`",
                )
            }),
        }
    }
}

/// Paths under `[audit]` of the configuration. No secret is read, so that the log can be examined by others.
pub(super) fn configured(
    context: &Context,
    setting: impl Fn(&raw::Audit) -> Vec<&String>,
) -> Result<Vec<PathBuf>, CommandFailure> {
    let Some(outline) = outline(context)? else { return Ok(Vec::new()) };
    let written = outline.file.audit.as_ref().map(setting).unwrap_or_default();
    Ok(written.into_iter().map(|written| outline.base.join(written)).collect())
}

/// The public keys of the witnesses in the configuration. Those that cannot be read are faults of the configuration.
pub(super) fn configured_witnesses(context: &Context) -> Result<Vec<WitnessKey>, CommandFailure> {
    let Some(outline) = outline(context)? else { return Ok(Vec::new()) };
    let places = outline.file.audit.as_ref().and_then(|audit| audit.checkpoint_to.as_ref());
    let keys = places.into_iter().flat_map(raw::CheckpointPlaces::witness_keys);
    Ok(keys.filter_map(|key| key.parse().ok()).collect())
}

fn outline(context: &Context) -> Result<Option<Outline>, CommandFailure> {
    let path = context.config_path().unwrap_or_else(|| PathBuf::from(DEFAULT_CONFIG));
    if !path.exists() && context.config.is_none() {
        return Ok(None);
    }
    Outline::recover(&path).map(Some).map_err(CommandFailure::Config)
}

/// The public keys in these files, or those in the directory of the log.
pub(super) fn keys(files: &[PathBuf], directory: &Path) -> Result<Vec<CheckpointKey>, CommandFailure> {
    let own = [directory.join(PUBLIC_KEY_FILE)];
    let files = if files.is_empty() { own.as_slice() } else { files };
    read_keys(files)
}

/// The public keys in these files.
pub(super) fn read_keys<K>(files: &[PathBuf]) -> Result<Vec<K>, CommandFailure>
where
    K: FromStr<Err = CheckpointKeyError>,
{
    let mut keys = Vec::new();
    for file in files {
        let read = public_keys(file);
        keys.extend(read.map_err(|error| {
            CommandFailure::new(format!("{}: the public key cannot be used: {error}", file.display()))
        })?);
    }
    Ok(keys)
}
