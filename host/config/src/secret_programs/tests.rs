//! Programs that print secrets: good ones, and those that hang, print too much, or are not safe to run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;

use super::run::print;
use super::{SecretProgram, SecretPrograms, SecretSupplier};

fn script(folder: &Path, text: &str) -> String {
    let path = folder.join("program");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    "./program".to_owned()
}

/// The variables of Witgate.
fn variable(name: &str) -> Option<&'static str> {
    [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("STRAY", "stray"), ("TOKEN", "sesame")]
        .into_iter()
        .find(|(other, _)| *other == name)
        .map(|(_, value)| value)
}

fn program(folder: &Path, text: &str, ttl: u64) -> SecretProgram {
    let argv = [script(folder, text), "argument".to_owned()];
    let passed = ["TOKEN".to_owned()];
    SecretProgram::new(&argv, Duration::from_secs(ttl), folder, variable, &passed).unwrap()
}

fn supplier(folder: &Path, text: &str, ttl: u64) -> SecretSupplier {
    SecretSupplier::Program(program(folder, text, ttl))
}

/// The output, or the reason why there is none.
fn outcome(folder: &Path, text: &str) -> Result<String, String> {
    program(folder, text, 60).run().map(|secret| secret.expose_secret().to_owned())
}

#[test]
fn a_program_prints_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let said =
        outcome(folder.path(), "echo \"$1 $TOKEN $STRAY\"; echo noise >&2; read -r input; echo \"$input\"");
    assert_eq!(said.as_deref(), Ok("argument sesame "));
    let here = outcome(folder.path(), "pwd").unwrap();
    assert_eq!(Path::new(&here).canonicalize().unwrap(), folder.path().canonicalize().unwrap());
    let missing =
        SecretProgram::new(&["x".into()], Duration::ZERO, folder.path(), variable, &["EMPTY".into()]);
    assert_eq!(missing.err().as_deref(), Some("EMPTY"));
}

#[test]
fn a_program_without_a_usable_output_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (text, reason) in [
        ("echo sesame; exit 3", "it failed (exit status: 3)"),
        ("echo sesame; kill -9 $$", "it failed (signal: 9 (SIGKILL))"),
        ("exit 0", "its output is empty"),
        ("echo", "its output is empty"),
        ("printf 'sesame\\377'", "its output is not text in UTF-8"),
        ("head -c 65537 /dev/zero", "its output has more than 65536 bytes"),
        ("yes sesame", "its output has more than 65536 bytes"),
    ] {
        assert_eq!(outcome(folder.path(), text).unwrap_err(), reason, "{text}");
    }
    assert_eq!(outcome(folder.path(), "head -c 65536 /dev/zero | tr '\\0' x").unwrap().len(), 65536);
}

