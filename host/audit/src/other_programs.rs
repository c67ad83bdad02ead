//! Other programs on the files of a log: one that rotates them, and one that reads them.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use super::tests::{PATIENCE, Place, record};
use super::*;
use crate::verify::LogVerdict;

/// `logrotate` renames a file, and may create an empty one in its place.
#[test]
fn a_renamed_segment_gets_its_name_back_and_no_line_is_lost() {
    for is_created in [false, true] {
        let place = Place::new();
        let log = place.try_open().unwrap();
        (0..3).for_each(|number| assert!(record(&log, number)));
        let segment = place.segments()[0].clone();
        let rotated = segment.with_extension("jsonl.1");
        fs::rename(&segment, &rotated).unwrap();
        if is_created {
            fs::write(&segment, "").unwrap();
        }
        (3..6).for_each(|number| assert!(record(&log, number)));
        // Later it compresses and removes its file.
        fs::remove_file(&rotated).unwrap();
        (6..9).for_each(|number| assert!(record(&log, number)));
        assert!(log.stop(PATIENCE));
        let verification = place.verify_with_known();
        assert_eq!((verification.verdict, verification.lines), (LogVerdict::Intact, 10));
        assert_eq!(place.segments(), [segment]);
    }
}

/// A file to which one may only append has no further names, as every file of some file systems.
#[test]
fn a_renamed_segment_without_further_names_is_copied() {
    for is_created in [false, true] {
        let place = Place::new();
        let log = place.try_open().unwrap();
        (0..3).for_each(|number| assert!(record(&log, number)));
        let segment = place.segments()[0].clone();
        let rotated = segment.with_extension("jsonl.1");
        fs::rename(&segment, &rotated).unwrap();
        let chattr = |flag| std::process::Command::new("chattr").arg(flag).arg(&rotated).output();
        if !chattr("+a").is_ok_and(|output| output.status.success()) {
            eprintln!("SKIPPED: files cannot be made append-only here");
            assert!(log.stop(PATIENCE));
            return;
        }
        assert!(fs::hard_link(&rotated, segment.with_extension("link")).is_err());
        if is_created {
            fs::write(&segment, "").unwrap();
        }
        (3..6).for_each(|number| assert!(record(&log, number)));
        assert!(chattr("-a").unwrap().status.success());
        let other = fs::read(&rotated).unwrap();
        assert!(fs::read(&segment).unwrap().starts_with(&other), "it has the lines up to the rename");
        fs::remove_file(&rotated).unwrap();
        (6..9).for_each(|number| assert!(record(&log, number)));
        assert!(log.stop(PATIENCE));
        let verification = place.verify_with_known();
        assert_eq!((verification.verdict, verification.lines), (LogVerdict::Intact, 10));
        assert_eq!(place.segments(), [segment]);
    }
}

/// Without further entries, the name is back at the next checkpoint or at the stop.
#[test]
fn a_segment_that_is_renamed_last_has_its_name_after_the_stop() {
    let place = Place::new();
    let log = place.try_open().unwrap();
    assert!(record(&log, 0));
    let segment = place.segments()[0].clone();
    fs::rename(&segment, segment.with_extension("jsonl.1")).unwrap();
    assert!(log.stop(PATIENCE));
    assert_eq!(place.verify_with_known().verdict, LogVerdict::Intact);
}

/// `logrotate` with `copytruncate`: the lines are in its copy only. The log goes on, and does not hide that.
#[test]
fn a_truncated_segment_is_followed_by_another_and_its_loss_is_told() {
    let place = Place::new();
    let log = place.try_open().unwrap();
    (0..3).for_each(|number| assert!(record(&log, number)));
    let segment = place.segments()[0].clone();
    fs::copy(&segment, segment.with_extension("jsonl.1")).unwrap();
    fs::File::options().write(true).open(&segment).unwrap().set_len(0).unwrap();
    (3..6).for_each(|number| assert!(record(&log, number)));
    assert!(log.stop(PATIENCE));
    let verdict = place.verify_with_known().verdict;
    assert_ne!(verdict, LogVerdict::Intact);
    assert!(verdict.to_string().starts_with("altered at line"), "{verdict}");
    // The copy has what is missing: the log is whole again with it.
    fs::rename(segment.with_extension("jsonl.1"), &segment).unwrap();
    assert_eq!(place.verify_with_known().verdict, LogVerdict::Intact);
}

/// A program such as `vector` reads each segment from its last place to its end, again and again.
#[test]
fn a_reader_gets_every_line_once_while_segments_rotate() {
    let mut place = Place::new();
    place.rules.size = 2048;
    let log = place.try_open().unwrap();
    let is_over = AtomicBool::new(false);
    let read = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut read = BTreeMap::<_, Vec<u8>>::new();
            loop {
                let is_last = is_over.load(Ordering::Acquire);
                for path in place.segments() {
                    let content = fs::read(&path).unwrap();
                    let known = read.entry(path).or_default();
                    assert!(content.starts_with(known), "what was read does not change");
                    *known = content;
                }
                if is_last {
                    return read;
                }
            }
        });
        (0..100).for_each(|number| assert!(record(&log, number)));
        assert!(log.stop(PATIENCE));
        is_over.store(true, Ordering::Release);
        reader.join().unwrap()
    });
    let text = String::from_utf8(read.into_values().flatten().collect()).unwrap();
    assert!(place.segments().len() > 3);
    for number in 0..100 {
        assert_eq!(text.matches(&format!("prompt:t-{number}\"")).count(), 1, "{number}");
    }
    assert_eq!(place.verify().verdict, LogVerdict::Intact);
}
