//! Settings of this process itself: its name, the signal at its parent's end.

use std::ffi::CString;

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::denial::refused;
use crate::error::{Error, ErrorKind, Result};

/// Sets the signal that this process gets when the *thread* that started it
/// ends; `None` for none. Unlike a [lifeline] it dies with that thread, is
/// forgotten by a fork, and kept by exec.
///
/// # Errors
/// `Invalid` when there is no such signal.
///
/// [lifeline]: crate::process::lifeline
pub fn set_death_signal(signal: Option<i32>) -> Result<()> {
    let unknown = |number| {
        let message = format!("there is no signal {number} to end by");
        Error::new(ErrorKind::Invalid, message)
    };
    let signal = signal
        .map(|number| Signal::from_named_raw(number).ok_or_else(|| unknown(number)))
        .transpose()?;
    set_parent_process_death_signal(signal).map_err(|e| refused("prctl", "set the death signal", e))
}

/// Returns the process that this one is a child of; `None` where a sandbox hides it.
#[must_use]
pub fn parent() -> Option<u32> {
    // A denial shows only as a negative number.
    i32::try_from(std::os::unix::process::parent_id())
        .ok()
        .map(i32::unsigned_abs)
}

/// Names the calling thread, as `ps` and `top` show it; the first thread's name is the
/// process's. A name that is too long is cut.
///
/// # Errors
/// When the kernel refuses (a sandbox).
pub fn set_name(name: &str) -> Result<()> {
    let mut cut = String::new();
    for letter in name.chars().filter(|&letter| letter != '\0') {
        if cut.len() + letter.len_utf8() > NAME_LENGTH {
            break;
        }
        cut.push(letter);
    }
    let name = CString::new(cut)
        .map_err(|_| Error::new(ErrorKind::Invalid, "a thread's name holds a NUL"))?;
    rustix::thread::set_name(&name).map_err(|e| refused("prctl", "name this thread", e))
}

/// Returns the calling thread's name.
///
/// # Errors
/// When the kernel refuses (a sandbox).
pub fn name() -> Result<String> {
    let name =
        rustix::thread::name().map_err(|e| refused("prctl", "ask for this thread's name", e))?;
    Ok(name.to_string_lossy().into_owned())
}

/// Bytes of a thread's name that the kernel keeps (`TASK_COMM_LEN` less the NUL).
const NAME_LENGTH: usize = 15;

#[cfg(test)]
mod tests {
    use rustix::process::parent_process_death_signal;

    use super::*;
    use crate::testing::{WATCHDOG, child};

    #[test]
    fn a_name_is_cut_between_characters() {
        let (process, _release) = child(|_| {
            set_name("worker-1\0").unwrap();
            assert_eq!(name().unwrap(), "worker-1");
            set_name("vierzehn-chars\u{e4}").unwrap();
            assert_eq!(name().unwrap(), "vierzehn-chars");
            0
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        assert!(process.reap().unwrap().unwrap().is_success());
    }

    #[test]
    fn a_death_signal_can_be_set_and_taken_back() {
        let (process, _release) = child(|_| {
            set_death_signal(Some(libc::SIGKILL)).unwrap();
            assert_eq!(parent_process_death_signal(), Ok(Some(Signal::KILL)));
            set_death_signal(None).unwrap();
            assert_eq!(parent_process_death_signal(), Ok(None));
            let error = set_death_signal(Some(4_000)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            0
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        assert!(process.reap().unwrap().unwrap().is_success());
    }
}
