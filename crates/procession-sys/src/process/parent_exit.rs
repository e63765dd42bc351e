//! Finds out whether this process's owner has ended, or only closed its end of the
//! lifeline.
//!
//! The kernel reports both alike. A program may close all descriptors, so a signal
//! handler looks: a parent that lives, and is still the same program, has the family's
//! memory mapped. If the parent has ended, or nothing tells, this process ends by
//! SIGKILL. Otherwise the death signal ties this process to its parent in the kernel's
//! sense: the process that forked it or has adopted it, which is the owner or ends with
//! the owner. That signal comes when a *thread* of that process ends, or for another
//! reason, so the handler looks again.
//!
//! # Safety
//! The handler makes system calls only, those that signal-safety(7) allows and
//! `readlink`, `read` and `prctl`, which are as plain; it touches two atomics.

#![expect(unsafe_code, reason = "a signal handler")]

use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use crate::error::Result;
use crate::mem::memfd;
use crate::signals::{self, Disposition};

/// The process whose end ends this one; 0 for nobody.
static PARENT: AtomicI32 = AtomicI32::new(0);

/// Ends this process when another ends, as far as the signal tells of that end.
#[derive(Debug)]
#[must_use = "dropping it lets the process outlive its parent"]
pub struct ParentExit {
    /// The disposition of the signal before.
    before: Disposition,
}

impl ParentExit {
    /// Ends this process when a hang-up that [`signals::hung_up`] tells of is the
    /// end of `parent`.
    ///
    /// # Errors
    /// When the kernel refuses to have the signal handled (a sandbox).
    pub fn by(parent: u32) -> Result<Self> {
        PARENT.store(i32::try_from(parent).unwrap_or(0), Ordering::SeqCst);
        // SAFETY: see the head of this file.
        let before = unsafe { signals::handle_and_restart(signals::hung_up(), on_hang_up) }?;
        Ok(Self { before })
    }
}

impl Drop for ParentExit {
    fn drop(&mut self) {
        PARENT.store(0, Ordering::SeqCst);
        // Set by the handler, if at all.
        if TIED.swap(false, Ordering::SeqCst) {
            set_death_signal(0);
        }
        // It would fail only where it could not be changed in the first place.
        let _ = self.before.restore();
    }
}

/// Whether the death signal was set by the handler.
static TIED: AtomicBool = AtomicBool::new(false);

/// Does what the handler does, for a hang-up that came before the handler was armed.
pub fn look() {
    on_hang_up(0);
}

extern "C" fn on_hang_up(_signal: i32) {
    // SAFETY: the address of this thread's error number.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    let parent = PARENT.load(Ordering::SeqCst);
    if parent != 0 {
        end_unless(lives(parent));
        TIED.store(true, Ordering::SeqCst);
        set_death_signal(signals::hung_up());
        // It may have ended before that was set.
        end_unless(lives(parent));
    }
    // SAFETY: as above.
    unsafe { *errno = before };
}

fn end_unless(lives: bool) {
    if !lives {
        // SAFETY: a plain call.
        let me = unsafe { libc::getpid() };
        // SAFETY: as above.
        unsafe { libc::kill(me, libc::SIGKILL) };
        // A sandbox denies even that. The exit code that a shell reports for a killed
        // process: SAFETY: a plain call.
        unsafe { libc::_exit(128 + libc::SIGKILL) };
    }
}

fn set_death_signal(signal: i32) {
    // SAFETY: the command takes one number.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong) };
}

/// Tells whether a process has a family's memory mapped; false if it has ended or
/// nobody can tell.
fn lives(pid: i32) -> bool {
    if !proc_is_ours() {
        return false;
    }
    let mut path = [0u8; 32];
    let mut text = Text::new(&mut path);
    text.push(b"/proc/");
    text.push_number(pid.unsigned_abs());
    text.push(b"/maps\0");
    let Ok(path) = CStr::from_bytes_until_nul(&path) else {
        return false;
    };
    // SAFETY: a path that ends in a NUL.
    let file = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if file < 0 {
        return false;
    }
    let found = holds(file, memfd::MAPPED_AS);
    // SAFETY: opened above.
    unsafe { libc::close(file) };
    found
}

/// Tells whether what is read from a file holds a text.
fn holds(file: i32, wanted: &[u8]) -> bool {
    let mut bytes = [0u8; 2048];
    // The bytes of the last read that may be the beginning of the text.
    let mut kept = 0;
    loop {
        let room = &mut bytes[kept..];
        // SAFETY: so many bytes may be written there.
        let count = unsafe { libc::read(file, room.as_mut_ptr().cast(), room.len()) };
        let Ok(count) = usize::try_from(count) else {
            // SAFETY: the address of this thread's error number.
            let errno = unsafe { libc::__errno_location() };
            // SAFETY: as above.
            if unsafe { *errno } == libc::EINTR {
                continue;
            }
            return false;
        };
        if count == 0 {
            return false;
        }
        let all = &bytes[..kept + count];
        if all.windows(wanted.len()).any(|window| window == wanted) {
            return true;
        }
        let rest = (wanted.len() - 1).min(all.len());
        let start = all.len() - rest;
        bytes.copy_within(start..start + rest, 0);
        kept = rest;
    }
}

/// Tells whether /proc is that of this process's own namespace.
fn proc_is_ours() -> bool {
    let mut target = [0u8; 16];
    // SAFETY: a path that ends in a NUL, and room for so many bytes.
    let count = unsafe {
        libc::readlink(
            c"/proc/self".as_ptr(),
            target.as_mut_ptr().cast(),
            target.len(),
        )
    };
    let mut mine = [0u8; 16];
    let mut text = Text::new(&mut mine);
    text.push_number(std::process::id());
    let len = text.len;
    usize::try_from(count).is_ok_and(|count| target[..count] == mine[..len])
}

/// A text of bytes that is put together without memory from the heap.
struct Text<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl<'a> Text<'a> {
    fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, len: 0 }
    }

    fn push(&mut self, more: &[u8]) {
        for (to, &byte) in self.bytes[self.len..].iter_mut().zip(more) {
            *to = byte;
            self.len += 1;
        }
    }

    fn push_number(&mut self, number: u32) {
        let mut unit = 1_000_000_000;
        let mut rest = number;
        let mut begun = false;
        while unit > 0 {
            let digit = rest / unit;
            begun |= digit > 0 || unit == 1;
            if begun {
                self.push(&[b'0' + digit as u8]);
            }
            rest %= unit;
            unit /= 10;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for number in [1, 9, 10, 305, 4_194_304, u32::MAX] {
            let mut bytes = [0; 16];
            let mut text = Text::new(&mut bytes);
            text.push_number(number);
            let len = text.len;
            assert_eq!(bytes[..len], *number.to_string().as_bytes());
        }
        assert!(proc_is_ours());
    }

    #[test]
    fn a_text_is_found_across_reads() {
        let (read, mut write) = std::io::pipe().unwrap();
        let long = vec![b'-'; 2040];
        std::io::Write::write_all(&mut write, &long).unwrap();
        std::io::Write::write_all(&mut write, b"-- the needle --").unwrap();
        drop(write);
        let number = std::os::fd::AsRawFd::as_raw_fd(&read);
        assert!(holds(number, b"the needle"));
    }
}
