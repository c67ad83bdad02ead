//! The removal of old segments, a disk that is slow, and checkpoints that cannot be written.

use std::fs::{File, FileTimes};
use std::time::SystemTime;

use super::*;

/// Waits until a condition holds.
#[track_caller]
pub(super) fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn set_times(paths: &[PathBuf], time: SystemTime) {
    for path in paths {
        let file = File::options().append(true).open(path).unwrap();
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
    }
}

/// A copy, a restored backup or `touch` changes the times of files.
#[test]
fn the_age_of_a_segment_is_that_of_its_lines() {
    let mut place = Place::new();
    place.rules = SegmentRules { size: 1024, ..place.rules };
    place.write(0..20);
    let old = place.segments();
    // As if it was written long ago.
    set_times(&old, SystemTime::UNIX_EPOCH);
    place.rules.keep = Some(Duration::from_secs(3600));
    place.write(20..40);
    let mut writer = writer(&place);
    assert!(writer.start_upkeep());
    // One that finds old lines waits for an approval.
    await_that("young lines are removed", || writer.start_upkeep());
    drop(writer);
    assert!(old.iter().all(|path| path.exists()), "young lines are removed");
    // As if it was written in a moment.
    let later = clock::system_time() + Duration::from_secs(7200);
    set_times(&place.segments(), later);
    place.rules.keep = Some(Duration::ZERO);
    let log = place.try_open().unwrap();
    (40..50).for_each(|number| assert!(record(&log, number)));
    await_that("old lines are kept", || !old[0].exists());
    assert!(log.stop(PATIENCE));
    assert_eq!(place.verify().verdict, LogVerdict::Intact);
}

/// The time since the start of a writer without its thread.
const AGE: Duration = Duration::from_secs(60);

/// The writer of the log of `place`, without its thread.
fn writer(place: &Place) -> LogWriter {
    let signer = Arc::clone(&place.signer);
    let found = recovery::open(&place.log(), &[], "a test", &[signer.public().clone()]).unwrap();
    LogWriter {
        state: Arc::new(LogState { started: Instant::now().checked_sub(AGE), ..LogState::default() }),
        store: LogFiles::new(place.log(), found, signer, Vec::new()).unwrap(),
        sync: SyncMode::BeforeAnswer,
        rules: place.rules,
        upkeep: Upkeep::new(place.log()),
        recovery: None,
        unsigned: None,
    }
}

/// A reload does not wait for further lines, nor for the next sign of life, which comes after a minute.
#[test]
fn a_running_writer_signs_whenever_it_is_asked() {
    let place = Place::new();
    let log = place.try_open().unwrap();
    assert!(record(&log, 0));
    let checkpoints = || place.verify_with_known().checkpoints;
    await_that("the line is not signed", || log.unsigned_for() == Duration::ZERO && checkpoints() >= 2);
    let before = checkpoints();
    let began = Instant::now();
    log.checkpoint();
    // One beside the log, and one elsewhere.
    await_that("it does not sign", || checkpoints() >= before + 2);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert!(log.stop(PATIENCE));
    assert_eq!(place.verify_with_known().verdict, LogVerdict::Intact);
}

