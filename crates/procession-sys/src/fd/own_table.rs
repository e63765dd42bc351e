//! Work in a thread that has a table of descriptors of its own.
//!
//! A thread that works in the background must not open a descriptor in the program's
//! table, not even for a moment: the program may close all its descriptors in that very
//! moment and use the numbers for files of its own, and the thread would then close one
//! of those. So such a thread first leaves the program's table, by one system call that
//! copies the standard streams and nothing else. A descriptor that the program closes
//! is then closed, whatever the thread is doing. The thread ends with the work, and its
//! table with the thread.
//!
//! If the work needs a descriptor of the program, it opens that file anew by the table
//! of the thread that waits for it, which is the program's. No descriptor that the
//! thread opens may be kept beyond its end, by number or otherwise. So the thread must
//! not call a function that keeps descriptors for the whole process: it rings no
//! doorbell and sweeps up no children.
//!
//! # Safety
//! One call that rustix lacks takes three numbers.

#![expect(unsafe_code, reason = "close_range(2)")]

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::panic::resume_unwind;
use std::thread;

use rustix::fs::{Mode, OFlags, open, stat};
use rustix::io::fcntl_dupfd_cloexec;

use crate::denial::refused;
use crate::error::{Error, ErrorKind, Result};
use crate::fd::kept_fd::{FileId, KeptFd, LAST_STREAM};
use crate::process::fork::refusal;
use crate::signals::BlockedSignals;
use crate::signals::masked_thread::{self, STACK};

/// The attempt, for the text of errors.
const WHAT: &str = "leave the program's table of descriptors";

/// Lends the program's descriptors to a thread that has a table of its own.
#[derive(Debug)]
pub struct ProgramsTable {
    /// The thread that waits for it.
    thread: u32,
}

/// Does some work in a thread that has the standard streams as they are now, and no
/// other descriptor of the program; blocks until it is done, and the thread gone.
///
/// # Errors
/// When there can be no other thread, or a sandbox is in the way.
pub fn with_own_table<T: Send>(
    name: &str,
    work: impl FnOnce(&ProgramsTable) -> Result<T> + Send,
) -> Result<T> {
    let table = ProgramsTable {
        thread: masked_thread::own_number(),
    };
    let (done, number) = thread::scope(|scope| {
        let builder = thread::Builder::new().name(name.into()).stack_size(STACK);
        let held_back = BlockedSignals::all();
        let started = builder.spawn_scoped(scope, || {
            let done = leave().and_then(|()| work(&table));
            (done, masked_thread::own_number())
        });
        drop(held_back);
        let thread = started.map_err(|e| refusal(&format!("start thread {name}"), e))?;
        Ok::<_, Error>(thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })?;
    masked_thread::wait_until_gone(number);
    done
}

/// Leaves the table of descriptors that this thread shares with the others of the process,
/// and all in it but the standard streams. For a thread that was started for it; see above for what
/// it must not do from here on.
///
/// # Errors
/// When a sandbox is in the way.
pub fn leave() -> Result<()> {
    let (first, last) = (LAST_STREAM + 1, libc::c_uint::MAX);
    // SAFETY: it takes numbers only. The table is a copy, as another thread is alive
    // that shares the original; nobody knows of a number in it.
    let code = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            last,
            libc::CLOSE_RANGE_UNSHARE,
        )
    };
    match code {
        0 => Ok(()),
        _ => Err(refused(
            "close_range",
            WHAT,
            std::io::Error::last_os_error(),
        )),
    }
}

impl ProgramsTable {
    /// Tells whether the program still has a kept descriptor open.
    #[must_use]
    pub fn has(&self, kept: &KeptFd) -> bool {
        let seen = stat(self.path(kept)).ok().map(FileId::from);
        seen.is_some() && seen == kept.file()
    }

    fn path(&self, kept: &KeptFd) -> String {
        let number = kept.unverified().as_raw_fd();
        format!("/proc/self/task/{}/fd/{number}", self.thread)
    }

    /// Opens the file of a kept descriptor anew, under the same number, so that a
    /// process that is started from here inherits the same as one that is started from
    /// there.
    ///
    /// # Errors
    /// `Invalid` when the program has closed it.
    pub fn open(&self, kept: &KeptFd, flags: OFlags) -> Result<OwnedFd> {
        let number = kept.unverified().as_raw_fd();
        let lost = || {
            Error::new(
                ErrorKind::Invalid,
                format!("the program has closed descriptor {number}, which procession keeps"),
            )
        };
        // Looked at before it is opened: opening another file might have an effect.
        if !self.has(kept) {
            return Err(lost());
        }
        let path = self.path(kept);
        let failed = |e| Error::os(format_args!("open {path}"), e);
        let fd = open(&path, flags | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        if FileId::of(&fd) != kept.file() {
            return Err(lost());
        }
        fcntl_dupfd_cloexec(fd, number).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::fd::{FromRawFd as _, IntoRawFd as _};

    use super::*;
    use crate::fd::streams;

    fn numbers() -> Vec<i32> {
        let entries = std::fs::read_dir("/proc/thread-self/fd").unwrap();
        let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse().ok();
        entries.filter_map(|entry| number(entry.unwrap())).collect()
    }

    #[test]
    fn it_has_the_streams_and_nothing_else_of_the_program() {
        let (mut read, write) = std::io::pipe().unwrap();
        let (number, before) = (write.into_raw_fd(), streams::look());
        let looked = with_own_table("test", |_| {
            assert_eq!(streams::look(), before);
            // The listing has a descriptor, too.
            let seen = numbers();
            assert!(!seen.contains(&number) && seen.len() <= 4, "{seen:?}");
            // SAFETY: the number means nothing here.
            assert_eq!(unsafe { libc::close(number) }, -1);
            Ok(())
        });
        looked.unwrap();
        // SAFETY: it is the test's own.
        let mut write = unsafe { std::io::PipeWriter::from_raw_fd(number) };
        write.write_all(b"still open").unwrap();
        drop(write);
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, "still open");
    }

    #[test]
    fn what_is_kept_is_opened_anew_unless_the_number_is_anothers() {
        let (read, _write) = std::io::pipe().unwrap();
        let kept = KeptFd::keep(read.into()).unwrap();
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let open = |kept: &KeptFd| {
            with_own_table("test", |table| {
                let file = FileId::of(table.open(kept, flags)?);
                Ok(file.unwrap())
            })
        };
        assert_eq!(Some(open(&kept).unwrap()), kept.file());
        let null = std::fs::File::open("/dev/null").unwrap();
        let number = kept.unverified().as_raw_fd();
        // SAFETY: a number of the test's own.
        assert_eq!(unsafe { libc::dup2(null.as_raw_fd(), number) }, number);
        assert_eq!(open(&kept).unwrap_err().kind(), ErrorKind::Invalid);
        // SAFETY: made just above; what is kept does not close it.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
    }
}
