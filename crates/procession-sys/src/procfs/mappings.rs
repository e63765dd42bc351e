//! Which processes have a file of memory mapped, as /proc shows it.

use std::fs;
use std::io::ErrorKind;

use crate::procfs;
use crate::procfs::status::{ProcStatus, TICK};

/// The parent of the kernel's own threads, which have no memory.
const KTHREADD: u32 = 2;

/// Names a file that this process has mapped, to find it in other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappedFile {
    inode: u64,
}

impl MappedFile {
    /// Returns the file that is mapped at an address of this process; `None` where there is no
    /// /proc to tell.
    #[must_use]
    pub fn at(address: usize) -> Option<Self> {
        let maps = fs::read_to_string("/proc/self/maps").ok()?;
        let inode = maps.lines().filter_map(Line::parse).find_map(|line| {
            let (first, end) = line.addresses;
            (first <= address && address < end).then_some(line.inode)
        })?;
        (inode != 0).then_some(Self { inode })
    }

    /// Tells whether a process that was forked can write to the file's memory, or may be able
    /// to: of one that has started since `since` (nanoseconds since boot), and may not be looked
    /// at, nobody can tell. A guardian has its parent's memory, and was not forked.
    #[must_use]
    pub fn may_be_written_by(self, pid: u32, since: u64) -> bool {
        // Where /proc numbers other processes, nobody can tell either.
        let Some(path) = procfs::path(pid, "maps") else {
            return true;
        };
        let is_forked = |status: &ProcStatus| status.end_signal != 0 && !status.is_zombie();
        let Some(status) = ProcStatus::of(pid).filter(is_forked) else {
            return false;
        };
        match fs::read_to_string(path) {
            Ok(maps) => maps
                .lines()
                .filter_map(Line::parse)
                .any(|line| line.inode == self.inode && line.is_shared_and_writable),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let is_kernels = pid == KTHREADD || status.parent == KTHREADD;
                let started = (status.start_time + 1).saturating_mul(TICK);
                !is_kernels && started >= since
            }
            // It has ended meanwhile.
            Err(_) => false,
        }
    }
}

/// A line of a process's `maps` (proc_pid_maps(5)).
struct Line {
    addresses: (usize, usize),
    is_shared_and_writable: bool,
    inode: u64,
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        let (first, end) = fields.next()?.split_once('-')?;
        let address = |digits| usize::from_str_radix(digits, 16).ok();
        let access = fields.next()?.as_bytes();
        Some(Self {
            addresses: (address(first)?, address(end)?),
            is_shared_and_writable: access.get(1) == Some(&b'w') && access.get(3) == Some(&b's'),
            inode: fields.nth(2)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::mapping::Mapping;
    use crate::mem::memfd::MemFd;
    use crate::process::liveness::boot_time;
    use crate::testing::{Go, WATCHDOG, child};

    #[test]
    fn a_file_is_found_in_who_has_it_mapped_for_writing() {
        let before = MemFd::create(8192).unwrap();
        let map = Mapping::new(&before, 8192).unwrap();
        let file = MappedFile::at(map.addresses().0).unwrap();
        let since = boot_time();
        let (copy, release) = child(Go::wait);
        assert!(file.may_be_written_by(copy.pid(), since));
        assert!(file.may_be_written_by(std::process::id(), since));
        drop(release);
        assert!(copy.wait(WATCHDOG()).unwrap());
        assert!(!file.may_be_written_by(copy.pid(), since));
        copy.reap().unwrap();
        assert!(!file.may_be_written_by(copy.pid(), since));

        let other = MemFd::create(8192).unwrap();
        let reader = Mapping::for_reading(&other, 8192).unwrap();
        let read = MappedFile::at(reader.addresses().0).unwrap();
        assert_ne!(read, file);
        assert!(!read.may_be_written_by(std::process::id(), since));
    }
}