#[test]
fn a_running_writer_gives_a_sign_of_life_and_signs_it() {
    let place = Place::new();
    let writer = writer(&place);
    let state = Arc::clone(&writer.state);
    let schedule = schedule::Schedule::idle_after(Instant::now(), Duration::from_millis(100));
    let running = thread::spawn(move || writer.run_by(schedule));
    let text = || fs::read_to_string(place.log().join("00000000000000000000.jsonl")).unwrap_or_default();
    await_that("there is no sign of life", || text().contains(r#""kind":"idle""#));
    await_that("it is not signed", || {
        let verification = verify(&place.log(), &[place.signer.public().clone()], &[]);
        verification.lines == 2 && verification.unsigned == 0
    });
    state.queue.end();
    running.join().unwrap();
}

/// A pipe that nobody writes, in place of an old segment, as a disk that does not answer.
#[test]
fn an_upkeep_that_hangs_is_told_and_delays_nothing() {
    let mut place = Place::new();
    place.rules.size = 1024;
    place.write(0..10);
    let old = place.segments()[0].clone();
    fs::rename(&old, place.dir.path().join("kept")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&old).status().unwrap().success());
    place.rules.compress = true;
    let mut writer = writer(&place);
    assert!(writer.start_upkeep());
    let now = Instant::now();
    assert!(!writer.upkeep.tell_if_hung(now + Duration::from_secs(59)));
    assert!(writer.upkeep.tell_if_hung(now + Duration::from_secs(62)));
    let progress = writer.upkeep.progress();
    assert_eq!(progress.fault(now), None);
    let fault = progress.fault(now + Duration::from_secs(62)).unwrap();
    assert!(fault.contains("has not answered for 6"), "{fault}");
    assert!(!writer.start_upkeep(), "one at a time");
    let entry = queue::EntryBatch::single(br#"{"kind":"decision","time":"","id":"1"}"#.to_vec());
    assert!(writer.persist(|store| store.append(&entry)));
    // The disk answers: the reader gets the whole segment.
    let mut answering = fs::OpenOptions::new().write(true).open(&old).unwrap();
    io::copy(&mut File::open(place.dir.path().join("kept")).unwrap(), &mut answering).unwrap();
    drop(answering);
    await_that("it does not go on", || !writer.upkeep.tell_if_hung(Instant::now() + Duration::from_secs(62)));
    assert_eq!(progress.fault(Instant::now() + Duration::from_secs(62)), None);
}

/// A directory in the place of a file is not removed by root, either.
#[test]
fn a_segment_that_cannot_be_removed_is_told_until_it_is() {
    let mut place = Place::new();
    place.rules.size = 1024;
    place.write(0..20);
    let stays = place.log().join("00000000000000000000.00000000.cosigned");
    fs::create_dir(&stays).unwrap();
    place.rules.keep = Some(Duration::ZERO);
    let log = place.try_open().unwrap();
    await_that("it is not told", || log.upkeep_fault().is_some());
    let fault = log.upkeep_fault().unwrap();
    assert!(fault.contains(stays.to_str().unwrap()) && fault.contains("cannot be removed"), "{fault}");
    assert!(log.is_available(), "entries are written all the same");
    assert!(log.stop(PATIENCE));
}

/// Meanwhile, calls were denied.
#[test]
fn a_disk_that_hangs_and_then_succeeds_is_recorded() {
    let place = Place::new();
    let mut writer = writer(&place);
    let state = Arc::clone(&writer.state);
    let entry = queue::EntryBatch::single(br#"{"kind":"decision","time":"","id":"1"}"#.to_vec());
    assert!(writer.persist(|store| {
        // As if this attempt had begun earlier.
        let deadline = u64::try_from(WRITE_DEADLINE.as_millis()).unwrap();
        state.writing_since.fetch_sub(deadline + 1, Ordering::Relaxed);
        assert!(!state.is_available(), "it is not noticed");
        store.append(&entry)
    }));
    writer.report_recovery();
    assert!(state.is_available());
    let text = fs::read_to_string(&place.segments()[0]).unwrap();
    assert!(text.contains(r#""kind":"recovered""#) && text.contains("did not answer"), "{text}");
}

#[test]
fn lines_without_checkpoints_make_the_log_unavailable_in_time() {
    let started = Instant::now().checked_sub(Duration::from_secs(120));
    let state = LogState { started, ..LogState::default() };
    state.unsigned_since.store(state.now() - 59_000, Ordering::Relaxed);
    state.note_unsigned();
    assert!(state.is_available());
    state.unsigned_since.store(state.now() - 61_000, Ordering::Relaxed);
    assert!(!state.is_available());
    assert!(state.note_signed() > SIGNATURE_DEADLINE);
    assert!(state.is_available());
}

#[test]
fn checkpoints_that_cannot_be_written_are_told_and_written_later() {
    let place = Place::new();
    place.write(0..1);
    // A directory in the place of a file is not written by root, either.
    fs::remove_file(place.elsewhere()).unwrap();
    fs::create_dir(place.elsewhere()).unwrap();
    let own = place.segments()[0].with_extension("checkpoints");
    let log = place.try_open().unwrap();
    let signed = fs::read(&own).unwrap();
    fs::remove_file(&own).unwrap();
    fs::create_dir(&own).unwrap();
    assert!(record(&log, 1));
    await_that("it is not told", || log.unsigned_for() > Duration::from_millis(1500));
    fs::remove_dir(&own).unwrap();
    fs::write(&own, signed).unwrap();
    await_that("it does not recover", || log.unsigned_for() == Duration::ZERO);
    await_that("a place elsewhere is not told", || log.failing_copies().len() == 1);
    fs::remove_dir(place.elsewhere()).unwrap();
    await_that("it does not recover", || {
        log.checkpoint();
        log.failing_copies().is_empty()
    });
    assert!(log.stop(PATIENCE));
    let verification = place.verify_with_known();
    assert_eq!((verification.verdict, verification.unsigned), (LogVerdict::Intact, 0));
}

/// Other programs read the segment to its end at any time.
#[test]
fn room_that_is_reserved_is_not_a_part_of_the_segment() {
    let place = Place::new();
    let log = place.try_open().unwrap();
    for number in 0..3 {
        assert!(record(&log, number));
        let text = fs::read_to_string(&place.segments()[0]).unwrap();
        assert!(text.ends_with("}\n") && !text.contains('\0'), "{text:?}");
    }
    assert!(log.stop(PATIENCE));
    // As after a kill: the room is still there.
    place.write(3..6);
    assert_eq!(place.verify().verdict, LogVerdict::Intact);
}
