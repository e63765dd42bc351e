//! What processes have mapped into their memory, as /proc shows it.

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
                .any(|line| line.inode == self.inode && line.is_shared_and_writable()),
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

/// Memory of this process that a fork copies, and that may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrivateMapping {
    /// The address of its first byte.
    pub start: usize,
    /// The address after its last byte.
    pub end: usize,
    /// Whether it may be written to.
    pub is_writable: bool,
}

impl PrivateMapping {
    /// Returns all that this process has, in the order of their addresses; `None` where there is no
    /// /proc to tell.
    #[must_use]
    pub fn all() -> Option<Vec<Self>> {
        let maps = fs::read_to_string("/proc/self/maps").ok()?;
        let lines = maps.lines().filter_map(Line::parse);
        let private = lines.filter(|line| {
            let [read, _, _, sharing] = line.permissions;
            read == b'r' && sharing == b'p' && !line.is_kernels
        });
        let mappings = private.map(|line| Self {
            start: line.addresses.0,
            end: line.addresses.1,
            is_writable: line.permissions[1] == b'w',
        });
        Some(mappings.collect())
    }

    /// Returns how many bytes it has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.end - self.start
    }
}

/// A line of a process's `maps` (proc_pid_maps(5)).
struct Line {
    addresses: (usize, usize),
    /// Four letters: what may be done with the memory, and `s` or `p`, shared or private.
    permissions: [u8; 4],
    inode: u64,
    /// Whether it is code or data of the kernel, such as `[vdso]`.
    is_kernels: bool,
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        let (first, end) = fields.next()?.split_once('-')?;
        let address = |digits| usize::from_str_radix(digits, 16).ok();
        let permissions = fields.next()?.as_bytes().try_into().ok()?;
        let inode = fields.nth(2)?.parse().ok()?;
        let name = fields.next().unwrap_or_default();
        Some(Self {
            addresses: (address(first)?, address(end)?),
            permissions,
            inode,
            is_kernels: name.starts_with("[v"),
        })
    }

    fn is_shared_and_writable(&self) -> bool {
        self.permissions[1] == b'w' && self.permissions[3] == b's'
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
    fn a_private_mapping_is_memory_of_this_process_alone() {
        let memory = MemFd::create(8192).unwrap();
        let shared = Mapping::new(&memory, 8192).unwrap().addresses().0;
        let own = vec![1_u8; 1 << 20];
        let all = PrivateMapping::all().unwrap();
        let has = |address| {
            all.iter()
                .filter(|m| m.start <= address && address < m.end)
                .count()
        };
        assert_eq!(has(own.as_ptr().addr()), 1);
        assert_eq!(has(shared), 0);
        let code = boot_time as fn() -> u64 as usize;
        let of_code = all.iter().find(|m| m.start <= code && code < m.end);
        assert!(of_code.is_some_and(|m| !m.is_writable && m.size() > 0));
        assert!(all.is_sorted_by_key(|mapping| mapping.start));
    }

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
