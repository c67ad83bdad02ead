//! A state directory on a disk that is full, or that nobody may write to. Root, who writes in spite of permissions,
//! cannot either.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use witgate_tests::gateway::{Running, Setup, may};
use witgate_tests::recorder::Recorder;

use super::provider::Provider;
use super::serve;
use crate::caller::{Answer, Caller, until};

/// A small file system in memory, until this value is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None: this machine permits no mounts.
    fn at(path: &Path) -> Option<Self> {
        std::fs::create_dir(path).unwrap();
        let options = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", path.to_str().unwrap()];
        may("a mount", &options).then(|| Self(path.to_owned()))
    }

    fn remount(&self, mode: &str) {
        let options = format!("remount,{mode}");
        let done = Command::new("mount").args(["-o", &options]).arg(&self.0).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Fills it up.
    fn fill(&self) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

async fn call(running: &Running, key: &str) -> Answer {
    Caller::new(running.url(), Some(key)).call("echo", json!({})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_is_not_asked_while_its_answer_could_not_be_written() {
    for is_full in [true, false] {
        let (provider, _answers) = Provider::start(3600);
        let (setup, recorder) = (Setup::new(), Recorder::start());
        let Some(disk) = SmallDisk::at(&setup.dir().join("witgate.state")) else { return };
        let upstream = format!(
            "[upstreams.remote]\nurl = '{}'\ncredential = 'hub'\neras = ['stateful', 'stateless']\n{}",
            recorder.url(),
            provider.credential()
        );
        let (running, key) = serve(setup, &upstream);
        provider.log_in(running.setup());
        match is_full {
            true => disk.fill(),
            false => disk.remount("ro"),
        }
        for _ in 0..3 {
            let answer = call(&running, &key).await;
            assert_eq!(answer.reason(), Some("provider-unreachable"), "{answer:?}");
            tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
        }
        assert_eq!(provider.refreshed(), 0, "the refresh token is not used up");
        assert!(recorder.seen().is_empty());
        match is_full {
            true => std::fs::remove_file(disk.0.join("filler")).unwrap(),
            false => disk.remount("rw"),
        }
        until("there is room again", async || call(&running, &key).await.is_result().then_some(())).await;
        assert_eq!(provider.refreshed(), 1);
    }
}
