//! Children of the fork server that have ended, while their parents do not know it yet.
//!
//! The server leaves each of them a zombie, so that its pid means no other process until the
//! parent has seen the end; README.md describes the protocol. The number of zombies is
//! limited, so that parents that never look do not use up all process ids.

use std::collections::VecDeque;

use procession_shm::member::table::WATCHED;
use procession_shm::{Family, Stamp};
use procession_sys::primitive::Ordering;
use procession_sys::process::exit_status::ExitStatus;
use procession_sys::process::pidfd::PidFd;
use procession_sys::wait::epoll::Epoll;

/// The most zombies; each holds a process id, and a descriptor of the server.
const MOST: usize = 128;

/// The keys of parents in the set of descriptors begin here; a parent's stamp is added.
pub(crate) const PARENT_KEY: u64 = 2 << 32;

/// The zombies, and their parents.
#[derive(Debug, Default)]
pub(crate) struct Zombies {
    ended: VecDeque<Ended>,
    /// Parents of children that have ended; each is kept until it ends itself.
    parents: Vec<(Stamp, PidFd)>,
}

#[derive(Debug)]
struct Ended {
    stamp: Stamp,
    parent: Stamp,
    pidfd: PidFd,
}

impl Zombies {
    /// Records the exit of an ended child, and leaves it unreaped until its parent has seen the
    /// end; returns the child if it is to be reaped now.
    pub(crate) fn keep(
        &mut self,
        family: &Family,
        set: &Epoll,
        stamp: Stamp,
        pidfd: PidFd,
        status: ExitStatus,
    ) -> Option<PidFd> {
        let member = family.member(stamp);
        let parent = Stamp::from_raw(member.parent.load(Ordering::Relaxed));
        let is_awaited = member.flags.load(Ordering::Relaxed) & WATCHED != 0;
        if is_awaited || !self.watch(family, set, parent) {
            return Some(pidfd);
        }
        let told = status.to_wait_status() as u32;
        if !member.exit.keep(stamp.generation(), told) {
            return Some(pidfd);
        }
        if self.ended.len() == MOST
            && let Some(oldest) = self.ended.pop_front()
        {
            oldest.reap(family);
        }
        self.ended.push_back(Ended {
            stamp,
            parent,
            pidfd,
        });
        None
    }

    /// Watches a parent, so that the server notices its end; false if the parent has ended or
    /// is this server, or no descriptor is left.
    fn watch(&mut self, family: &Family, set: &Epoll, parent: Stamp) -> bool {
        if self.parents.iter().any(|(stamp, _)| *stamp == parent) {
            return true;
        }
        let pid = family.member(parent).pid();
        let Ok(pidfd) = PidFd::open(pid) else {
            return false;
        };
        // The kernel may have reused the pid before it was opened; then the parent is dead,
        // which is checked below.
        let key = PARENT_KEY + u64::from(parent.raw());
        let added = pidfd.fd().and_then(|fd| set.add(fd, key));
        if parent == family.me() || family.is_dead(parent) || added.is_err() {
            return false;
        }
        self.parents.push((parent, pidfd));
        true
    }

    /// Reaps the children whose end was seen by their parents.
    pub(crate) fn reap_seen(&mut self, family: &Family) {
        self.ended.retain(|child| {
            let is_seen = family
                .member(child.stamp)
                .exit
                .is_seen(child.stamp.generation());
            if is_seen {
                child.reap(family);
            }
            !is_seen
        });
    }

    /// Reaps the children of a parent that has ended, and gives their slots back.
    pub(crate) fn parent_ended(&mut self, family: &Family, parent: Stamp, set: &Epoll) {
        self.parents.retain(|(stamp, pidfd)| {
            if *stamp == parent {
                let _ = set.remove(pidfd.unverified());
            }
            *stamp != parent
        });
        self.ended.retain(|child| {
            if child.parent == parent {
                child.reap(family);
                family.release_member(child.stamp);
            }
            child.parent != parent
        });
    }
}

impl Ended {
    fn reap(&self, family: &Family) {
        let _ = self.pidfd.reap();
        family
            .member(self.stamp)
            .exit
            .reaped(self.stamp.generation());
    }
}
