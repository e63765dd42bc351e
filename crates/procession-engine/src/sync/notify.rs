//! Doorbells to ring when an object turns ready, for processes that wait for it by a
//! descriptor.
//!
//! The rule that users keep: *while the object is ready, every bell in its
//! table rings, or is being rung.* `README.md` beside this file says how an
//! event does, and that of `channel` how a queue does.
//!
//! Bells are rung and silenced under a guard, according to the object's state at that
//! moment. Without the guard, a late ring for an item that another process has taken
//! meanwhile could leave a descriptor readable that its process trusts.
//!
//! # Safety
//! The shared part is made of atomics, and any bytes are a value of it.

#![expect(unsafe_code, reason = "the form of what is shared")]

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use procession_shm::{Family, LinkedPages, RawLock, SharedPage, Stamp};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::fork_safe::mutex::ForkMutex;
use procession_sys::primitive::{AtomicU32, AtomicU64, Ordering, fence, relax};
use procession_sys::wait::doorbell::{self, Doorbell};
use procession_sys::wait::poll;

/// The most processes that can wait for one object by descriptor.
const ENTRIES: usize = 510;

/// Set in the numbers of these doorbells; other users of doorbells number theirs from 0
/// upwards.
const OURS: u32 = 1 << 31;

/// Set in an entry whose process is to be told of the next change, once.
const ARMED: u32 = 1 << 30;

/// Set in an owner that a forked child is just putting in; never in a stamp.
const SETTLING: u32 = 1 << 31;

/// Leads to the table, which exists once a process has registered.
#[derive(Debug)]
#[repr(transparent)]
pub struct NotifyList {
    table: LinkedPages<NotifyTable>,
}

/// Each entry is a stamp and the number of its doorbell, or 0. Entries past
/// `used` were never taken. In a list of those that are told once, an entry is armed while
/// its process waits.
#[repr(C)]
struct NotifyTable {
    used: AtomicU32,
    /// Held while bells are rung or silenced. If the holder dies, reclaim rings the bells that the
    /// holder has not rung.
    guard: RawLock,
    entries: [AtomicU64; ENTRIES],
}

// SAFETY: atomics and a lock word, in the order of C.
unsafe impl SharedPage for NotifyTable {}

impl NotifyList {
    /// Tells whether anybody ever registered.
    pub fn any(&self) -> bool {
        !self.table.is_empty()
    }

