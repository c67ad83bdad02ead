//! Starts with a directory that somebody has changed: what is not signed is not continued, and stays as it is.

use std::collections::BTreeMap;

use super::*;

/// The files of a directory with their content.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| !path.ends_with("lock"))
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect()
}

/// Expects that the log is not continued, and that nothing in its directory has changed.
#[track_caller]
fn assert_refused(place: &Place) {
    let before = files(&place.log());
    assert!(
        matches!(place.try_open(), Err(OpenError::Altered { .. } | OpenError::Truncated { .. })),
        "it is continued"
    );
    assert_eq!(files(&place.log()), before, "the evidence is changed");
}

fn append(path: &Path, text: &str) {
    let before = fs::read_to_string(path).unwrap_or_default();
    fs::write(path, format!("{before}{text}")).unwrap();
}

fn own_checkpoints(place: &Place) -> PathBuf {
    place.segments().last().unwrap().with_extension("checkpoints")
}

#[test]
fn a_checkpoint_that_is_not_signed_is_refused() {
    let place = Place::new();
    place.write(0..5);
    let forger = CheckpointSigner::from_pem(
        &CheckpointSigner::new_pem().unwrap(),
        Some(place.signer.public().origin()),
    );
    let forged = format!("{}\n", forger.unwrap().sign(3, [1; 32]));
    for path in [own_checkpoints(&place), place.elsewhere()] {
        let genuine = fs::read_to_string(&path).unwrap();
        // The last body and its signature.
        let mut parts = genuine.trim_end().rsplit("\n\n");
        let (signature, body) = (parts.next().unwrap(), parts.next().unwrap());
        let note = format!("{body}\n\n{signature}\n\n");
        for added in [forged.clone(), "junk\n\njunk\n\n".to_owned(), note.replacen("\n6\n", "\n5\n", 1)] {
            append(&path, &added);
            assert_refused(&place);
            // A genuine one after it makes it no better.
            append(&path, &note);
            assert_refused(&place);
            fs::write(&path, &genuine).unwrap();
        }
    }
    place.write(5..6);
    assert_eq!(place.verify_with_known().verdict, LogVerdict::Intact);
}

/// An attacker who cuts off the end hides the last checkpoint elsewhere behind others.
#[test]
fn a_missing_end_is_not_hidden_by_what_follows_its_checkpoint() {
    let place = Place::new();
    place.write(0..5);
    let early = fs::read_to_string(place.elsewhere()).unwrap();
    let copied = place.dir.path().join("copy");
    copy(&place.log(), &copied);
    place.write(5..10);
    fs::remove_dir_all(place.log()).unwrap();
    copy(&copied, &place.log());
    let genuine = fs::read_to_string(place.elsewhere()).unwrap();
    let torn = format!("{}\n\n", place.signer.public().origin());
    for hidden in [early.repeat(100), torn.repeat(1000)] {
        fs::write(place.elsewhere(), format!("{genuine}{hidden}")).unwrap();
        assert_refused(&place);
    }
}

#[test]
fn missing_first_lines_without_a_signature_are_refused() {
    let mut place = Place::new();
    place.rules = SegmentRules { size: 1024, ..place.rules };
    place.write(0..20);
    let segments = place.segments();
    let (last, old) = segments.split_last().unwrap();
    for path in old.iter().chain([last]) {
        fs::remove_file(path.with_extension("checkpoints")).unwrap();
    }
    fs::remove_file(place.elsewhere()).unwrap();
    old.iter().for_each(|path| fs::remove_file(path).unwrap());
    assert_refused(&place);
    // Without any line, it cannot be what a kill in the middle of a rotation has left.
    fs::write(last, "").unwrap();
    assert_refused(&place);
}

/// The tree at the beginning of a segment is compared with the checkpoint before it.
#[test]
fn a_forged_beginning_is_refused() {
    let mut place = Place::new();
    place.rules = SegmentRules { size: 1024, ..place.rules };
    place.write(0..20);
    let segments = place.segments();
    let last = segments.len() - 1;
    fs::remove_file(segments[last].with_extension("checkpoints")).unwrap();
    fs::remove_file(place.elsewhere()).unwrap();
    place.change(last, |lines| {
        let at = lines[0].find("\"tree\":[\"").unwrap() + 9;
        let other = if lines[0].as_bytes()[at] == b'0' { "1" } else { "0" };
        lines[0].replace_range(at..=at, other);
        chain_again(lines, 1);
    });
    assert_refused(&place);
}

/// A file with the largest number that a name can have.
#[test]
fn a_planted_segment_is_no_end_of_the_world() {
    for number in [u64::MAX, u64::MAX - 1, 1 << 62] {
        for text in ["", "{}\n", &header(number)] {
            let place = Place::new();
            place.write(0..5);
            fs::write(place.log().join(format!("{number:020}.jsonl")), text).unwrap();
            assert_ne!(place.verify().verdict, LogVerdict::Intact);
            let all = |_: &str, _: &serde_json::Value| std::ops::ControlFlow::Continue(());
            scan(&place.log(), 0, &EntryFilter::default(), all).unwrap();
            last_lines(&place.log(), 3).unwrap();
            assert!(prove(&place.log(), &LineChoice::Number(number)).is_err());
            match text {
                // It looks as a kill in the middle of a rotation does.
                "" => place.write(5..6),
                _ => assert_refused(&place),
            }
        }
    }
}

/// The first line of a segment that begins with the line `number`.
fn header(number: u64) -> String {
    let (prev, key) = ("0".repeat(64), "k");
    let tree = vec![prev.clone(); number.count_ones() as usize];
    let tree = serde_json::to_string(&tree).unwrap();
    format!(
        r#"{{"prev":"{prev}","seq":{number},"kind":"segment","time":"","format":1,"key":"{key}","tree":{tree}}}"#
    ) + "\n"
}
