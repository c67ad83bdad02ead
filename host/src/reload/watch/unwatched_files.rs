//! Files whose changes may bring no notification: files that are mounted by themselves, and files on a file system
//! that does not report the changes of other machines.

use std::path::Path;

/// The reason why changes of `file` may bring no notification. None: notifications should come.
#[cfg(target_os = "linux")]
pub(super) fn why(file: &Path) -> Option<String> {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statfs, statx};

    let looks = statx(CWD, file, AtFlags::empty(), StatxFlags::NLINK | StatxFlags::TYPE).ok()?;
    let is_directory = rustix::fs::FileType::from_raw_mode(looks.stx_mode.into()).is_dir();
    if looks.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) && !is_directory {
        let gone = match looks.stx_nlink {
            0 => ", and its source was replaced or removed, which this mount does not show",
            _ => "",
        };
        return Some(format!("it is a mount point itself{gone}; mount its directory"));
    }
    let kind = statfs(file).ok()?.f_type;
    let (_, name) = REMOTE.into_iter().find(|(magic, _)| i128::from(kind) == *magic)?;
    Some(format!("{name} gives no notifications of changes by other machines"))
}

/// File systems by their magic numbers: statfs(2), and `linux/magic.h`.
#[cfg(target_os = "linux")]
const REMOTE: [(i128, &str); 8] = [
    (0x6969, "NFS"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB"),
    (0x00C3_6400, "Ceph"),
    (0x5346_414F, "AFS"),
];

/// On other systems, no reason is known.
#[cfg(not(target_os = "linux"))]
pub(super) fn why(_: &Path) -> Option<String> {
    None
}

/// Has the system read the file's state anew: NFS caches it for up to a minute, and asks the server when a file is
/// opened.
pub(super) fn refresh(file: &Path) {
    use rustix::fs::{Mode, OFlags, open};

    // Without `NONBLOCK`, opening a pipe would wait for a writer. Reading reports files that cannot be opened.
    drop(open(file, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()));
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_file_on_a_disk_is_not_reported() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(why(file.path()), None);
        assert_eq!(why(&file.path().with_extension("missing")), None);
    }
}
