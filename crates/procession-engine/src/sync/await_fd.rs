//! A descriptor by which a process learns that an object has changed. It is for event loops, which
//! wait for many things at once in one thread.
//!
//! A process that waits tries first, then arms the descriptor, and tries again once the descriptor
//! is readable. An armed descriptor is told of one change, so a process that does not wait is told
//! nothing. `README.md` beside this file says why no change is missed.

use crate::sync::notify::{NotifyList, OwnDoorbell, ReadableFd};
use procession_shm::{Object, Stamp};
use procession_sys::error::{ErrorKind, Result};
use procession_sys::process::pidfd::PidFd;

/// This process's descriptor of one object, made when it is first armed.
#[derive(Debug)]
pub struct AwaitFd {
    /// Keeps the list alive.
    object: Object,
    list: &'static NotifyList,
    bell: OwnDoorbell,
}

/// What to poll until it is worth another try.
#[derive(Debug)]
pub struct Armed {
    /// Readable once the object has changed.
    pub changed: ReadableFd,
    /// Readable once the process has ended that holds the object, if that process is known.
    pub holder_exit: Option<PidFd>,
}

impl AwaitFd {
    pub(crate) fn of(object: &Object, list: &'static NotifyList) -> Self {
        Self {
            object: object.clone(),
            list,
            bell: OwnDoorbell::default(),
        }
    }

    /// Arms the descriptor; `None` when the object is `ready` now.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left, or too many processes wait for the object in
    /// this way.
    pub(crate) fn arm(&self, ready: impl FnOnce() -> bool) -> Result<Option<Armed>> {
        let changed = self.bell.arm(self.list, self.object.family())?;
        if ready() {
            return self.try_now(&changed);
        }
        Ok(Some(Armed {
            changed,
            holder_exit: None,
        }))
    }

    /// As [`arm`](Self::arm), for an object that a member holds: the caller is to try again when
    /// that member has ended, too.
    pub(crate) fn arm_with_holder(
        &self,
        ready: impl FnOnce() -> bool,
        holder: impl FnOnce() -> Option<Stamp>,
    ) -> Result<Option<Armed>> {
        let Some(mut armed) = self.arm(ready)? else {
            return Ok(None);
        };
        let family = self.object.family();
        // If the holder has changed a moment ago, the holder before has rung.
        let Some(holder) = holder() else {
            return self.try_now(&armed.changed);
        };
        // The process id of a holder in another pid namespace means nothing here; its parent
        // reclaims it.
        if holder == family.me() || family.is_in_other_namespace(holder) {
            return Ok(Some(armed));
        }
        let member = family.member(holder);
        match PidFd::open_again(member.pid(), member.seen()) {
            Ok(pidfd) => armed.holder_exit = Some(pidfd),
            Err(error) if error.kind() == ErrorKind::Dead => return self.try_now(&armed.changed),
            Err(error) => return Err(error),
        }
        Ok(Some(armed))
    }

    fn try_now(&self, changed: &ReadableFd) -> Result<Option<Armed>> {
        // Other threads of this process may wait by this descriptor for what is left.
        changed.ring_now(self.object.family());
        Ok(None)
    }
}

impl Drop for AwaitFd {
    fn drop(&mut self) {
        self.bell.unregister(self.list, self.object.family());
    }
}
