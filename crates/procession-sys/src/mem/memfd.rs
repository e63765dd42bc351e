//! The anonymous shared-memory file behind an arena.
//!
//! Once it is mapped, its descriptor is needed for two things only: to be passed
//! on to fresh images, and where the kernel cannot back the mapping. If the program has
//! closed it, the engine opens the file again: by the mapping, which a privileged
//! process may do, or by a relative that has the file open, too.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::denial::{is_denied, refused};
use crate::error::{Error, ErrorKind, Result};
use crate::fd::kept_fd::{FileId, KeptFd, RenewedFd};
use crate::fd::own_table::ProgramsTable;
use crate::steps::step;

/// Owns a memory file of fixed, sparse size.
#[derive(Debug)]
pub struct MemFd(RenewedFd);

/// The name of a family's memory in lists of files.
const NAME: &str = "procession";

/// Its name among the mappings of a process (proc_pid_maps(5)).
pub const MAPPED_AS: &[u8] = b"/memfd:procession";

/// Returns how large a file this process may make; `None` for any size. The kernel does
/// not refuse a larger file, but sends SIGXFSZ.
#[must_use]
pub fn largest_file() -> Option<u64> {
    getrlimit(Resource::Fsize).current
}

impl MemFd {
    /// Creates a file of `len` bytes, none of them backed by memory yet, that
    /// nobody can shrink or grow.
    ///
    /// # Errors
    /// When the system has no descriptor left or refuses the size.
    pub fn create(len: u64) -> Result<Self> {
        if largest_file().is_some_and(|limit| limit < len) {
            return Err(Error::os(
                format_args!("size the memory file to {len} bytes"),
                rustix::io::Errno::FBIG,
            ));
        }
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let (fd, is_plain) = match fs::memfd_create(NAME, flags) {
            Ok(fd) => (fd, false),
            Err(denied) if is_denied(denied) => (nameless_file(denied)?, true),
            Err(e) => return Err(refused("memfd_create", CREATE, e)),
        };
        fs::ftruncate(&fd, len).map_err(|e| {
            refused(
                "ftruncate",
                format_args!("size the memory file to {len} bytes"),
                e,
            )
        })?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        match fs::fcntl_add_seals(&fd, seals) {
            Ok(()) => {}
            // Nobody else has a plain file without a name either.
            Err(_) if is_plain => {}
            Err(e) => return Err(refused("fcntl", "seal the memory file", e)),
        }
        Self::from_inherited(fd)
    }

    /// Takes over a descriptor that a parent passed on.
    ///
    /// # Errors
    /// `Limit` when it has to be moved and no descriptor is left.
    pub fn from_inherited(fd: OwnedFd) -> Result<Self> {
        let kept = KeptFd::keep(fd).map_err(|e| Error::os("keep the memory file", e))?;
        Ok(Self(RenewedFd::new(kept)))
    }

    /// Lends the descriptor, unless the program has closed it.
    ///
    /// # Errors
    /// `Invalid` when it has.
    pub fn fd(&self) -> Result<BorrowedFd<'_>> {
        self.0.get(is_ours, || Err(lost()))
    }

    /// As [`fd`](Self::fd), but opens the file anew if need be: by `mapped`, the
    /// addresses where this process has it mapped, or by a process of
    /// `relatives` that has it open.
    ///
    /// # Errors
    /// `Invalid` when it is not to be found.
    pub fn fd_to_pass_on(
        &self,
        mapped: (usize, usize),
        relatives: impl Iterator<Item = u32>,
    ) -> Result<BorrowedFd<'_>> {
        self.0.get(is_ours, || {
            let file = self.0.last().file();
            by_mapping(mapped)
                .into_iter()
                .chain(relatives.flat_map(|pid| at_relative(pid, file)))
                .find(|kept| kept.file() == file)
                .ok_or_else(lost)
        })
    }

    /// Opens the file anew for a thread that has a table of descriptors of its own.
    ///
    /// # Errors
    /// `Invalid` when the program has closed it.
    pub fn open_by(&self, table: &ProgramsTable) -> Result<OwnedFd> {
        table.open(self.0.last(), OFlags::RDWR)
    }

    /// Replaces the file by another, whose descriptor it takes over.
    ///
    /// # Errors
    /// `Invalid` when the program has closed that already.
    pub fn replace_by(&self, other: Self) -> Result<()> {
        self.0.get(is_ours, || Ok(other.0.into_first())).map(drop)
    }

    /// Returns the file's size in bytes.
    ///
    /// # Errors
    /// When the descriptor is not a file.
    pub fn size(&self) -> Result<u64> {
        let stat = fs::fstat(self.fd()?).map_err(|e| Error::os("look at the memory file", e))?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    /// Returns the bytes of memory that back the file now.
    ///
    /// # Errors
    /// When the program has closed the file.
    pub fn resident(&self) -> Result<u64> {
        let stat = fs::fstat(self.fd()?).map_err(|e| Error::os("look at the memory file", e))?;
        // st_blocks counts units of 512 bytes (stat(2)).
        Ok(u64::try_from(stat.st_blocks).unwrap_or(0) * 512)
    }

    /// Backs a range with memory, so that touching it can no longer fail.
    ///
    /// # Errors
    /// `OutOfMemory` when the system has none left; `Invalid` when the program
    /// has closed the file.
    pub fn commit(&self, offset: u64, len: u64) -> Result<()> {
        loop {
            step();
            match fs::fallocate(self.fd()?, FallocateFlags::empty(), offset, len) {
                Ok(()) => return Ok(()),
                // A signal stops a long fallocate half way; the part that was backed
                // stays so.
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => {
                    return Err(refused(
                        "fallocate",
                        format_args!("back {len} bytes with memory"),
                        e,
                    ));
                }
            }
        }
    }

    /// Gives a range's memory back; it reads as zero afterwards.
    ///
    /// # Errors
    /// When the kernel refuses, or the program has closed the file; the range
    /// then keeps its memory.
    pub fn release(&self, offset: u64, len: u64) -> Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fs::fallocate(self.fd()?, flags, offset, len).map_err(|e| {
            refused(
                "fallocate",
                format_args!("give back {len} bytes of memory"),
                e,
            )
        })
    }
}

