//! The files that changes of accounts write, and the time from which policies judge by them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use witgate_base::digest::sha256;
use witgate_plugin::Digest;
use witgate_policy::generation::{Generation, Generations};

/// The longest time until a change is in force before its caller gets the answer. It takes some ten milliseconds.
const IN_FORCE: Duration = Duration::from_secs(1);

/// The time between two looks at the live generation.
const LOOK: Duration = Duration::from_millis(5);

/// A file that has changed, and the text in it that comes from the change alone.
#[derive(Clone, Debug)]
pub(super) struct ChangedFile {
    /// The file.
    pub(super) path: PathBuf,
    /// The text.
    pub(super) mark: String,
}

impl ChangedFile {
    /// Waits until the live policies have read the file with the change, so that the next call meets it. False: that takes
    /// too long.
    pub(super) async fn is_in_force(&self, generations: &Generations) -> bool {
        let is_in_force = timeout(IN_FORCE, self.read_by(generations)).await.is_ok();
        if !is_in_force {
            tracing::warn!(file = %self.path.display(), "a change of accounts is not in force yet");
        }
        is_in_force
    }

    async fn read_by(&self, generations: &Generations) {
        let mut judged = None;
        loop {
            let live = generations.live();
            // Without another generation, the answer stays the same.
            if judged.replace(live.number()) != Some(live.number()) && self.is_read_by(live).await {
                return;
            }
            sleep(LOOK).await;
        }
    }

    /// True if all policies of this generation that read the file have read it with the change.
    async fn is_read_by(&self, live: Arc<Generation>) -> bool {
        let file = self.clone();
        let judge = move || {
            let read = live.policies().flat_map(|policy| policy.files());
            // The policies may have read it under another name.
            let read = read.filter(|(path, _)| is_same(path, &file.path)).map(|(_, digest)| *digest);
            file.digest().is_ok_and(|now| now.is_some_and(|now| all_are(read, now)))
        };
        spawn_blocking(judge).await.unwrap_or(false)
    }

    /// The digest of the file as it is now. None: the change is not in it.
    fn digest(&self) -> io::Result<Option<Digest>> {
        let text = std::fs::read_to_string(&self.path)?;
        Ok(text.contains(&self.mark).then(|| sha256(text.as_bytes())))
    }
}

/// True if there are digests, and all are this one.
fn all_are(mut digests: impl Iterator<Item = Option<Digest>>, wanted: Digest) -> bool {
    digests.next() == Some(Some(wanted)) && digests.all(|digest| digest == Some(wanted))
}

fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    one == other || real(one) == real(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_policies_have_to_have_read_the_change() {
        let (own, other) = ([1; 32], [2; 32]);
        for (digests, are) in [
            (vec![], false),
            (vec![Some(own)], true),
            (vec![Some(own), Some(own)], true),
            (vec![Some(own), Some(other)], false),
            (vec![Some(other)], false),
            (vec![None], false),
            (vec![Some(own), None], false),
        ] {
            assert_eq!(all_are(digests.iter().copied(), own), are, "{digests:?}");
        }
    }

    #[test]
    fn a_file_without_the_change_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = ChangedFile { path: folder.path().join("ended.jsonl"), mark: "abc".to_owned() };
        assert!(file.digest().is_err());
        std::fs::write(&file.path, "other").unwrap();
        assert_eq!(file.digest().unwrap(), None);
        std::fs::write(&file.path, "x abc x").unwrap();
        assert_eq!(file.digest().unwrap(), Some(sha256(b"x abc x")));
    }
}
