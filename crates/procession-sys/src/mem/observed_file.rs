//! The memory files of families, as a process finds them that belongs to none of them.
//!
//! Leaves out what is in them. A file is opened for reading only, so that whoever looks at
//! it cannot change a word of it.

use std::fs;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

use crate::error::{Error, ErrorKind, Result};
use crate::fd::kept_fd::FileId;
use crate::mem::memfd::{MAPPED_AS, MemFd};
use crate::procfs;

/// The memory file of a family, opened for reading.
#[derive(Debug)]
pub struct ObservedFile {
    /// The file.
    pub file: MemFd,
    /// Tells it from all others.
    pub id: FileId,
}

/// Opens the memory file of the family that process `pid` belongs to; `None` where it belongs
/// to none, or has closed the file.
///
/// # Errors
/// `Denied` when the process is another user's, `Dead` when there is none.
pub fn of_process(pid: u32) -> Result<Option<ObservedFile>> {
    let Some(folder) = procfs::path(pid, "fd") else {
        let message = "there is no /proc that shows the processes of this namespace";
        return Err(Error::new(ErrorKind::Unsupported, message));
    };
    let entries = fs::read_dir(folder)
        .map_err(|error| Error::os(format_args!("look at the files of process {pid}"), error))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_ours = fs::read_link(&path)
            .is_ok_and(|link| link.as_os_str().as_encoded_bytes().starts_with(MAPPED_AS));
        if !is_ours {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        // It may be closed meanwhile.
        let Ok(fd) = rustix::fs::open(&path, flags, Mode::empty()) else {
            continue;
        };
        if let Some(id) = FileId::of(&fd) {
            return observed(fd, id).map(Some);
        }
    }
    Ok(None)
}

fn observed(fd: OwnedFd, id: FileId) -> Result<ObservedFile> {
    Ok(ObservedFile {
        file: MemFd::from_inherited(fd)?,
        id,
    })
}

/// Opens the memory file of each family of this user that has a process here.
///
/// # Errors
/// `Unsupported` where no /proc shows the processes.
pub fn all() -> Result<Vec<ObservedFile>> {
    let mut found: Vec<ObservedFile> = Vec::new();
    for pid in procfs::pids()? {
        // Of others nothing is shown, and one may have ended.
        if let Ok(Some(file)) = of_process(pid)
            && found.iter().all(|known| known.id != file.id)
        {
            found.push(file);
        }
    }
    Ok(found)
}
