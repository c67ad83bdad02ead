use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::OwnedFd;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::*;

const LONG: Duration = Duration::from_secs(20);

fn start(most: usize) -> (PipeReader, LineWriter) {
    let (reader, writer) = io::pipe().unwrap();
    (reader, start_to(writer, most))
}

fn start_to(writer: PipeWriter, most: usize) -> LineWriter {
    let output = Arc::new(SharedOutput::new(OwnedFd::from(writer)));
    let notice = |lost| format!("lost {lost}\n").into_bytes();
    LineWriter::start("test", output, most, notice).unwrap()
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

/// Fills a pipe with empty lines, so that nothing of it is accepted later. Returns their number.
fn fill(pipe: &PipeWriter) -> usize {
    let flags = fcntl_getfl(pipe).unwrap();
    fcntl_setfl(pipe, flags | OFlags::NONBLOCK).unwrap();
    let filled: usize = std::iter::from_fn(|| (&*pipe).write(&[b'\n'; 4096]).ok()).sum();
    fcntl_setfl(pipe, flags).unwrap();
    filled
}

#[test]
fn a_stalled_reader_delays_no_writer_and_gets_the_number_of_lost_lines() {
    let (reader, writer) = io::pipe().unwrap();
    let before = fill(&writer);
    let lines = start_to(writer, 10);
    let begun = Instant::now();
    for i in 0..1000 {
        lines.write(format!("{i:04} {}\n", "x".repeat(994)).as_bytes());
    }
    // Less than the time that each line waits for another writer.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(lines.place().is_none() && !lines.flush(Duration::from_millis(50)));
    assert_eq!(lines.lost().get(), 990, "each of the others has a place");
    let reading = thread::spawn(move || read(reader));
    assert!(lines.flush(LONG) && lines.place().is_some());
    lines.write(b"again\n");
    drop(lines);
    let all = reading.join().unwrap();
    let lines_read: Vec<_> = all.lines().skip(before).collect();
    assert_eq!(lines_read.len(), 12, "{lines_read:?}");
    assert!(lines_read.iter().take(10).enumerate().all(|(i, line)| line.starts_with(&format!("{i:04} x"))));
    assert_eq!(lines_read[10..], ["lost 990", "again"]);
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

fn to_file(most: usize) -> (tempfile::NamedTempFile, Arc<LineWriter>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = Arc::new(SharedOutput::new(file.reopen().unwrap().into()));
    let lines = LineWriter::start("test", output, most, |lost| format!("lost {lost}\n").into()).unwrap();
    lines.set_batched(true);
    (file, Arc::new(lines))
}

/// Runs `work` on a worker, which sleeps after that.
fn on_a_worker<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let workers = Arc::new(crate::workers::Workers::start(flush_batches).unwrap());
        let seat = workers.seat().unwrap();
        seat.runtime().unwrap().spawn(async { work() }).await.unwrap()
    })
}

fn await_content(file: &tempfile::NamedTempFile, expected: &str) {
    let begun = Instant::now();
    while std::fs::read_to_string(file.path()).unwrap() != expected {
        assert!(begun.elapsed() < LONG, "{:?}", std::fs::read_to_string(file.path()));
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_worker_gathers_lines_until_it_sleeps() {
    let (file, lines) = to_file(10);
    let (path, writer) = (file.path().to_owned(), Arc::clone(&lines));
    let written = on_a_worker(move || {
        (0..3).for_each(|i| writer.write(format!("{i}\n").as_bytes()));
        std::fs::read_to_string(path).unwrap()
    });
    assert_eq!(written, "");
    await_content(&file, "0\n1\n2\n");
    // The places of those lines are free again.
    assert!((0..10).all(|_| lines.place().is_some()) && lines.lost().get() == 0);
}

#[test]
fn a_worker_writes_many_lines_before_it_sleeps_and_none_in_parts() {
    let (file, lines) = to_file(1000);
    let path = file.path().to_owned();
    let written = on_a_worker(move || {
        (0..100).for_each(|i| lines.write(format!("{i:0999}\n").as_bytes()));
        std::fs::read_to_string(path).unwrap()
    });
    assert_eq!(written.len(), 6 * 16_000);
    let expected: String = (0..100).map(|i| format!("{i:0999}\n")).collect();
    await_content(&file, &expected);
}

#[test]
fn a_batch_for_a_pipe_is_written_in_one_piece_and_waits_where_nobody_reads() {
    let (reader, lines) = start(1000);
    lines.set_batched(true);
    let lines = Arc::new(lines);
    let writer = Arc::clone(&lines);
    // The lines are more than the pipe accepts.
    on_a_worker(move || (0..300).for_each(|i| writer.write(format!("{i:0999}\n").as_bytes())));
    let reading = thread::spawn(move || read(reader));
    assert!(lines.flush(LONG));
    drop(lines);
    let expected: String = (0..300).map(|i| format!("{i:0999}\n")).collect();
    assert_eq!(reading.join().unwrap(), expected);
}

#[test]
fn lines_of_a_lost_batch_are_counted_one_by_one() {
    let (reader, lines) = start(50);
    lines.set_batched(true);
    drop(reader);
    let lines = Arc::new(lines);
    let writer = Arc::clone(&lines);
    on_a_worker(move || (0..60).for_each(|_| writer.write(b"nobody reads this\n")));
    let (lost, begun) = (lines.lost(), Instant::now());
    while !lines.is_failing() {
        assert!(begun.elapsed() < LONG);
        thread::sleep(Duration::from_millis(1));
    }
    drop(lines);
    while lost.get() < 60 {
        assert!(begun.elapsed() < LONG, "{}", lost.get());
        thread::sleep(Duration::from_millis(1));
    }
}
