//! Children that have ended and whose parents do not know it yet.
//!
//! The fork server leaves each a zombie, as a parent that forked it itself would,
//! so that its pid stays its own until the parent has seen the end; README.md has
//! the protocol. Parents that never look are no reason to run out of processes:
//! only so many are kept.

use std::collections::VecDeque;
use std::os::fd::AsFd;

use crate::arena::member::WATCHED;
use crate::arena::{Family, Stamp};
use crate::os::epoll::Epoll;
use crate::os::exit_status::ExitStatus;
use crate::os::pidfd::PidFd;
use crate::primitive::Ordering;

/// Zombies at the most; each holds a process id, and a descriptor of the server.
const MOST: usize = 128;

/// Key of a parent in the set of descriptors, with its stamp.
pub(super) const PARENT_KEY: u64 = 2 << 32;

/// The zombies, and those who are to look at them.
#[derive(Debug, Default)]
pub(super) struct Unseen {
    ended: VecDeque<Ended>,
    /// Parents of children that have ended. Stays until they end themselves.
    parents: Vec<(Stamp, PidFd)>,
}

#[derive(Debug)]
struct Ended {
    stamp: Stamp,
    parent: Stamp,
    pidfd: PidFd,
}

impl Unseen {
    /// Leaves an ended child unreaped until its parent has seen the end, and passes
    /// its exit on; gives back what is to be reaped now.
    pub(super) fn keep(
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

    /// Sees to it that the parent's end is noticed; false if it has ended, is
    /// this server, or there are no descriptors.
    fn watch(&mut self, family: &Family, set: &Epoll, parent: Stamp) -> bool {
        if self.parents.iter().any(|(stamp, _)| *stamp == parent) {
            return true;
        }
        let pid = family.member(parent).pid();
        let Ok(pidfd) = PidFd::open(pid) else {
            return false;
        };
        // The number may be another's by now; if it was when we opened it, the
        // parent is dead.
        let key = PARENT_KEY + u64::from(parent.raw());
        if parent == family.me() || family.is_dead(parent) || set.add(&pidfd, key).is_err() {
            return false;
        }
        self.parents.push((parent, pidfd));
        true
    }

    /// Reaps those whose end their parents have seen.
    pub(super) fn reap_seen(&mut self, family: &Family) {
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

    /// Reaps the children of one that has ended, and gives their slots back.
    pub(super) fn parent_ended(&mut self, family: &Family, parent: Stamp, set: &Epoll) {
        self.parents.retain(|(stamp, pidfd)| {
            if *stamp == parent {
                let _ = set.remove(pidfd.as_fd());
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
