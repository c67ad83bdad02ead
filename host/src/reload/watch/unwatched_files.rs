//! Files whose changes bring no notification, or not every one: those that are mounted by themselves, and those whose
//! file system does not hear of what other machines do.

use std::path::Path;

/// The reason why changes of `file` may bring no notification. None: nothing is known against it.
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

/// Nothing is known of other systems.
#[cfg(not(target_os = "linux"))]
pub(super) fn why(_: &Path) -> Option<String> {
    None
}

/// Has the system ask anew how `file` looks: NFS keeps that for up to a minute, and asks when a file is opened.
pub(super) fn refresh(file: &Path) {
    use rustix::fs::{Mode, OFlags, open};

    // A pipe would wait for who writes. What cannot be opened is found out when it is read.
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
