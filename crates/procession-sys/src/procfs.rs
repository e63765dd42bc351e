//! Whether /proc shows the processes that our numbers mean.
//!
//! A process in a pid namespace of its own may find the /proc of another one, as
//! after `unshare --fork --pid`: there a number is somebody else's. The entry of this
//! process itself (`/proc/self`) is right wherever /proc is there at all.

pub mod mappings;
pub mod status;

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::error::{Error, ErrorKind, Result};

/// Returns the path of `file` in /proc's folder for process `pid`; `None` where that
/// would be another process's.
#[must_use]
pub fn path(pid: u32, file: &str) -> Option<String> {
    if pid == std::process::id() {
        return Some(format!("/proc/self/{file}"));
    }
    is_ours().then(|| format!("/proc/{pid}/{file}"))
}

/// Returns the ids of all processes that /proc shows.
///
/// # Errors
/// `Unsupported` where there is no /proc that numbers processes as this one does.
pub fn pids() -> Result<Vec<u32>> {
    let missing = || {
        let message = "there is no /proc that shows the processes of this namespace";
        Error::new(ErrorKind::Unsupported, message)
    };
    if !is_ours() {
        return Err(missing());
    }
    let entries = fs::read_dir("/proc").map_err(|_| missing())?;
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(numbers.collect())
}

/// Tells whether /proc is there and numbers processes as this one does. The answer is
/// not remembered: /proc may be mounted, and a child moved to another namespace, at any
/// time.
#[must_use]
pub fn is_ours() -> bool {
    fs::read_link("/proc/self").is_ok_and(|link| {
        link.to_str()
            .is_some_and(|number| number.parse() == Ok(std::process::id()))
    })
}

/// Returns the number of the pid namespace that this process lives in; 0 where
/// there is no /proc to tell.
#[must_use]
pub fn pid_namespace() -> u32 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |file| file.ino() as u32)
}

/// Tells whether the calling thread has moved its children to another pid namespace;
/// false where there is no /proc to tell.
#[must_use]
pub fn moves_children() -> bool {
    let inode = |name: &str| {
        let file = fs::metadata(format!("/proc/thread-self/ns/{name}"));
        file.map(|file| file.ino()).ok()
    };
    // The namespace of the children does not exist before the first child does.
    inode("pid").is_some_and(|own| inode("pid_for_children") != Some(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_files_are_found_by_either_name() {
        assert!(is_ours());
        assert_eq!(path(std::process::id(), "stat").unwrap(), "/proc/self/stat");
        assert_eq!(path(1, "stat").unwrap(), "/proc/1/stat");
        assert_ne!(pid_namespace(), 0);
        assert!(!moves_children());
    }
}