const CREATE: &str = "create the family's memory file";

/// Makes a file without a name where memory files are denied: in memory if it can
/// be, else on a disk, where it costs more but serves as well.
fn nameless_file(denied: Errno) -> Result<OwnedFd> {
    let mut places = vec![PathBuf::from("/dev/shm"), std::env::temp_dir()];
    places.extend(["/tmp", "/var/tmp"].map(PathBuf::from));
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::TMPFILE;
    places
        .iter()
        .find_map(|place| fs::open(place, flags, Mode::RUSR | Mode::WUSR).ok())
        .ok_or_else(|| refused("memfd_create", CREATE, denied))
}

fn is_ours(kept: &KeptFd) -> bool {
    kept.ours().is_some()
}

fn lost() -> Error {
    let message = "the program has closed the descriptor of the family's memory, by which \
                   fresh interpreters join the family; it should leave that open (/proc/self/fd \
                   shows it as memfd:procession), or start processes by fork";
    Error::new(ErrorKind::Invalid, message)
}

/// Opens what is mapped between two addresses (proc_pid_map_files(5); needs
/// CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN).
fn by_mapping((start, end): (usize, usize)) -> Option<KeptFd> {
    open(format!("/proc/self/map_files/{start:x}-{end:x}").as_ref())
}

/// Opens a file that another process has open.
fn at_relative(pid: u32, file: Option<FileId>) -> Option<KeptFd> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let look = OFlags::PATH | OFlags::CLOEXEC;
    let found = entries.flatten().map(|entry| entry.path()).find(|path| {
        // Opened for use only once it is known to be the file that is looked for.
        fs::open(path, look, Mode::empty()).is_ok_and(|fd| FileId::of(fd) == file)
    })?;
    open(&found)
}

fn open(path: &Path) -> Option<KeptFd> {
    let fd = fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).ok()?;
    KeptFd::keep(fd).ok()
}

#[cfg(test)]
#[expect(unsafe_code, reason = "closes a descriptor behind its owner's back")]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;
    use crate::mem::mapping::Mapping;
    use crate::testing::{WATCHDOG, child};

    /// Has another file take the number of the memory file.
    fn lose(file: &MemFd) -> std::fs::File {
        let number = file.fd().unwrap().as_raw_fd();
        let null = std::fs::File::open("/dev/null").unwrap();
        // SAFETY: a number of the test's own.
        let taken = unsafe { libc::dup2(null.as_raw_fd(), number) };
        assert_eq!(taken, number);
        null
    }

    #[test]
    fn memory_is_backed_and_given_back_without_the_descriptor() {
        let (process, _release) = child(|_| {
            let file = MemFd::create(1 << 20).unwrap();
            let copy = file.fd().unwrap().try_clone_to_owned().unwrap();
            let map = Mapping::new(&file, 1 << 20).unwrap();
            let blocks = || fs::fstat(&copy).unwrap().st_blocks;
            let _null = lose(&file);
            assert_eq!(file.fd().unwrap_err().kind(), ErrorKind::Invalid);
            map.back(&file, 4096, 8192).unwrap();
            assert_eq!(blocks(), 16);
            map.give_back(&file, 4096, 4096).unwrap();
            assert_eq!(blocks(), 8);
            0
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        assert!(process.reap().unwrap().unwrap().is_success());
    }

    #[test]
    fn a_lost_file_is_found_at_a_relative() {
        let (process, _release) = child(|_| {
            let file = MemFd::create(1 << 20).unwrap();
            let id = FileId::of(file.fd().unwrap()).unwrap();
            let (relative, _kept) = child(|go| go.wait());
            let _null = lose(&file);
            let nowhere = (0, 4096);
            let nobody = std::iter::empty();
            assert!(file.fd_to_pass_on(nowhere, nobody).is_err());
            let pids = [relative.pid()].into_iter();
            let found = file.fd_to_pass_on(nowhere, pids).unwrap();
            assert_eq!(FileId::of(found), Some(id));
            assert!(file.fd().is_ok());
            0
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        assert!(process.reap().unwrap().unwrap().is_success());
    }
}
