//! Whole logs: written, attacked, cut at every byte, and opened again.

mod start;
mod upkeep;
mod witness;

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::note::CheckpointKey;
use crate::proof::{LineChoice, LineProof, LineProofError, LineProofFault, prove};
use crate::select::{EntryFilter, last_lines, scan};
use crate::verify::{LogVerdict, LogVerification, verify};
use upkeep::await_that;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A directory with a log, and a file with its checkpoints elsewhere.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
    signer: Arc<CheckpointSigner>,
    pub(crate) rules: SegmentRules,
}

/// A directory in memory, if there is such a file system: a log waits for its disk often.
fn memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

impl Place {
    pub(crate) fn new() -> Self {
        let pem = CheckpointSigner::new_pem().unwrap();
        let signer = Arc::new(CheckpointSigner::from_pem(&pem, None).unwrap());
        let rules =
            SegmentRules { size: 1 << 20, age: Duration::from_secs(3600), keep: None, compress: false };
        Self { dir: memory(), signer, rules }
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn elsewhere(&self) -> PathBuf {
        self.dir.path().join("elsewhere")
    }

    pub(crate) fn try_open(&self) -> Result<AuditLog, OpenError> {
        AuditLog::open(LogSettings {
            directory: self.log(),
            signer: Arc::clone(&self.signer),
            sync: SyncMode::BeforeAnswer,
            rules: self.rules,
            checkpoint_to: vec![CheckpointPlace::File(self.elsewhere()), CheckpointPlace::Log],
            network: None,
            owner: "a test".to_owned(),
        })
    }

    /// Opens the log, writes these entries one after the other, and stops.
    fn write(&self, numbers: std::ops::Range<usize>) {
        let log = self.try_open().unwrap();
        numbers.for_each(|number| assert!(record(&log, number)));
        assert!(log.stop(PATIENCE));
    }

    /// The same, and waits until the segment at `old` is removed.
    fn write_until_removed(&self, numbers: std::ops::Range<usize>, old: &Path) {
        let log = self.try_open().unwrap();
        numbers.for_each(|number| assert!(record(&log, number)));
        await_that("it is not removed", || !old.exists());
        assert!(log.stop(PATIENCE));
    }

    pub(crate) fn keys(&self) -> Vec<CheckpointKey> {
        public_keys(&self.log().join(PUBLIC_KEY_FILE)).unwrap()
    }

    pub(crate) fn verify(&self) -> LogVerification {
        verify(&self.log(), &self.keys(), &[])
    }

    /// Checks the log together with the checkpoints elsewhere.
    pub(crate) fn verify_with_known(&self) -> LogVerification {
        verify(&self.log(), &self.keys(), &[self.elsewhere()])
    }

    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let mut all: Vec<_> = fs::read_dir(self.log()).unwrap().map(|entry| entry.unwrap().path()).collect();
        all.retain(|path| path.to_string_lossy().contains(".jsonl"));
        all.sort();
        all
    }

