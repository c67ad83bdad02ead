//! Files at the path of a component that are no components.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use witgate_tests::gateway::component;
use witgate_tests::hostile::Guest;

use super::is_clean;
use super::refusals::Gateway;
use crate::swap::rename_over;

/// A byte more than 64 MiB would do.
const LARGE: u64 = 70 << 20;

type Put = fn(&Path);

fn large(file: &Path) {
    let new = file.with_extension("new");
    fs::copy(component("tests/faulty"), &new).unwrap();
    File::options().append(true).open(&new).unwrap().set_len(LARGE).unwrap();
    fs::rename(new, file).unwrap();
}

fn pipe(file: &Path) {
    let new = file.with_extension("new");
    assert!(Command::new("mkfifo").arg(&new).status().unwrap().success());
    fs::rename(new, file).unwrap();
}

fn endless(file: &Path) {
    let new = file.with_extension("new");
    symlink("/dev/zero", &new).unwrap();
    fs::rename(new, file).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_component_is_refused() {
    let mut gateway = Gateway::new();
    let good = fs::read(component("tests/faulty")).unwrap();
    let with_rest = [good.as_slice(), b"\0\x7f\0\0\0\0"].concat();
    let bytes: [(&str, &[u8]); 8] = [
        ("an empty file", b""),
        ("half a component", &good[..good.len() / 2]),
        ("a component and half a section", &with_rest),
        ("a core module", b"\0asm\x01\0\0\0"),
        ("a component of the future", b"\0asm\x0e\0\x01\0"),
        ("its text", b"(component)"),
        ("a program", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"),
        ("escape codes", b"\x1b[2J\x1b]0;owned\x07"),
    ];
    for (name, content) in bytes {
        let why = gateway.refuses(name, |file| rename_over(file, content)).await;
        assert!(why.contains("is not a component") && is_clean(&why), "{name}: {why}");
        gateway.goes_on(name).await;
    }
    let why = gateway.refuses("a large file", large).await;
    assert!(why.contains("73400320 bytes; a component may have 67108864"), "{why}");
    gateway.goes_on("a large file").await;
    // Reading them would never end.
    let others: [(&str, Put); 2] = [("a pipe", pipe), ("an endless file", endless)];
    for (name, put) in others {
        let why = gateway.refuses(name, put).await;
        assert!(why.contains("there is no component"), "{name}: {why}");
        gateway.goes_on(name).await;
    }
    // After all these files, a valid component goes live.
    let content = fs::read(Guest::Drips.file()).unwrap();
    rename_over(&gateway.running.setup().dir().join("plugins/rules.wasm"), &content);
    crate::caller::until("the good one", async || {
        (gateway.running.plugins()["generation"] == 2).then_some(())
    })
    .await;
}
