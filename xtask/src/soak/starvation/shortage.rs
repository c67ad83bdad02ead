//! The resources that can be taken away from a running process, and the ways to do it.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::random::Random;
use witgate_build::process::works;

/// The directory of files that share a small disk, within the directory of the gateway.
pub(super) const SMALL: &str = "small";

/// The space on the small disk.
const DISK: &str = "size=24m";

/// Connections that never send anything.
const IDLE: u64 = 40;

/// The maximum number of watched directories in this user namespace.
const WATCHES: &str = "/proc/sys/user/max_inotify_watches";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No more files or connections.
    Descriptors,
    /// No more threads or processes.
    Threads,
    /// No more memory from the system.
    Memory,
    /// A full disk under the key store, the state and the cache.
    Disk,
    /// Edits that bring no notification, and no more watched directories.
    Notifications,
}

impl Kind {
    pub(super) const ALL: [Self; 5] =
        [Self::Descriptors, Self::Threads, Self::Memory, Self::Disk, Self::Notifications];

    /// Parses names of resources, with commas between them.
    pub(super) fn named(names: &str) -> Result<Vec<Self>> {
        let kind = |name: &str| Self::ALL.into_iter().find(|kind| kind.name() == name);
        names
            .split(',')
            .map(|name| kind(name).with_context(|| format!("nothing can be short of `{name}`")))
            .collect()
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Descriptors => "descriptors",
            Self::Threads => "threads",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Notifications => "notifications",
        }
    }
}

/// The shortages that this machine permits.
pub(super) struct Means {
    kinds: Vec<Kind>,
    /// The directory with a disk of its own. None: a limit on the size of files takes its place.
    disk: Option<PathBuf>,
    /// A second path to the files on that disk.
    silent: PathBuf,
    /// The maximum number of watched directories without a shortage. None: it cannot be changed on this machine.
    watches: Option<String>,
}

impl Means {
    /// Mounts a small disk at `small`, if that is permitted.
    pub(super) fn find(small: &Path, kinds: Vec<Kind>) -> Result<Self> {
        fs::create_dir_all(small)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(small);
        let disk = works(&mut mount).then(|| small.to_owned());
        let silent = small.join("silent");
        fs::create_dir_all(&silent)?;
        let watches = fs::read_to_string(WATCHES).ok().filter(|now| fs::write(WATCHES, now.trim()).is_ok());
        Ok(Self { kinds, disk, silent, watches })
    }

    /// The wrapper that starts the gateway. It ignores the signal for a file that grows beyond the limit, which would
    /// end the process.
    pub(super) fn starter(&self) -> &'static [&'static str] {
        match self.disk {
            Some(_) => &[],
            None => &["env", "--ignore-signal=XFSZ"],
        }
    }

    /// A directory on the disk of the key store that nobody watches.
    pub(super) fn silent(&self) -> &Path {
        &self.silent
    }

    /// A random resource, or two.
    pub(super) fn choose(&self, random: &mut Random) -> Vec<Kind> {
        let mut all = self.kinds.clone();
        random.shuffle(&mut all);
        let count = if random.one_in(3) { 2 } else { 1 };
        all.into_iter().take(count).collect()
    }

    /// Takes a resource from a process that listens at `address`.
    pub(super) fn take(&self, kind: Kind, process: u32, address: &str, random: &mut Random) -> Result<Taken> {
        let process = i32::try_from(process).ok().and_then(Pid::from_raw).context("no such process")?;
        let limited = |resource, to| Taken::limit(process, resource, to);
        match kind {
            Kind::Descriptors if random.one_in(2) => {
                let limit = limited(Resource::Nofile, lowest_descriptor(process)? + IDLE / 2)?;
                let connect = |_| TcpStream::connect(address).ok();
                Ok(Taken::Connections {
                    limit: Box::new(limit),
                    idle: (0..IDLE).filter_map(connect).collect(),
                })
            }
            Kind::Descriptors => limited(Resource::Nofile, lowest_descriptor(process)? + random.below(3)),
            Kind::Threads => limited(Resource::Nproc, 1),
            Kind::Memory => {
                let (resource, used) = match random.one_in(2) {
                    true => (Resource::As, "VmSize:"),
                    false => (Resource::Data, "VmData:"),
                };
                limited(resource, status(process, used)? * 1024 + random.below(1 << 20))
            }
            Kind::Disk => match &self.disk {
                Some(disk) => fill(disk),
                None => limited(Resource::Fsize, 0),
            },
            Kind::Notifications => match &self.watches {
                Some(before) => {
                    fs::write(WATCHES, "0")?;
                    Ok(Taken::Watches(before.trim().to_owned()))
                }
                // Changes during this shortage go through a path that nobody watches.
                None => Ok(Taken::Nothing),
            },
        }
    }
}

impl Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disk = if self.disk.is_some() { "a disk of its own" } else { "the size of files" };
        let watches = if self.watches.is_some() { "watches, and edits without" } else { "edits without" };
        write!(f, "descriptors, threads, memory, {disk}, {watches} notifications")
    }
}

/// A resource that was taken, until it is given back.
#[must_use]
pub(super) enum Taken {
    Limit {
        process: Pid,
        resource: Resource,
        before: Rlimit,
    },
    /// Connections without any credential that take all permitted ones.
    Connections {
        limit: Box<Taken>,
        idle: Vec<TcpStream>,
    },
    Space(PathBuf),
    Watches(String),
    Nothing,
}

impl Taken {
    fn limit(process: Pid, resource: Resource, to: u64) -> Result<Self> {
        let hard = getrlimit(resource).maximum;
        let to = hard.map_or(to, |hard| hard.min(to));
        let before = prlimit(Some(process), resource, Rlimit { current: Some(to), maximum: hard })?;
        Ok(Self::Limit { process, resource, before })
    }

    pub(super) fn give_back(self) -> Result<()> {
        match self {
            // A process that has ended gets nothing back.
            Self::Limit { process, resource, before } => drop(prlimit(Some(process), resource, before)),
            Self::Connections { limit, idle } => {
                drop(idle);
                limit.give_back()?;
            }
            Self::Space(filler) => fs::remove_file(filler)?,
            Self::Watches(before) => fs::write(WATCHES, before)?,
            Self::Nothing => {}
        }
        Ok(())
    }
}

/// Writes until the disk is full.
fn fill(disk: &Path) -> Result<Taken> {
    let filler = disk.join("filler");
    let mut file = fs::File::create(&filler)?;
    let block = [0; 4096];
    while file.write_all(&block).is_ok() {}
    Ok(Taken::Space(filler))
}

/// The number of the next file descriptor.
fn lowest_descriptor(process: Pid) -> Result<u64> {
    let open = fs::read_dir(format!("/proc/{}/fd", process.as_raw_nonzero()))?;
    let numbers: BTreeSet<u64> =
        open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    Ok((0..).find(|number| !numbers.contains(number)).unwrap_or_default())
}

/// The value of a line in the status of the process, in KiB.
fn status(process: Pid, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero()))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("no {name}"))
}
