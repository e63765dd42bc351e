//! The processors that a thread may run on.
//!
//! # Safety
//! The two system calls get a buffer and its true length.

#![expect(unsafe_code, reason = "rustix's CpuSet ends at 1,024 processors")]

use std::io;

use crate::error::{Error, Result};

/// Holds a set of processors.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Affinity {
    /// Processor n is bit n % 64 of word n / 64; the last word is not 0.
    words: Vec<u64>,
}

impl Affinity {
    /// Returns the processors that the calling thread may run on.
    ///
    /// # Errors
    /// When the kernel does not tell (a sandbox).
    pub fn current() -> Result<Self> {
        let mut words = vec![0u64; 16];
        loop {
            // SAFETY: the buffer is as long as said; 0 is the calling thread.
            let code = unsafe {
                libc::syscall(
                    libc::SYS_sched_getaffinity,
                    0,
                    size_of_val(words.as_slice()),
                    words.as_mut_ptr(),
                )
            };
            if code >= 0 {
                return Ok(Self::trimmed(words));
            }
            let error = io::Error::last_os_error();
            // EINVAL: the machine may have more processors than bits.
            if error.raw_os_error() != Some(libc::EINVAL) || words.len() >= MOST_WORDS {
                return Err(Error::os("ask which processors may be used", error));
            }
            words.resize(words.len() * 2, 0);
        }
    }

    /// Makes a set of the processors with these numbers.
    pub fn from_cpus(cpus: impl IntoIterator<Item = usize>) -> Self {
        let mut words = Vec::new();
        for cpu in cpus.into_iter().filter(|cpu| cpu / 64 < MOST_WORDS) {
            let word = cpu / 64;
            if words.len() <= word {
                words.resize(word + 1, 0);
            }
            words[word] |= 1u64 << (cpu % 64);
        }
        Self::trimmed(words)
    }

    /// Lets the calling thread, and threads and processes that it starts from
    /// now on, run on these processors only.
    ///
    /// # Errors
    /// When none of them exists or may be used.
    pub fn apply(&self) -> Result<()> {
        // SAFETY: the buffer is as long as said; 0 is the calling thread.
        let code = unsafe {
            libc::syscall(
                libc::SYS_sched_setaffinity,
                0,
                size_of_val(self.words.as_slice()),
                self.words.as_ptr(),
            )
        };
        if code == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        Err(Error::os("choose the processors to run on", error))
    }

    /// Returns how many processors these are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Returns the numbers of the processors.
    pub fn cpus(&self) -> impl Iterator<Item = usize> {
        (0..self.words.len() * 64).filter(|cpu| self.words[cpu / 64] >> (cpu % 64) & 1 == 1)
    }

    fn trimmed(mut words: Vec<u64>) -> Self {
        while words.last() == Some(&0) {
            words.pop();
        }
        Self { words }
    }
}

/// Enough for 65,536 processors; Linux is built for 8,192 at most.
const MOST_WORDS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{WATCHDOG, child};

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set = Affinity::from_cpus([3, 200, 64]);
        assert_eq!(set.count(), 3);
        assert_eq!(set.cpus().collect::<Vec<_>>(), [3, 64, 200]);
        assert_eq!(Affinity::from_cpus([]).count(), 0);
        assert_eq!(Affinity::from_cpus([usize::MAX, 1 << 40]).count(), 0);
    }

    #[test]
    fn a_child_runs_where_it_is_told() {
        let all = Affinity::current().unwrap();
        assert!(all.count() >= 1);
        let (process, _release) = child(|_| {
            let one = Affinity::from_cpus(all.cpus().take(1));
            one.apply().unwrap();
            assert_eq!(Affinity::current().unwrap(), one);
            0
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        assert!(process.reap().unwrap().unwrap().is_success());
    }

    #[test]
    fn nowhere_to_run_is_an_error() {
        assert!(Affinity::from_cpus([]).apply().is_err());
    }
}
