//! `checkpoint_to` of `[audit]`.

use std::path::Path;

use url::{Host, Url};
use witgate_audit::{CheckpointPlace, WitnessPlace};

use super::resolver::Resolver;
use super::server::check_url;
use crate::raw;

/// The path below the submission prefix of a witness (C2SP tlog-witness).
const ADD_CHECKPOINT: &str = "add-checkpoint";

const WITNESS_HELP: &str =
    "write the submission prefix of the witness, such as `https://witness.example/prefix`";

impl Resolver<'_> {
    /// The places of checkpoints. `directory` is that of the log.
    pub(super) fn checkpoint_places(&mut self, directory: &Path, file: &raw::File) -> Vec<CheckpointPlace> {
        let written = file.audit.as_ref().and_then(|audit| audit.checkpoint_to.as_ref());
        let Some(written) = written else { return Vec::new() };
        let mut places = Vec::new();
        for (index, target) in written.all().iter().enumerate() {
            let index = index.to_string();
            let at: &[&str] = match written {
                raw::CheckpointPlaces::One(_) => &["audit", "checkpoint_to"],
                raw::CheckpointPlaces::Several(_) => &["audit", "checkpoint_to", &index],
            };
            let Some(place) = self.checkpoint_place(at, target, &file.telemetry) else { continue };
            self.checkpoints_elsewhere(directory, at, &place);
            if places.iter().any(|other| is_same(&place, other)) {
                self.error(at, "this place is named twice", "remove one of the two");
            }
            places.push(place);
        }
        places
    }

    fn checkpoint_place(
        &mut self,
        at: &[&str],
        target: &raw::CheckpointTarget,
        telemetry: &raw::Telemetry,
    ) -> Option<CheckpointPlace> {
        match target {
            raw::CheckpointTarget::Named(name) => match name.as_str() {
                raw::CheckpointPlaces::LOG => Some(CheckpointPlace::Log),
                raw::CheckpointPlaces::OTLP => self.checkpoint_collector(at, telemetry),
                path => Some(CheckpointPlace::File(self.path(path))),
            },
            raw::CheckpointTarget::Witness(witness) => self.witness(at, witness),
        }
    }

    fn checkpoint_collector(&mut self, at: &[&str], telemetry: &raw::Telemetry) -> Option<CheckpointPlace> {
        let url = self.logs_url(telemetry);
        if url.is_none() {
            let message = "nothing says which collector gets the checkpoints";
            self.error(at, message, "set `otlp_endpoint` under `[telemetry]`");
        }
        url.map(|url| CheckpointPlace::Collector(url.into()))
    }

    fn witness(&mut self, at: &[&str], written: &raw::CheckpointWitness) -> Option<CheckpointPlace> {
        let url = self.witness_url(&[at, &["witness"]].concat(), &written.witness);
        let key = written.key.parse();
        if let Err(error) = &key {
            let help = "write the public key that the operator of the witness publishes";
            self.error(&[at, &["key"]].concat(), format!("{error}"), help);
        }
        let (url, key) = (url?.into(), key.ok()?);
        Some(CheckpointPlace::Witness(WitnessPlace { url, key }))
    }

    fn witness_url(&mut self, at: &[&str], text: &str) -> Option<Url> {
        match check_url(text) {
            Ok(url) if url.scheme() == "https" || is_here(&url) => {
                let mut below = url.clone();
                below.set_path(&format!("{}/{ADD_CHECKPOINT}", url.path().trim_end_matches('/')));
                Some(below)
            }
            Ok(_) => {
                let message = "this URL has no TLS, so that anybody on the way can keep checkpoints back";
                self.error(at, message, "use `https`; `http` is for a witness on this machine only");
                None
            }
            Err(message) => {
                self.error(at, message, WITNESS_HELP);
                None
            }
        }
    }

    /// Checkpoints in the same directory disappear together with the lines that they prove.
    fn checkpoints_elsewhere(&mut self, directory: &Path, at: &[&str], place: &CheckpointPlace) {
        if matches!(place, CheckpointPlace::File(path) if path.starts_with(directory)) {
            let message = "this file is in the directory of the audit itself, so it proves nothing more";
            let help = "name a file on another disk, or one to which Witgate can only append";
            self.warning(at, message, help);
        }
    }
}

/// True if two places are one. The cosigned checkpoints of a witness are kept by its key.
fn is_same(one: &CheckpointPlace, other: &CheckpointPlace) -> bool {
    match (one, other) {
        (CheckpointPlace::Witness(one), CheckpointPlace::Witness(other)) => one.key == other.key,
        (one, other) => one == other,
    }
}

/// True if the host of a URL is this machine.
fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}