#[test]
fn a_program_that_hangs_is_killed_with_its_group() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    for text in ["sleep 60 & echo $! >mark; sleep 60", "exec >&-; sleep 60 & echo $! >mark; sleep 60"] {
        script(folder.path(), text);
        let path = folder.path().join("program");
        let began = Instant::now();
        let variables = [("PATH", "/usr/bin:/bin")].into_iter();
        let late = print((&path, &path), &[], variables, folder.path(), Duration::from_millis(500));
        assert!(late.unwrap_err().starts_with("it took more than 500ms"));
        assert!(began.elapsed() < Duration::from_secs(30));
        let left = fs::read_to_string(&mark).unwrap();
        let stat = || fs::read_to_string(format!("/proc/{}/stat", left.trim())).unwrap_or_default();
        // A killed process may need a moment of a busy processor to end.
        while !stat().is_empty() && !stat().contains(") Z ") {
            assert!(began.elapsed() < Duration::from_secs(60), "{}", stat());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_process_that_is_left_behind_does_not_delay_the_secret() {
    let folder = tempfile::tempdir().unwrap();
    let began = Instant::now();
    assert_eq!(outcome(folder.path(), "sleep 60 & echo sesame").as_deref(), Ok("sesame"));
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_program_that_others_can_replace_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let program = program(&inner, "echo sesame", 60);
    assert!(program.run().is_ok());
    open(&inner.join("program"), 0o702);
    assert_eq!(program.run().unwrap_err(), "users other than its owner can write it");
    open(&inner.join("program"), 0o600);
    assert_eq!(program.run().unwrap_err(), "it is not a file that may be executed");
    open(&inner.join("program"), 0o700);
    for (place, mode, is_safe) in [
        (&*inner, 0o703, false),
        (&inner, 0o1703, false),
        (folder.path(), 0o703, false),
        (folder.path(), 0o1703, true),
    ] {
        open(place, mode);
        let run = program.run();
        assert_eq!(run.is_ok(), is_safe, "{mode:o} {run:?}");
        open(place, 0o700);
    }
    let elsewhere = folder.path().join("link");
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(inner.join("program"), elsewhere.join("program")).unwrap();
    open(&elsewhere, 0o703);
    let named = ["../link/program".to_owned()];
    let linked = SecretProgram::new(&named, Duration::from_secs(9), &inner, variable, &[]).unwrap();
    assert!(linked.run().unwrap_err().contains("can write the directory"));
    // A link to a directory on the way is one, too.
    open(&elsewhere, 0o700);
    assert!(linked.run().is_ok());
    let way = folder.path().join("way");
    fs::create_dir(&way).unwrap();
    std::os::unix::fs::symlink("./../link/../link", way.join("there")).unwrap();
    let named = ["../way/there/program".to_owned()];
    let distant = SecretProgram::new(&named, Duration::from_secs(9), &inner, variable, &[]).unwrap();
    assert!(distant.run().is_ok());
    open(&way, 0o1703);
    let found = distant.run().unwrap_err();
    assert!(found.contains("can write the directory") && found.contains("/way`"), "{found}");
    open(&way, 0o700);
    open(&elsewhere, 0o703);
    assert!(distant.run().unwrap_err().contains("/link`"));
    // The file is the one that was checked, and it knows the name by which it was found.
    let named = "busy";
    std::os::unix::fs::symlink("/bin/sh", inner.join(named)).unwrap();
    let argv = [format!("./{named}"), "-c".to_owned(), "echo $0; readlink /proc/$$/exe".to_owned()];
    let shell = SecretProgram::new(&argv, Duration::from_secs(9), &inner, variable, &[]).unwrap();
    let said = shell.run().unwrap();
    let target = Path::new("/bin/sh").canonicalize().unwrap();
    let name = inner.join("./busy");
    assert_eq!(said.expose_secret(), format!("{}\n{}", name.display(), target.display()));
    let none = SecretProgram::new(&["no-such-program".into()], Duration::ZERO, &inner, variable, &[]);
    assert_eq!(none.unwrap().run().unwrap_err(), "it is not on PATH");
}

/// Waits until `is_so`, and tends the programs meanwhile.
fn tend_until(programs: &SecretPrograms, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(20));
        programs.tend();
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_secret_is_renewed_and_ends_with_its_lifetime() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    fs::write(&source, "first").unwrap();
    let program = supplier(folder.path(), "cat source", 2);
    let programs = SecretPrograms::default();
    let value = || programs.value(&program).map(|(value, _)| value.expose_secret().to_owned());
    assert_eq!(value().unwrap(), "first");
    let (_, lifetime) = programs.value(&program).unwrap();
    // The same value again is no change, and lives longer.
    let began = Instant::now();
    tend_until(&programs, || began.elapsed() > Duration::from_secs(3));
    assert!(programs.changes() == 0 && !lifetime.is_over());
    fs::write(&source, "second").unwrap();
    tend_until(&programs, || programs.changes() == 1);
    assert_eq!(value().unwrap(), "second");
    // A failure keeps the value until its lifetime is over.
    fs::remove_file(&source).unwrap();
    let (_, lifetime) = programs.value(&program).unwrap();
    tend_until(&programs, || {
        assert!(lifetime.is_over() || value().is_ok());
        programs.changes() == 2
    });
    let over = value().unwrap_err();
    assert!(lifetime.is_over() && over.message.contains("secret-expired"), "{}", over.message);
    fs::write(&source, "third").unwrap();
    tend_until(&programs, || programs.changes() == 3);
    assert_eq!(value().unwrap(), "third");
}

/// Policies would keep the value without limit if its end were not counted.
#[test]
fn a_lifetime_that_ends_during_a_run_that_fails_is_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    fs::write(&source, "first").unwrap();
    let program = supplier(folder.path(), "cat source", 60);
    let programs = SecretPrograms::default();
    let (_, lifetime) = programs.value(&program).unwrap();
    fs::remove_file(&source).unwrap();
    *lifetime.end.lock() = Instant::now();
    assert!(programs.run_beside(program.clone()));
    let began = Instant::now();
    while programs.changes() == 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "the end of the lifetime is no change");
        std::thread::sleep(Duration::from_millis(20));
    }
    let over = programs.value(&program).unwrap_err();
    assert!(
        over.message.contains("secret-expired") && over.message.contains("it failed"),
        "{}",
        over.message
    );
    programs.tend();
    assert_eq!(programs.changes(), 1, "it ends once");
}

#[test]
fn first_runs_are_side_by_side() {
    let folders: Vec<_> = (0..8).map(|_| tempfile::tempdir().unwrap()).collect();
    let slow = |folder: &tempfile::TempDir| supplier(folder.path(), "sleep 1; echo sesame", 60);
    let programs = SecretPrograms::default();
    let all: Vec<_> = folders.iter().map(slow).collect();
    let began = Instant::now();
    assert!(all.iter().all(|program| programs.begin(program) && programs.begin(program)));
    assert!(programs.await_first_runs());
    // One after the other, they take eight seconds.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    for program in &all {
        assert!(!programs.begin(program));
        assert_eq!(programs.value(program).unwrap().0.expose_secret(), "sesame");
    }
    assert_eq!(programs.changes(), 0, "nothing has to be read again");
}

#[test]
fn a_failed_program_is_not_run_again_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let program = supplier(folder.path(), "echo run >>runs; echo sesame; exit 1", 60);
    let programs = SecretPrograms::default();
    for _ in 0..3 {
        let missing = programs.value(&program).unwrap_err();
        assert!(
            missing.message.contains("it failed (exit status: 1)") && !missing.message.contains("sesame")
        );
    }
    assert_eq!(fs::read_to_string(folder.path().join("runs")).unwrap().lines().count(), 1);
    programs.forget_unasked(Instant::now());
    assert!(programs.value(&program).is_err());
    assert_eq!(fs::read_to_string(folder.path().join("runs")).unwrap().lines().count(), 2);
}
