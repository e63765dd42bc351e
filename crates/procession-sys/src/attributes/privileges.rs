//! The privileges of a process: its ids, capabilities, namespaces and filters.
//!
//! A program may drop some of them at any time, and expects that a process which it
//! starts afterwards has no more. A process that a server forks has the server's
//! privileges; so a client of a server compares its own with the server's at every
//! start. This is quicker than
//! [`ExecutionContext`](crate::attributes::execution_context), which reads all that
//! exec passes on.
//!
//! # Safety
//! Plain calls that fill what is on the stack.

#![expect(unsafe_code, reason = "getresuid and the like, which rustix lacks")]

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;

use rustix::process::getgroups;
use rustix::thread::{CapabilitySet, capabilities, no_new_privs};

use crate::attributes::namespaces::{self, Namespaces, Which};

/// The privileges of the calling thread and of processes that it starts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Privileges {
    /// Real, effective and saved, of user and group.
    ids: [u32; 6],
    groups: Vec<u32>,
    /// Effective, permitted and inheritable capabilities, and the bounding set.
    capabilities: [u64; 4],
    no_new_privs: Option<bool>,
    /// The mode, and how many filters there are.
    filters: (i32, Option<String>),
    /// Device and inode.
    root: Option<(u64, u64)>,
    namespaces: Namespaces,
}

impl Privileges {
    /// Looks at those of the calling thread.
    #[must_use]
    pub fn look() -> Self {
        let sets = capabilities(None).ok();
        let has = |wanted| sets.is_none_or(|sets| sets.effective.contains(wanted));
        // A namespace that only a privileged process can change is not looked at in a
        // process without the privilege: if the process had the privilege at another
        // time, its capabilities differ.
        let changeable = match has(CapabilitySet::SYS_ADMIN) {
            true => Which::All,
            false => Which::User,
        };
        let bounds = match has(CapabilitySet::SETPCAP) {
            true => bounding_set(),
            false => 0,
        };
        Self {
            ids: ids(),
            groups: groups(),
            capabilities: sets.map_or([u64::MAX; 4], |sets| {
                let [effective, permitted, inheritable] =
                    [sets.effective, sets.permitted, sets.inheritable].map(|set| set.bits());
                [effective, permitted, inheritable, bounds]
            }),
            no_new_privs: no_new_privs().ok(),
            filters: filters(),
            root: fs::metadata("/").ok().map(|root| (root.dev(), root.ino())),
            namespaces: namespaces::look(changeable),
        }
    }

    /// Returns a number that is the same for the same privileges, in every process
    /// of this program.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

fn ids() -> [u32; 6] {
    let mut ids = [u32::MAX; 6];
    let [real, effective, saved, group, effective_group, saved_group] = &mut ids;
    // SAFETY: three places each; it cannot fail but for others than these.
    unsafe { libc::getresuid(real, effective, saved) };
    // SAFETY: as above.
    unsafe { libc::getresgid(group, effective_group, saved_group) };
    ids
}

fn groups() -> Vec<u32> {
    let groups = getgroups().unwrap_or_default();
    groups.into_iter().map(|group| group.as_raw()).collect()
}

fn bounding_set() -> u64 {
    let has = |capability: u64| {
        // SAFETY: the command takes one number.
        unsafe { libc::prctl(libc::PR_CAPBSET_READ, capability) }
    };
    // The first that the kernel does not know ends them.
    (0..64)
        .map(|capability| (capability, has(capability)))
        .take_while(|(_, is_set)| *is_set >= 0)
        .fold(0, |set, (capability, is_set)| {
            set | u64::from(is_set == 1) << capability
        })
}

/// Returns the mode of seccomp and, where there are filters, what the kernel tells
/// of how many.
fn filters() -> (i32, Option<String>) {
    // SAFETY: the command takes nothing.
    let mode = unsafe { libc::prctl(libc::PR_GET_SECCOMP) };
    if mode == 0 {
        return (mode, None);
    }
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("Seccomp_filters:"));
    (mode, line.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use rustix::thread::set_no_new_privs;

    use super::*;
    use crate::testing;

    fn shows(change: impl FnOnce()) -> bool {
        testing::shows(|| Privileges::look().digest(), change)
    }

    #[test]
    fn what_anybody_may_drop_shows() {
        assert!(!shows(|| ()), "nothing");
        let before = no_new_privs().unwrap();
        assert_eq!(shows(|| set_no_new_privs(true).unwrap()), !before);
        // A namespace of users may be forbidden, or already be the deepest.
        let user = || {
            // SAFETY: a child with one thread.
            if unsafe { libc::unshare(libc::CLONE_NEWUSER) } != 0 {
                set_no_new_privs(true).unwrap();
            }
        };
        assert!(shows(user) || before, "namespace of users");
    }

    #[test]
    fn what_root_drops_shows() {
        if ids() != [0; 6] {
            eprintln!("not tried: the tests do not run as root");
            return;
        }
        // SAFETY: plain calls, in a child with one thread.
        let groups = || unsafe {
            assert_eq!(libc::setgroups(1, [4242].as_ptr()), 0);
        };
        assert!(shows(groups), "groups");
        // SAFETY: as above.
        let group = || unsafe { assert_eq!(libc::setgid(65_534), 0) };
        assert!(shows(group), "group");
        // SAFETY: as above.
        let user = || unsafe { assert_eq!(libc::setuid(65_534), 0) };
        assert!(shows(user), "user");
        // SAFETY: as above.
        let bound = || unsafe { assert_eq!(libc::prctl(libc::PR_CAPBSET_DROP, 10), 0) };
        assert!(shows(bound), "bounding set");
        // SAFETY: as above.
        let root = || unsafe { assert_eq!(libc::chroot(c"/proc".as_ptr()), 0) };
        assert!(shows(root), "root");
        let network = || {
            // SAFETY: as above.
            let code = unsafe { libc::unshare(libc::CLONE_NEWUTS) };
            assert_eq!(code, 0);
        };
        assert!(shows(network), "namespace");
    }
}
