//! Old segments: their compression and removal.

use std::fs::{File, FileTimes, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use witgate_base::clock;

use crate::segment::{self, Segment};

/// The segments that are too old.
pub(crate) struct Retention {
    /// The number of the first line that is kept.
    pub(crate) below: u64,
    /// The files of the segments before it.
    pub(crate) files: Vec<PathBuf>,
}

/// Finds and compresses old segments of a directory.
#[derive(Debug)]
pub(crate) struct Pruner {
    directory: PathBuf,
    is_compressing: Arc<AtomicBool>,
}

impl Pruner {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, is_compressing: Arc::default() }
    }

    /// The segments before `current` whose last line is older than `keep`, from the oldest one without a gap.
    pub(crate) fn look(&self, keep: Option<Duration>, current: u64) -> io::Result<Option<Retention>> {
        let Some(keep) = keep else { return Ok(None) };
        let segments = segment::list(&self.directory)?;
        let mut old = Vec::new();
        for segment in segments.iter().take_while(|segment| segment.first < current) {
            let age = clock::system_time().duration_since(segment.path.metadata()?.modified()?);
            if age.unwrap_or_default() < keep {
                break;
            }
            old.push(segment);
        }
        let kept = segments.get(old.len()).map(|segment| segment.first);
        let files = old.iter().flat_map(|segment| [segment.path.clone(), segment.checkpoints()]).collect();
        Ok(kept.filter(|_| !old.is_empty()).map(|below| Retention { below, files }))
    }

    /// Compresses the complete segments before `current` in a thread, if none does so already.
    pub(crate) fn compress(&self, current: u64) {
        if self.is_compressing.swap(true, Ordering::Relaxed) {
            return;
        }
        let (directory, is_compressing) = (self.directory.clone(), Arc::clone(&self.is_compressing));
        let compressing = Arc::clone(&is_compressing);
        let work = move || {
            if let Err(error) = compress_all(&directory, current) {
                tracing::warn!("a segment of the audit stays uncompressed: {error}");
            }
            compressing.store(false, Ordering::Relaxed);
        };
        if thread::Builder::new().name("audit-compress".to_owned()).spawn(work).is_err() {
            is_compressing.store(false, Ordering::Relaxed);
        }
    }
}

/// Compresses all complete segments.
pub(crate) fn compress_all(directory: &Path, current: u64) -> io::Result<()> {
    let segments = segment::list(directory)?;
    let complete = segments.iter().filter(|segment| segment.first < current && !segment.is_compressed);
    complete.into_iter().try_for_each(compress)
}

/// Replaces a segment by its compressed form, which keeps the time of the last change.
fn compress(segment: &Segment) -> io::Result<()> {
    let mut plain = File::open(&segment.path)?;
    let changed = plain.metadata()?.modified()?;
    let complete = segment.path.with_extension("jsonl.gz");
    // The name is fixed, so that the next attempt replaces what a kill has left.
    let incomplete = segment.path.with_extension("jsonl.gz.new");
    let file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&incomplete)?;
    let mut encoder = GzEncoder::new(file, Compression::default());
    io::copy(&mut plain, &mut encoder)?;
    let packed = encoder.finish()?;
    packed.set_times(FileTimes::new().set_modified(changed))?;
    packed.sync_all()?;
    std::fs::rename(&incomplete, &complete)?;
    witgate_base::whole_file::sync_folder(&segment.path)?;
    std::fs::remove_file(&segment.path)
}