    /// Changes the lines of a segment.
    fn change(&self, segment: usize, change: impl FnOnce(&mut Vec<String>)) {
        let path = &self.segments()[segment];
        let text = fs::read_to_string(path).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        change(&mut lines);
        fs::write(path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    }
}

pub(crate) fn record(log: &AuditLog, number: usize) -> bool {
    let entry = format!(
        r#"{{"kind":"decision","time":"{}","id":"{number:032x}","outcome":"{}","target":"prompt:t-{number}"}}"#,
        time_text(),
        if number.is_multiple_of(3) { "denied" } else { "allowed" },
    );
    let entry = log.append_durably(entry.as_bytes(), log.reserve());
    tokio_wait(entry)
}

/// Waits without a runtime.
fn tokio_wait(entry: DurableEntry) -> bool {
    waiters::tests::blocking_wait(entry)
}

fn altered_at(verification: &LogVerification) -> Option<u64> {
    match &verification.verdict {
        LogVerdict::Altered { line, .. } => Some(line.unwrap_or(u64::MAX)),
        other => panic!("{other}"),
    }
}

#[test]
fn a_log_is_intact_after_several_processes() {
    let place = Place::new();
    place.write(0..10);
    place.write(10..11);
    place.write(11..30);
    let verification = place.verify_with_known();
    assert_eq!(verification.verdict, LogVerdict::Intact);
    // The header of the segment is a line, too.
    assert_eq!((verification.first, verification.lines, verification.unsigned), (0, 31, 0));
    assert!(verification.checkpoints >= 6, "{verification:?}");
}

#[test]
fn segments_begin_at_their_size_and_are_compressed() {
    let mut place = Place::new();
    place.rules = SegmentRules { size: 2048, compress: true, ..place.rules };
    let log = place.try_open().unwrap();
    (0..60).for_each(|number| assert!(record(&log, number)));
    log.stop(PATIENCE);
    assert!(place.segments().len() > 5);
    retention::compress_all(&place.log(), u64::MAX, &retention::UpkeepProgress::default()).unwrap();
    assert!(place.segments().iter().all(|path| path.extension().unwrap() == "gz"));
    let verification = place.verify_with_known();
    assert_eq!(verification.verdict, LogVerdict::Intact);
    assert_eq!(verification.segments as usize, place.segments().len());
    place.write(60..61);
    assert_eq!(place.verify_with_known().verdict, LogVerdict::Intact);
    assert_eq!(last_lines(&place.log(), 3).unwrap().0.len(), 3);
}

#[test]
fn retention_removes_old_segments_and_says_so() {
    let mut place = Place::new();
    place.rules = SegmentRules { size: 1024, ..place.rules };
    place.write(0..20);
    let before = place.segments();
    place.rules.keep = Some(Duration::ZERO);
    place.write_until_removed(20..40, &before[0]);
    let verification = place.verify();
    assert_eq!(verification.verdict, LogVerdict::Intact);
    assert!(verification.first > 0, "{verification:?}");
    // Without an entry about it, the same is an attack.
    place.rules.keep = None;
    place.write(40..60);
    while place.segments().len() > 1 {
        fs::remove_file(&place.segments()[0]).unwrap();
        assert_eq!(altered_at(&place.verify()), Some(place.verify().first));
    }
    fs::remove_file(&place.segments()[0]).unwrap();
    assert!(matches!(place.verify().verdict, LogVerdict::Truncated { found: 0, .. }));
}

#[test]
fn a_changed_line_is_found() {
    let place = Place::new();
    place.write(0..20);
    place.change(0, |lines| lines[7] = lines[7].replace("allowed", "refused").replace("denied", "allowed"));
    assert_eq!(altered_at(&place.verify()), Some(7));
}

#[test]
fn a_removed_an_inserted_and_a_moved_line_are_found() {
    let place = Place::new();
    place.write(0..20);
    let text = fs::read(&place.segments()[0]).unwrap();
    place.change(0, |lines| drop(lines.remove(7)));
    assert_eq!(altered_at(&place.verify()), Some(7));
    fs::write(&place.segments()[0], &text).unwrap();
    place.change(0, |lines| lines.insert(7, lines[7].clone()));
    assert_eq!(altered_at(&place.verify()), Some(8));
    fs::write(&place.segments()[0], &text).unwrap();
    place.change(0, |lines| lines.swap(7, 8));
    assert_eq!(altered_at(&place.verify()), Some(7));
}

/// Makes the chain right again after a change, as an attacker would who knows the format.
fn chain_again(lines: &mut [String], from: usize) {
    for at in from..lines.len() {
        let prev = hex::text(&tree::leaf_hash(lines[at - 1].as_bytes()));
        lines[at].replace_range(9..73, &prev);
    }
}

#[test]
fn a_tail_that_is_chained_again_is_found() {
    let place = Place::new();
    place.write(0..20);
    place.change(0, |lines| {
        lines[8] = lines[8].replace("allowed", "denied");
        chain_again(lines, 9);
    });
    let LogVerdict::Altered { line: None, what, .. } = place.verify().verdict else {
        panic!("it is not found")
    };
    assert!(what.contains("checkpoint"), "{what}");
    assert!(matches!(place.try_open(), Err(OpenError::Altered { .. })), "and it is not continued");
}

/// An attacker without the key removes old segments, and writes the entry that would explain it.
#[test]
fn a_retention_that_is_not_signed_explains_nothing() {
    let mut place = Place::new();
    place.rules = SegmentRules { size: 1024, ..place.rules };
    place.write(0..20);
    let segments = place.segments();
    let (last, old) = segments.split_last().unwrap();
    for path in old {
        fs::remove_file(path).unwrap();
        fs::remove_file(path.with_extension("checkpoints")).unwrap();
    }
    let first: u64 = last.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    place.change(0, |lines| {
        let sequence = first + u64::try_from(lines.len()).unwrap();
        let prev = "0".repeat(64);
        lines.push(format!(
            r#"{{"prev":"{prev}","seq":{sequence},"kind":"retention","time":"","below":{first}}}"#
        ));
        let end = lines.len() - 1;
        chain_again(lines, end);
    });
    assert_eq!(altered_at(&place.verify()), Some(first));
}

#[test]
fn complete_segments_without_checkpoints_are_found() {
    let mut place = Place::new();
    place.rules = SegmentRules { size: 1024, ..place.rules };
    place.write(0..20);
    assert_eq!(place.verify().verdict, LogVerdict::Intact);
    for path in place.segments() {
        fs::remove_file(path.with_extension("checkpoints")).unwrap();
    }
    assert_eq!(altered_at(&place.verify()), Some(0));
}

/// Damage of the first line after retention is a verdict, not a panic.
#[test]
fn a_damaged_beginning_after_retention_is_found() {
    let mut place = Place::new();
    place.rules = SegmentRules { size: 1024, keep: Some(Duration::ZERO), ..place.rules };
    place.write(0..20);
    let first = place.segments()[0].clone();
    place.write_until_removed(20..40, &first);
    place.change(0, |lines| lines[0].insert(1, ' '));
    assert_eq!(altered_at(&place.verify()), Some(place.verify().first));
}

#[test]
fn a_missing_end_is_found() {
    let place = Place::new();
    place.write(0..20);
    place.change(0, |lines| lines.truncate(10));
    assert!(matches!(place.verify().verdict, LogVerdict::Truncated { found: 10, .. }));
    assert!(
        matches!(place.try_open(), Err(OpenError::Truncated { found: 10, .. })),
        "and it is not continued"
    );
    // An attacker who also removes the checkpoints is found by those elsewhere.
    let checkpoints = place.segments()[0].with_extension("checkpoints");
    fs::remove_file(checkpoints).unwrap();
    assert_eq!(place.verify().verdict, LogVerdict::Intact);
    assert!(matches!(place.verify_with_known().verdict, LogVerdict::Truncated { found: 10, .. }));
    assert!(matches!(place.try_open(), Err(OpenError::Truncated { .. })));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn an_earlier_copy_of_the_directory_is_found() {
    let place = Place::new();
    place.write(0..10);
    let copied = place.dir.path().join("copy");
    copy(&place.log(), &copied);
    place.write(10..20);
    fs::remove_dir_all(place.log()).unwrap();
    copy(&copied, &place.log());
    assert_eq!(place.verify().verdict, LogVerdict::Intact, "in itself, it is whole");
    assert!(matches!(place.verify_with_known().verdict, LogVerdict::Truncated { .. }));
    assert!(matches!(place.try_open(), Err(OpenError::Truncated { .. })));
}

#[test]
fn a_segment_that_is_exchanged_for_an_older_copy_is_found() {
    let mut place = Place::new();
    place.write(0..5);
    let older = fs::read(&place.segments()[0]).unwrap();
    place.write(5..10);
    place.rules.size = 1;
    place.write(10..12);
    assert_eq!(place.verify().verdict, LogVerdict::Intact);
    fs::write(&place.segments()[0], older).unwrap();
    assert_eq!(altered_at(&place.verify()), Some(6));
    fs::remove_file(&place.segments()[1]).unwrap();
    assert_eq!(altered_at(&place.verify()), Some(6));
}

#[test]
fn a_checkpoint_by_another_key_is_found() {
    let place = Place::new();
    place.write(0..10);
    let forger = CheckpointSigner::from_pem(&CheckpointSigner::new_pem().unwrap(), None).unwrap();
    let path = place.segments()[0].with_extension("checkpoints");
    let genuine = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{genuine}{}\n", forger.sign(3, [1; 32]))).unwrap();
    let LogVerdict::Altered { what, .. } = place.verify().verdict else { panic!("it is not found") };
    assert!(what.contains("known key"), "{what}");
    // A key of the same name signs with another id.
    let forger = CheckpointSigner::from_pem(
        &CheckpointSigner::new_pem().unwrap(),
        Some(place.signer.public().origin()),
    );
    fs::write(&path, format!("{genuine}{}\n", forger.unwrap().sign(3, [1; 32]))).unwrap();
    assert!(matches!(place.verify().verdict, LogVerdict::Altered { .. }));
}

#[test]
fn two_processes_do_not_share_a_directory() {
    let place = Place::new();
    let first = place.try_open().unwrap();
    assert!(matches!(place.try_open(), Err(OpenError::Locked(_))));
    assert_eq!(owner(&place.log()).as_deref(), Some("a test"));
    first.stop(PATIENCE);
    assert_eq!(owner(&place.log()), None);
    assert!(place.try_open().unwrap().stop(PATIENCE));
}

/// A kill, or a power failure, may leave any part of what was not yet durable.
#[test]
fn a_log_that_ends_at_any_byte_is_continued() {
    let place = Place::new();
    // Lines without a checkpoint: those of a process that was killed.
    let log = place.try_open().unwrap();
    (0..4).for_each(|number| assert!(record(&log, number)));
    let (segment, text) = (place.segments()[0].clone(), fs::read(&place.segments()[0]).unwrap());
    log.stop(PATIENCE);
    drop(log);
    let checkpoints = segment.with_extension("checkpoints");
    for end in 0..=text.len() {
        let rest = Place { dir: memory(), signer: Arc::clone(&place.signer), ..place };
        fs::create_dir_all(rest.log()).unwrap();
        let copied = rest.log().join(segment.file_name().unwrap());
        fs::write(&copied, &text[..end]).unwrap();
        let log = rest.try_open().unwrap();
        let whole = text[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
        assert_eq!(log.cut(), (end - whole) as u64);
        assert!(record(&log, 99));
        log.stop(PATIENCE);
        let verification = rest.verify_with_known();
        assert_eq!(verification.verdict, LogVerdict::Intact, "{end}");
        assert!(fs::read(&copied).unwrap().starts_with(&text[..whole]), "{end}");
    }
    // The same with checkpoints: here a missing line is an attack, wherever the end is.
    let signed = fs::read(&checkpoints).unwrap();
    for end in 0..signed.len() {
        fs::write(&checkpoints, &signed[..end]).unwrap();
        let place = Place { dir: memory(), signer: Arc::clone(&place.signer), ..place };
        copy(segment.parent().unwrap(), &place.log());
        place.write(99..100);
        assert_eq!(place.verify().verdict, LogVerdict::Intact, "{end}");
    }
}

#[test]
fn a_proof_needs_only_itself_and_the_key() {
    let mut place = Place::new();
    place.rules.size = 2048;
    place.write(0..50);
    for number in [0, 1, 17, 49] {
        let proof = prove(&place.log(), &LineChoice::Number(number)).unwrap();
        let read: LineProof = proof.to_string().parse().unwrap();
        assert_eq!(read, proof);
        assert!(read.check(&place.keys()).unwrap().size > number);
        let other = CheckpointSigner::from_pem(&CheckpointSigner::new_pem().unwrap(), None).unwrap();
        assert!(matches!(read.check(&[other.public().clone()]), Err(LineProofFault::Checkpoint(_))));
        let forged = LineProof { line: read.line.replace("seq", "sec"), ..read.clone() };
        assert_eq!(forged.check(&place.keys()), Err(LineProofFault::Line));
        let moved = LineProof { number: number + 1, ..read };
        assert_eq!(moved.check(&place.keys()), Err(LineProofFault::Line));
    }
    let id = format!("{:032x}", 21);
    let proof = prove(&place.log(), &LineChoice::of(&id)).unwrap();
    assert!(proof.line.contains("prompt:t-21"), "{}", proof.line);
    assert!(matches!(prove(&place.log(), &LineChoice::of("9999")), Err(LineProofError::Unknown(_))));
    assert!(matches!(prove(&place.log(), &LineChoice::of(&"f".repeat(32))), Err(LineProofError::Unknown(_))));
}

#[test]
fn entries_are_chosen_by_their_members() {
    let place = Place::new();
    place.write(0..30);
    let chosen = |members: &[(&str, &str)]| {
        let members = members.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut found = Vec::new();
        let filter = EntryFilter { members, ..EntryFilter::default() };
        let take = |_: &str, entry: &serde_json::Value| {
            found.push(entry["seq"].as_u64().unwrap());
            std::ops::ControlFlow::Continue(())
        };
        scan(&place.log(), 0, &filter, take).unwrap();
        found
    };
    assert_eq!(chosen(&[("target", "t-7")]), [8]);
    assert_eq!(chosen(&[("target", "prompt:t-7")]), [8]);
    assert_eq!(chosen(&[("outcome", "denied")]).len(), 10);
    assert_eq!(chosen(&[("outcome", "denied"), ("target", "t-7")]), [0; 0]);
    assert_eq!(chosen(&[("seq", "5")]), [5]);
    assert_eq!(last_lines(&place.log(), 2).unwrap().1, 31);
}

/// A directory without write permission does not stop root, so another directory is put in its place.
#[test]
fn a_disk_that_is_gone_denies_and_recovers() {
    let place = Place::new();
    let log = place.try_open().unwrap();
    assert!(record(&log, 0));
    // A checkpoint that is being written would be left in the mount point.
    await_that("there is no checkpoint", || {
        place.segments()[0].with_extension("checkpoints").metadata().is_ok()
    });
    let away = place.dir.path().join("away");
    fs::rename(place.log(), &away).unwrap();
    // The mount point of the disk.
    fs::create_dir(place.log()).unwrap();
    let waiting = log.append_durably(br#"{"kind":"decision","time":"","id":"1"}"#, log.reserve());
    await_that("it is not noticed", || !log.is_available());
    assert!(log.reserve().is_none());
    fs::remove_dir(place.log()).unwrap();
    fs::rename(&away, place.log()).unwrap();
    assert!(tokio_wait(waiting), "it is not lost");
    await_that("it does not recover", || log.is_available());
    assert!(record(&log, 2));
    log.stop(PATIENCE);
    assert_eq!(place.verify_with_known().verdict, LogVerdict::Intact);
    let text = fs::read_to_string(&place.segments()[0]).unwrap();
    assert!(text.contains(r#""kind":"recovered""#), "{text}");
}

/// A segment that is removed while the directory stays is followed by the next one, and its lines are missing.
#[test]
fn a_segment_that_disappears_is_followed_by_another() {
    let place = Place::new();
    let log = place.try_open().unwrap();
    (0..3).for_each(|number| assert!(record(&log, number)));
    fs::remove_file(&place.segments()[0]).unwrap();
    (3..6).for_each(|number| assert!(record(&log, number)));
    log.stop(PATIENCE);
    assert!(place.segments()[0].ends_with("00000000000000000004.jsonl"));
    assert_eq!(altered_at(&place.verify()), Some(4));
}

/// A kill in the middle of a checkpoint elsewhere, in a file to which Witgate may only append.
#[test]
fn an_incomplete_checkpoint_elsewhere_does_no_harm() {
    let place = Place::new();
    // Each stop signs a checkpoint; whether there are further ones is a matter of time.
    place.write(0..3);
    place.write(3..4);
    let whole = fs::read(place.elsewhere()).unwrap();
    let begin = whole.windows(2).take(whole.len() - 2).rposition(|end| end == b"\n\n");
    for end in begin.unwrap() - 100..whole.len() {
        let rest = Place { dir: memory(), signer: Arc::clone(&place.signer), ..place };
        copy(&place.log(), &rest.log());
        fs::write(rest.elsewhere(), &whole[..end]).unwrap();
        rest.write(4..5);
        let verification = rest.verify_with_known();
        assert_eq!(verification.verdict, LogVerdict::Intact, "{end}");
    }
}

/// A pipe that nobody reads, as a disk that hangs.
#[test]
fn a_place_elsewhere_that_hangs_delays_nothing() {
    let place = Place::new();
    let made = std::process::Command::new("mkfifo").arg(place.elsewhere()).status();
    assert!(made.unwrap().success());
    let log = place.try_open().unwrap();
    let began = Instant::now();
    for number in 0..20 {
        assert!(record(&log, number));
        log.checkpoint();
    }
    assert!(log.is_available() && began.elapsed() < PATIENCE);
    // Less than the place gets for what waits.
    assert!(log.stop(Duration::from_secs(2)), "the log itself is written");
    assert_eq!(place.verify().verdict, LogVerdict::Intact);
}

#[test]
fn a_write_that_hangs_makes_the_log_unavailable_in_time() {
    let started = Instant::now().checked_sub(Duration::from_secs(60));
    let state = LogState { started, ..LogState::default() };
    assert!(state.is_available());
    state.writing_since.store(state.now() - 1000, Ordering::Relaxed);
    assert!(state.is_available());
    state.writing_since.store(state.now() - 2100, Ordering::Relaxed);
    assert!(!state.is_available());
    state.end_write();
    assert!(state.is_available());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A change of any byte of a signed log is found.
    #[test]
    fn no_byte_can_be_changed(at in any::<prop::sample::Index>(), by in 1_u8..=255) {
        let place = Place::new();
        place.write(0..12);
        let path = &place.segments()[0];
        let mut text = fs::read(path).unwrap();
        let at = at.index(text.len());
        text[at] ^= by;
        fs::write(path, text).unwrap();
        prop_assert_ne!(place.verify().verdict, LogVerdict::Intact);
    }
}

/// The processor time of this process, in seconds.
fn processor_time() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // The 14th and 15th field, in ticks of 10 ms.
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

/// The goal, a million lines a second, is for a release build: `cargo test --release -p witgate-audit -- --ignored --nocapture`.
#[test]
#[ignore = "it measures"]
fn a_million_lines_are_verified() {
    let place = Place::new();
    let (mut chain, mut lines) = (line::ChainState::default(), line::MarkedLines::default());
    let header = segment::SegmentHeader::new(&chain, place.signer.public().to_string(), time_text());
    chain.write(&serde_json::to_vec(&header).unwrap(), &mut lines);
    let entry = format!(r#"{{"kind":"decision","time":"{}","filler":"{}"}}"#, time_text(), "x".repeat(250));
    (0..1_000_000).for_each(|_| chain.write(entry.as_bytes(), &mut lines));
    fs::create_dir_all(place.log()).unwrap();
    fs::write(place.log().join("00000000000000000000.jsonl"), lines.bytes()).unwrap();
    let began = Instant::now();
    let verification = verify(&place.log(), &[place.signer.public().clone()], &[]);
    assert_eq!((verification.verdict, verification.lines), (LogVerdict::Intact, 1_000_001));
    eprintln!("{:.0} lines a second", 1e6 / began.elapsed().as_secs_f64());
}

/// The goal is two microseconds of processor time, with the serialization, for a release build.
#[test]
#[ignore = "it measures"]
fn a_million_entries_are_appended() {
    let place = Place::new();
    let (directory, signer) = (place.log(), Arc::clone(&place.signer));
    let (rules, owner) = (SegmentRules { size: u64::MAX, ..place.rules }, String::new());
    let (sync, checkpoint_to, network) = (SyncMode::Batched, Vec::new(), None);
    let settings = LogSettings { directory, signer, sync, rules, checkpoint_to, network, owner };
    let log = AuditLog::open(settings).unwrap();
    let entry = format!(r#"{{"kind":"decision","time":"{}","filler":"{}"}}"#, time_text(), "x".repeat(250));
    let began = processor_time();
    for number in 0..1_000_000 {
        let place = log.reserve();
        log.append(entry.as_bytes(), place);
        // As fast as they are written, so that none is lost.
        if number % 1000 == 0 {
            await_that("they are not written", || log.waiting() < 1000);
        }
    }
    log.stop(PATIENCE);
    assert_eq!(log.lost(), 0);
    eprintln!("{:.2} µs of processor time an entry", processor_time() - began);
}
