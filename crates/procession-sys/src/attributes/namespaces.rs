//! The namespaces that a process's children live in.

use std::mem::MaybeUninit;

use rustix::fs::{Mode, OFlags, open, readlinkat_raw};

/// Their names in /proc. Those of pids and time have names of their own for children.
const NAMES: [&str; 8] = [
    // A process without privileges cannot change any other without changing this one.
    "user",
    "cgroup",
    "ipc",
    "mnt",
    "net",
    "pid_for_children",
    "time_for_children",
    "uts",
];

/// A number for each namespace, 0 where the system does not tell.
pub type Namespaces = [u64; NAMES.len()];

/// Which namespaces are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Each.
    All,
    /// That of users.
    User,
}

/// Looks at those of the calling thread's children.
#[must_use]
pub fn look(which: Which) -> Namespaces {
    let mut found = Namespaces::default();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // By the folder: a path through /proc takes the most time of all here.
    let Ok(folder) = open("/proc/thread-self/ns", flags, Mode::empty()) else {
        return found;
    };
    let names = match which {
        Which::All => &NAMES[..],
        Which::User => &NAMES[..1],
    };
    for (place, name) in found.iter_mut().zip(names) {
        let mut room = [MaybeUninit::uninit(); 64];
        let Ok((link, _)) = readlinkat_raw(&folder, *name, &mut room) else {
            // Older kernels lack some.
            continue;
        };
        // As in `uts:[4026531838]`.
        let digits = link.iter().filter(|byte| byte.is_ascii_digit());
        *place = digits.fold(0, |number, &digit| number * 10 + u64::from(digit - b'0'));
    }
    found
}
