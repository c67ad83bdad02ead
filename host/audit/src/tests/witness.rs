//! A witness that cosigns what continues the lines that it knows, and refuses everything else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ct_merkle::{ConsistencyProof, RootHash};
use sha2::Sha256;

use super::upkeep::await_that;
use super::*;
use crate::cosignature::tests::Cosigner;
use crate::note::Checkpoint;
use crate::verify::verify_cosigned;

/// A witness in this process. It knows one log.
#[derive(Default)]
struct LocalWitness {
    cosigner: Option<Cosigner>,
    known: Mutex<Option<Checkpoint>>,
    /// The status of every answer. Zero: the one that is right. One: there is no answer.
    status: std::sync::atomic::AtomicU16,
    asked: AtomicU64,
}

impl fmt::Debug for LocalWitness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalWitness")
    }
}

impl LocalWitness {
    fn new() -> Arc<Self> {
        Arc::new(Self { cosigner: Some(Cosigner::new("witness.example/1")), ..Self::default() })
    }

    fn cosigner(&self) -> &Cosigner {
        self.cosigner.as_ref().unwrap()
    }

    fn answer(&self, request: &str) -> (u16, String) {
        let (head, note) = request.split_once("\n\n").unwrap();
        let (old, proof) = head.split_once('\n').unwrap_or((head, ""));
        let old: u64 = old.strip_prefix("old ").unwrap().parse().unwrap();
        let proof: Vec<u8> = proof.lines().flat_map(|line| STANDARD.decode(line).unwrap()).collect();
        let new = Checkpoint::peek(note).unwrap();
        let mut known = self.known.lock();
        if old != known.as_ref().map_or(0, |known| known.size) {
            return (409, format!("{}\n", known.as_ref().map_or(0, |known| known.size)));
        }
        if let Some(known) = known.as_ref() {
            let root = |of: &Checkpoint| RootHash::<Sha256>::new(of.root.into(), of.size);
            let proof = ConsistencyProof::<Sha256>::try_from_bytes(proof).unwrap();
            if known.size == new.size && known.root != new.root {
                return (409, format!("{}\n", known.size));
            }
            if known.size != new.size && root(&new).verify_consistency(&root(known), &proof).is_err() {
                return (422, String::new());
            }
        }
        *known = Some(new);
        // A cosignature by another key is not looked at.
        let other = Cosigner::new("witness.example/2").cosign(note, 1);
        (200, format!("{other}{}", self.cosigner().cosign(note, 1_800_000_000)))
    }
}

impl CheckpointNetwork for LocalWitness {
    fn ask_witness(&self, url: &str, request: String) -> io::Result<WitnessAnswer> {
        assert_eq!(url, "https://witness.example/add-checkpoint");
        self.asked.fetch_add(1, Ordering::Relaxed);
        let (status, body) = match self.status.load(Ordering::Relaxed) {
            0 => self.answer(&request),
            1 => return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer")),
            status => (status, String::new()),
        };
        Ok(WitnessAnswer { status, body })
    }

    fn tell_collector(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::Error::other("this is no collector"))
    }
}

impl Place {
    fn open_with(&self, witness: &Arc<LocalWitness>) -> AuditLog {
        let place = WitnessPlace {
            url: "https://witness.example/add-checkpoint".to_owned(),
            key: witness.cosigner().public.clone(),
        };
        AuditLog::open(LogSettings {
            directory: self.log(),
            signer: Arc::clone(&self.signer),
            sync: SyncMode::BeforeAnswer,
            rules: self.rules,
            checkpoint_to: vec![CheckpointPlace::Witness(place)],
            network: Some(Arc::<LocalWitness>::clone(witness)),
            owner: "a test".to_owned(),
        })
        .unwrap()
    }

    fn write_with(&self, witness: &Arc<LocalWitness>, numbers: std::ops::Range<usize>) {
        let log = self.open_with(witness);
        numbers.for_each(|number| assert!(record(&log, number)));
        assert!(log.stop(PATIENCE));
    }

    fn verify_with(&self, witness: &LocalWitness) -> LogVerification {
        verify_cosigned(&self.log(), &self.keys(), &[], &[witness.cosigner().public.clone()])
    }

    /// Writes entries with a witness that does not take their checkpoints, and waits for this reason.
    fn refused(&self, witness: &Arc<LocalWitness>, numbers: std::ops::Range<usize>, expected: &str) {
        let log = self.open_with(witness);
        numbers.for_each(|number| assert!(record(&log, number)));
        log.checkpoint();
        let fault = || log.failing_copies().pop().unwrap_or_default();
        await_that(expected, || fault().contains(expected));
        assert!(fault().starts_with("the witness witness.example/1 ("), "{}", fault());
        assert!(log.is_available(), "calls go on");
        assert!(log.stop(PATIENCE));
    }
}

#[test]
fn a_witness_cosigns_a_log_over_segments_and_processes() {
    let mut place = Place::new();
    place.rules = SegmentRules { size: 2048, compress: true, ..place.rules };
    let witness = LocalWitness::new();
    for end in 1..=5 {
        place.write_with(&witness, 20 * (end - 1)..20 * end);
        let verification = place.verify_with(&witness);
        assert_eq!(verification.verdict, LogVerdict::Intact);
        let seen = &verification.witnesses[0];
        assert_eq!((seen.lines, seen.at), (verification.lines, 1_800_000_000), "{seen:?}");
        assert!(seen.checkpoints >= end as u64, "{seen:?}");
    }
    assert!(place.segments().len() > 5);
    // Without its files, only the witness knows where it is.
    for path in segment::cosigned_files(&place.log()).unwrap() {
        fs::remove_file(path).unwrap();
    }
    assert_eq!(place.verify_with(&witness).witnesses[0].checkpoints, 0);
    let asked = witness.asked.load(Ordering::Relaxed);
    place.write_with(&witness, 100..101);
    assert!(witness.asked.load(Ordering::Relaxed) >= asked + 2, "it is asked twice");
    let verification = place.verify_with(&witness);
    assert_eq!(verification.witnesses[0].lines, verification.lines);
}

