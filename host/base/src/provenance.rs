//! The provenance of a component: the digest of its file, and its signer.

use std::path::{Path, PathBuf};
use std::{fs, io};

use minisign_verify::{PublicKey, Signature};
use witgate_plugin::Digest;

use crate::cause::Cause;
use crate::digest::digest_text;

/// The largest signature file: four lines, and comments in two of them.
const LARGEST: u64 = 64 << 10;

/// The known facts about a component before it is compiled.
#[derive(Clone, Debug, Default)]
pub struct Provenance {
    /// SHA-256 of the component's file.
    pub digest: Option<Digest>,
    /// Minisign keys, one of which has to have signed the file. None: no signature is required.
    pub signed_by: Vec<PublicKey>,
}

/// The reason why a component does not have the required provenance.
#[derive(Debug, thiserror::Error)]
pub enum ProvenanceError {
    /// The file has another digest.
    #[error(
        "{path} has the digest {found}, and the config pins {pinned}; replace the file, or pin the new digest"
    )]
    Digest {
        /// The file.
        path: PathBuf,
        /// The actual digest.
        found: String,
        /// The digest in the configuration.
        pinned: String,
    },
    /// There is no signature, or it cannot be read.
    #[error(
        "{0} cannot be read ({1}), but `signed_by` requires a signature in that file: make one with `minisign -S -m`, and put it there before the component"
    )]
    NoSignature(PathBuf, io::Error),
    /// The file is not a signature.
    #[error("{0} is not a minisign signature: {1}")]
    NotASignature(PathBuf, String),
    /// The signature is not of this component, or not by a key in `signed_by`.
    #[error(
        "{signature} is not a signature of {component} by a key in `signed_by`; sign the component anew, or add the key"
    )]
    WrongSignature {
        /// The file of the signature.
        signature: PathBuf,
        /// The file of the component.
        component: PathBuf,
    },
}

impl ProvenanceError {
    /// The cause.
    pub fn cause(&self) -> Cause {
        match self {
            Self::NoSignature(_, error) => Cause::of(error),
            Self::Digest { .. } | Self::NotASignature(..) | Self::WrongSignature { .. } => Cause::Content,
        }
    }
}

impl Provenance {
    /// The file of a component's signature, with the name that `minisign -S` gives it.
    pub fn signature_of(&self, component: &Path) -> Option<PathBuf> {
        let mut name = component.as_os_str().to_owned();
        name.push(".minisig");
        (!self.signed_by.is_empty()).then(|| PathBuf::from(name))
    }

    /// Checks the content of the component file at `path`.
    ///
    /// # Errors
    /// If it does not have the required provenance.
    pub fn check(&self, path: &Path, content: &[u8], digest: &Digest) -> Result<(), ProvenanceError> {
        if let Some(pinned) = self.digest
            && pinned != *digest
        {
            return Err(ProvenanceError::Digest {
                path: path.to_owned(),
                found: digest_text(digest),
                pinned: digest_text(&pinned),
            });
        }
        match self.signature_of(path) {
            Some(signature) => self.check_signature(path, content, signature),
            None => Ok(()),
        }
    }

    fn check_signature(&self, path: &Path, content: &[u8], file: PathBuf) -> Result<(), ProvenanceError> {
        let text = match read(&file) {
            Ok(text) => text,
            Err(error) => return Err(ProvenanceError::NoSignature(file, error)),
        };
        let signature = match Signature::decode(&text) {
            Ok(signature) => signature,
            Err(error) => return Err(ProvenanceError::NotASignature(file, error.to_string())),
        };
        // Only signatures of the hash are accepted; the older form is not needed.
        let good = self.signed_by.iter().any(|key| key.verify(content, &signature, false).is_ok());
        match good {
            true => Ok(()),
            false => Err(ProvenanceError::WrongSignature { signature: file, component: path.to_owned() }),
        }
    }
}

fn read(file: &Path) -> io::Result<String> {
    match fs::metadata(file)?.len() {
        ..=LARGEST => fs::read_to_string(file),
        size => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{size} bytes are too many"))),
    }
}