    /// Makes every registered descriptor readable if the object still is `ready`, and
    /// forgets bells whose process has none any more.
    pub fn ring(&self, family: &Family, ready: impl Fn() -> bool) {
        let _guard = self.guard(family);
        if !ready() {
            return;
        }
        for entry in self.entries(family) {
            let value = entry.load(Ordering::Acquire);
            // An error means that this process cannot ring at all; `register` has prepared for
            // rings as far as possible.
            if value != 0
                && let Ok(false) = doorbell::ring(family.id(), (value >> 32) as u32, value as u32)
            {
                let _ = entry.compare_exchange(value, 0, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }

    /// Makes those descriptors readable whose processes asked to be told of the next change,
    /// which the caller has just made.
    ///
    /// A process that is killed in here leaves some processes untold, whose entries may be disarmed
    /// already: see [`forget_and_ring`](Self::forget_and_ring).
    pub fn ring_armed(&self, family: &Family) {
        // SeqCst: change before look; pairs with the fence in `OwnDoorbell::arm`.
        fence(Ordering::SeqCst);
        for entry in self.entries(family) {
            let armed = entry.load(Ordering::Relaxed);
            let value = armed & !u64::from(ARMED);
            // Disarmed before the ring: when the process arms its entry after that, it is for the
            // next change.
            if armed != value
                && entry
                    .compare_exchange(armed, value, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
                && let Ok(false) = doorbell::ring(family.id(), (value >> 32) as u32, value as u32)
            {
                let _ = entry.compare_exchange(value, 0, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }

    /// Takes out all that a dead member registered, and makes all other descriptors readable, armed
    /// or not: the dead member may have made a change and told nobody, or have disarmed an entry
    /// and not rung its bell.
    pub fn forget_and_ring(&self, family: &Family, dead: Stamp) {
        self.forget(family, dead);
        for entry in self.entries(family) {
            let value = entry.load(Ordering::Acquire) & !u64::from(ARMED);
            if value != 0 {
                // A bell that no process has any more is forgotten by the next process that rings
                // it.
                let _ = doorbell::ring(family.id(), (value >> 32) as u32, value as u32);
            }
        }
    }

    /// Takes out all entries of a dead member, and completes the entry that it had begun.
    pub fn forget(&self, family: &Family, dead: Stamp) {
        self.table.disown_of(family, dead);
        for entry in self.entries(family) {
            let value = entry.load(Ordering::Relaxed);
            if value >> 32 == u64::from(dead.raw()) {
                let _ = entry.compare_exchange(value, 0, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }

    /// Takes out one bell.
    fn forget_entry(&self, family: &Family, value: u64) {
        for entry in self.entries(family) {
            for value in [value, value | u64::from(ARMED)] {
                let _ = entry.compare_exchange(value, 0, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }

    /// Arms the entry of a bell; tells whether there is one.
    fn arm_entry(&self, family: &Family, value: u64) -> bool {
        let armed = value | u64::from(ARMED);
        self.entries(family).iter().any(|entry| {
            entry
                .compare_exchange(value, armed, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
                || entry.load(Ordering::Relaxed) == armed
        })
    }

    /// Frees the table; the object is being destroyed.
    pub fn destroy(&self, family: &Family) {
        self.table.destroy(family);
    }

    /// Excludes all others that ring or silence bells of this object.
    fn guard<'a>(&self, family: &'a Family) -> Option<Guard<'a>> {
        let guard = &self.table.first(family)?.guard;
        guard.lock(family.me(), family);
        Some(Guard(guard))
    }

    fn entries<'a>(&self, family: &'a Family) -> &'a [AtomicU64] {
        match self.table.first(family) {
            None => &[],
            Some(table) => {
                let used = table.used.load(Ordering::Acquire) as usize;
                &table.entries[..used.min(ENTRIES)]
            }
        }
    }

    fn take_entry(&self, family: &Family, value: u64) -> Result<()> {
        let table = self.table.first_or_add(family)?;
        for (used, entry) in (1..).zip(&table.entries) {
            table.used.fetch_max(used, Ordering::AcqRel);
            if entry
                .compare_exchange(0, value, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                return Ok(());
            }
        }
        Err(Error::new(
            ErrorKind::Limit,
            format!(
                "{ENTRIES} processes wait for this object by a descriptor already, and no more can: \
                 wait for it without one"
            ),
        ))
    }
}

/// Holds the guard of a table.
struct Guard<'a>(&'a RawLock);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.unlock();
    }
}

/// This process's own doorbell of one object, made on first use.
#[derive(Debug, Default)]
pub struct OwnDoorbell {
    /// The process that made `bell`: a forked child inherits its parent's.
    owner: AtomicU32,
    bell: ForkMutex<Option<Arc<Registered>>>,
}

/// A descriptor that is readable while the object is ready, and after another
/// process took what it was ready for until this one looks.
#[derive(Clone, Debug)]
pub struct ReadableFd(Arc<Registered>);

#[derive(Debug)]
struct Registered {
    doorbell: Doorbell,
    value: u64,
    owner: Stamp,
}

impl OwnDoorbell {
    /// Returns the doorbell, if this process has one.
    pub fn get(&self, family: &Family) -> Option<ReadableFd> {
        // The usual case: nobody here ever asked for a descriptor.
        if self.owner.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.after_fork(family);
        self.mine(family)
    }

    /// Returns the doorbell, and makes one if this process has none.
    pub fn get_or_register(&self, bells: &NotifyList, family: &Family) -> Result<ReadableFd> {
        self.after_fork(family);
        let me = family.me();
        let mut bell = self.bell.lock();
        if let Some(registered) = &*bell
            && registered.owner == me
        {
            if registered.doorbell.is_up() {
                return Ok(ReadableFd(Arc::clone(registered)));
            }
            // The program has closed it.
            bells.forget_entry(family, registered.value);
        }
        doorbell::prepare()?;
        let number = family.next_serial() as u32 & (ARMED - 1) | OURS;
        let registered = Arc::new(Registered {
            doorbell: Doorbell::bind(family.id(), me.raw(), number)?,
            value: u64::from(me.raw()) << 32 | u64::from(number),
            owner: me,
        });
        bells.take_entry(family, registered.value)?;
        // SeqCst: registration before the caller's look at the object; pairs with the
        // fence, or the update, of the process that makes it ready.
        fence(Ordering::SeqCst);
        *bell = Some(Arc::clone(&registered));
        Ok(ReadableFd(registered))
    }

    /// Returns the doorbell, silent until the next change of the object.
    ///
    /// The caller looks at the object once more before it waits.
    pub fn arm(&self, bells: &NotifyList, family: &Family) -> Result<ReadableFd> {
        let fd = self.get_or_register(bells, family)?;
        fd.0.doorbell.drain();
        // A process that could not reach the bell may have taken the entry out.
        if !bells.arm_entry(family, fd.0.value) {
            bells.take_entry(family, fd.0.value | u64::from(ARMED))?;
        }
        // SeqCst: armed before the caller's look; pairs with the fence in `ring_armed`.
        fence(Ordering::SeqCst);
        Ok(fd)
    }

    /// Makes this the doorbell of the current process, if it was the parent's. In that case no
    /// thread of this process holds the mutex, even if it looks locked.
    fn after_fork(&self, family: &Family) {
        let me = family.me().raw();
        loop {
            // Acquire pairs with the Release below.
            let owner = self.owner.load(Ordering::Acquire);
            if owner == me {
                return;
            }
            let settled = owner != me | SETTLING
                && self
                    .owner
                    .compare_exchange(owner, me | SETTLING, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok();
            if settled {
                if owner != 0 {
                    self.bell.free_after_fork();
                }
                self.owner.store(me, Ordering::Release);
                return;
            }
            relax();
        }
    }

    fn mine(&self, family: &Family) -> Option<ReadableFd> {
        let bell = self.bell.lock();
        bell.as_ref()
            .filter(|registered| registered.owner == family.me())
            .map(|registered| ReadableFd(Arc::clone(registered)))
    }

    /// Takes the registration back; for the last user in this process.
    pub fn unregister(&self, bells: &NotifyList, family: &Family) {
        if let Some(ReadableFd(registered)) = self.get(family) {
            bells.forget_entry(family, registered.value);
        }
    }
}

impl ReadableFd {
    /// Makes the descriptor readable if the object is `ready`, and leaves it as
    /// it is otherwise.
    pub(crate) fn ring(&self, bells: &NotifyList, family: &Family, ready: impl Fn() -> bool) {
        if !ready() {
            return;
        }
        let _guard = bells.guard(family);
        if ready() && !poll::is_readable(self).unwrap_or(false) {
            let value = self.0.value;
            let _ = doorbell::ring(family.id(), (value >> 32) as u32, value as u32);
        }
    }

    /// Makes the descriptor unreadable until the next ring, unless the object
    /// is `ready`.
    pub(crate) fn clear(&self, bells: &NotifyList, family: &Family, ready: impl Fn() -> bool) {
        let _guard = bells.guard(family);
        // SeqCst: what the caller took before this look; pairs with the fence, or the
        // update, of the process that makes the object ready.
        fence(Ordering::SeqCst);
        if !ready() {
            self.0.doorbell.drain();
        }
    }
}

impl ReadableFd {
    /// Makes the descriptor readable.
    pub(crate) fn ring_now(&self, family: &Family) {
        let value = self.0.value;
        let _ = doorbell::ring(family.id(), (value >> 32) as u32, value as u32);
    }
}

impl AsFd for ReadableFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.doorbell.as_fd()
    }
}
