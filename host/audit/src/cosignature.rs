//! Cosignatures of checkpoints by witnesses (C2SP tlog-cosignature, with Ed25519): a witness has checked that a checkpoint
//! continues all those of the same log that it has cosigned before.

use std::fmt;

use crate::note::{CheckpointError, CheckpointKeyError, NoteSignature};
use crate::note_key::NoteKey;

/// The signature type of a cosignature in signed notes.
const COSIGNATURE: u8 = 4;

/// The public key of a witness, in the form of signed notes: `NAME+ID+KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessKey(NoteKey);

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for WitnessKey {
    type Err = CheckpointKeyError;

    fn from_str(text: &str) -> Result<Self, CheckpointKeyError> {
        NoteKey::read(COSIGNATURE, text).map(Self).ok_or(CheckpointKeyError::Witness)
    }
}

impl WitnessKey {
    /// The name of the witness.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The number that the name and the key give, for names of files.
    pub(crate) fn id(&self) -> [u8; 4] {
        self.0.id
    }

    /// The time of this witness's cosignature in a signed checkpoint, in seconds since 1970. None: it has none.
    ///
    /// # Errors
    /// If the text is not a signed checkpoint, or the cosignature is wrong.
    pub fn cosigned_at(&self, note: &str) -> Result<Option<u64>, CheckpointError> {
        let (body, signatures) = note.split_once("\n\n").ok_or(CheckpointError::Form)?;
        let own = |signature: &NoteSignature<'_>| signature.is_by(&self.0);
        let Some(signature) = signatures.lines().filter_map(NoteSignature::of).find(own) else {
            return Ok(None);
        };
        let time = signature.bytes.split_first_chunk().filter(|(_, signed)| signed.len() == 64);
        let (time, signed) = time.ok_or(CheckpointError::Signature)?;
        let time = u64::from_be_bytes(*time);
        let message = format!("cosignature/v1\ntime {time}\n{body}\n");
        match self.0.has_signed(message.as_bytes(), signed) {
            true => Ok(Some(time)),
            false => Err(CheckpointError::Signature),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::note::{CheckpointSigner, MARK};

    /// The private key of a witness.
    pub(crate) struct Cosigner {
        pair: Ed25519KeyPair,
        pub(crate) public: WitnessKey,
    }

    impl Cosigner {
        pub(crate) fn new(name: &str) -> Self {
            let pair = Ed25519KeyPair::generate().unwrap();
            let key = pair.public_key().as_ref().try_into().unwrap();
            let public = WitnessKey(NoteKey::new(COSIGNATURE, name.to_owned(), key).unwrap());
            Self { pair, public }
        }

        /// The line with a cosignature of a signed checkpoint.
        pub(crate) fn cosign(&self, note: &str, time: u64) -> String {
            let body = note.split_once("\n\n").unwrap().0;
            let signed = self.pair.sign(format!("cosignature/v1\ntime {time}\n{body}\n").as_bytes());
            let bytes = [&self.public.id(), time.to_be_bytes().as_slice(), signed.as_ref()].concat();
            format!("{MARK}{} {}\n", self.public.name(), STANDARD.encode(bytes))
        }
    }

    #[test]
    fn a_cosignature_is_by_its_witness_alone() {
        let log = CheckpointSigner::from_pem(&CheckpointSigner::new_pem().unwrap(), None).unwrap();
        let (one, other) = (Cosigner::new("witness.example/1"), Cosigner::new("witness.example/1"));
        let note = log.sign(17, [7; 32]);
        assert_eq!(one.public.cosigned_at(&note), Ok(None));
        let line = one.cosign(&note, 1_700_000_000);
        let cosigned = format!("{note}{line}");
        assert_eq!(one.public.cosigned_at(&cosigned), Ok(Some(1_700_000_000)));
        assert_eq!(other.public.cosigned_at(&cosigned), Ok(None));
        assert_eq!(
            one.public.cosigned_at(&cosigned.replace("\n17\n", "\n18\n")),
            Err(CheckpointError::Signature)
        );
        let later = format!("{}{line}", log.sign(18, [7; 32]));
        assert_eq!(one.public.cosigned_at(&later), Err(CheckpointError::Signature));
        assert_eq!(crate::note::open(&cosigned, &[log.public().clone()]).map(|read| read.size), Ok(17));
        let public: WitnessKey = one.public.to_string().parse().unwrap();
        assert_eq!(public, one.public);
        assert_eq!(log.public().to_string().parse::<WitnessKey>(), Err(CheckpointKeyError::Witness));
    }

    /// The example in the specification of cosignatures.
    #[test]
    fn the_example_of_the_specification_has_the_documented_form() {
        let line = "\u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==";
        let signature = NoteSignature::of(line).unwrap();
        let (time, signed) = signature.bytes.split_first_chunk::<8>().unwrap();
        assert_eq!((u64::from_be_bytes(*time), signed.len()), (1_679_315_147, 64));
    }
}
