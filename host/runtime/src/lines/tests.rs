use std::io::{PipeReader, Read as _};
use std::os::fd::OwnedFd;

use super::*;

const LONG: Duration = Duration::from_secs(20);

fn start(most: usize) -> (PipeReader, LineWriter) {
    let (reader, writer) = io::pipe().unwrap();
    let output = Arc::new(SharedOutput::new(OwnedFd::from(writer)));
    let notice = |lost| format!("lost {lost}\n").into_bytes();
    (reader, LineWriter::start("test", output, most, notice).unwrap())
}

fn read(mut reader: PipeReader) -> String {
    let mut all = String::new();
    reader.read_to_string(&mut all).unwrap();
    all
}

#[test]
fn lines_pass_a_full_pipe_whole_and_in_order() {
    let (reader, lines) = start(100_000);
    let reading = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        read(reader)
    });
    let expected: Vec<_> = (0..5000).map(|i| format!("{i} {}\n", "x".repeat(i * 7 % 6000))).collect();
    expected.iter().for_each(|line| lines.write(line.as_bytes()));
    assert!(lines.flush(LONG));
    assert_eq!(lines.lost().get(), 0);
    drop(lines);
    assert_eq!(reading.join().unwrap(), expected.concat());
}

#[test]
fn a_stalled_reader_delays_no_writer_and_gets_the_number_of_lost_lines() {
    let (reader, lines) = start(10);
    let begun = Instant::now();
    for i in 0..1000 {
        lines.write(format!("{i:04} {}\n", "x".repeat(994)).as_bytes());
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(lines.place().is_none() && !lines.flush(Duration::from_millis(50)));
    let lost = lines.lost().get();
    // A pipe takes 64 KiB, and one line more is in the thread's hand.
    assert!((900..985).contains(&lost), "{lost}");
    let reading = thread::spawn(move || read(reader));
    assert!(lines.flush(LONG) && lines.place().is_some());
    lines.write(b"again\n");
    drop(lines);
    let all = reading.join().unwrap();
    let lines_read: Vec<_> = all.lines().collect();
    assert_eq!(lines_read.len() as u64, 1000 - lost + 2, "{lines_read:?}");
    assert_eq!(lines_read[lines_read.len() - 2..], [format!("lost {lost}").as_str(), "again"]);
}

#[test]
fn a_line_is_written_before_the_call_returns_if_possible() {
    let (mut reader, lines) = start(10);
    for _ in 0..1000 {
        lines.write(b"a line\n");
        let mut read = [0; 7];
        assert_eq!(reader.read(&mut read).unwrap(), 7);
        assert_eq!(&read, b"a line\n");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = Arc::new(SharedOutput::new(file.reopen().unwrap().into()));
    let lines = LineWriter::start("test", output, 10, |_| Vec::new()).unwrap();
    for count in 1..100 {
        lines.write(&[b'x'; 10_000]);
        assert_eq!(file.as_file().metadata().unwrap().len(), count * 10_000);
    }
}

#[test]
fn a_failed_write_is_repeated() {
    let (reader, lines) = start(3);
    drop(reader);
    for _ in 0..5 {
        lines.write(b"nobody reads this\n");
    }
    while !lines.is_failing() {
        thread::sleep(Duration::from_millis(1));
    }
    assert!(lines.lost().get() >= 2);
}

#[test]
fn lines_of_two_writers_to_one_output_do_not_mix() {
    let (reader, writer) = io::pipe().unwrap();
    let output = Arc::new(SharedOutput::new(OwnedFd::from(writer)));
    let reading = thread::spawn(move || read(reader));
    let writing = ["a", "b", "c"].map(|name| {
        let output = Arc::clone(&output);
        thread::spawn(move || {
            let lines = LineWriter::start(name, output, 100_000, |_| Vec::new()).unwrap();
            (0..500).for_each(|i| lines.write(format!("{}\n", name.repeat(i * 37 % 9000)).as_bytes()));
            assert!(lines.flush(LONG));
        })
    });
    writing.into_iter().for_each(|thread| thread.join().unwrap());
    drop(output);
    let all = reading.join().unwrap();
    assert_eq!(all.lines().count(), 1500);
    assert!(all.lines().all(|line| line.bytes().all(|b| Some(b) == line.bytes().next())));
}