/// A witness that is away for long would otherwise make Witgate read its log again at each attempt.
#[test]
fn lines_are_read_once_for_several_proofs_from_the_same_line() {
    let place = Place::new();
    place.write(0..20);
    let [path] = &place.segments()[..] else { panic!("several segments") };
    let text = fs::read(path).unwrap();
    let marked: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let root = |size: usize| {
        let mut tree = crate::tree::Frontier::default();
        let lines = segment::list(&place.log()).unwrap().remove(0).lines().unwrap();
        let mut lines = lines;
        while tree.size() < size as u64 {
            tree.push(crate::tree::marked_leaf_hash(lines.next().unwrap().unwrap().marked()));
        }
        let note = place.signer.sign(size as u64, tree.root());
        Checkpoint::peek(&note).unwrap()
    };
    let (middle, end) = (root(10), root(marked.len()));
    let mut reader = crate::witness::growth::GrowthReader::default();
    let mut proof = |old, checkpoint: &Checkpoint| reader.proof(&place.log(), old, checkpoint);
    let expected: Vec<_> = [(4, &middle), (4, &end), (7, &end)]
        .map(|(old, size)| {
            let mut anew = crate::witness::growth::GrowthReader::default();
            anew.proof(&place.log(), old, size).unwrap()
        })
        .into();
    assert_eq!(proof(4, &middle).unwrap(), expected[0]);
    // What was read is not needed any more.
    let read: usize = marked[..10].iter().map(|line| line.len()).sum();
    fs::write(path, [&vec![b'x'; read][..], &text[read..]].concat()).unwrap();
    assert_eq!(proof(4, &end).unwrap(), expected[1]);
    assert_eq!(proof(4, &end).unwrap(), expected[1]);
    assert!(proof(7, &end).is_err(), "it is read again for another proof");
    fs::write(path, &text).unwrap();
    assert_eq!(proof(7, &end).unwrap(), expected[2]);
}

#[test]
fn a_log_that_was_set_back_is_told() {
    let (place, witness) = (Place::new(), LocalWitness::new());
    place.write_with(&witness, 0..5);
    let copied = place.dir.path().join("copy");
    copy(&place.log(), &copied);
    place.write_with(&witness, 5..15);
    fs::remove_dir_all(place.log()).unwrap();
    copy(&copied, &place.log());
    place.refused(&witness, 5..6, "it has cosigned 16 lines, and the log has 7: the log was set back");
    // Other lines in place of those that it knows.
    place.refused(&witness, 100..120, "it has cosigned 16 lines that are not those of the log");
    let known = witness.known.lock().clone().unwrap();
    assert_eq!(known.size, 16);
}

#[test]
fn other_lines_of_the_same_number_are_told() {
    let (place, witness) = (Place::new(), LocalWitness::new());
    place.write_with(&witness, 0..3);
    let other = Place { signer: Arc::clone(&place.signer), ..Place::new() };
    other.refused(&witness, 10..13, "it has cosigned 4 lines that are not those of the log");
}

#[test]
fn a_witness_that_is_away_or_refuses_delays_nothing_and_is_told_by_kind() {
    let (place, witness) = (Place::new(), LocalWitness::new());
    for (status, expected) in [
        (1, "it does not answer"),
        (403, "does not accept the signature"),
        (404, "does not know the log"),
        (409, "the status 409"),
        (422, "not those of the log"),
        (503, "the status 503"),
        (200, "no cosignature"),
    ] {
        witness.status.store(status, Ordering::Relaxed);
        place.refused(&witness, 0..2, expected);
    }
    // It is tried again without another line.
    let log = place.open_with(&witness);
    assert!(record(&log, 0));
    await_that("nothing is refused", || !log.failing_copies().is_empty());
    witness.status.store(0, Ordering::Relaxed);
    await_that("it does not recover", || log.failing_copies().is_empty());
    assert!(log.stop(PATIENCE));
    assert_eq!(place.verify_with(&witness).unsigned, 0);
}

/// Somebody with the private key of the log who changes cosigned lines, or takes the cosignature of others.
#[test]
fn a_wrong_cosignature_is_found() {
    let (place, witness) = (Place::new(), LocalWitness::new());
    place.write_with(&witness, 0..5);
    let path = segment::cosigned_files(&place.log()).unwrap().pop().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let note = place.signer.sign(3, [1; 32]);
    let cosignature = text.trim_end().rsplit_once('\n').unwrap().1;
    fs::write(&path, format!("{note}{cosignature}\n\n")).unwrap();
    let LogVerdict::Altered { what, .. } = place.verify_with(&witness).verdict else {
        panic!("it is not found")
    };
    assert!(what.contains("the cosignature of witness.example/1"), "{what}");
    // Without the key of the witness, the checkpoint itself is wrong.
    assert!(matches!(place.verify().verdict, LogVerdict::Altered { .. }));
}
