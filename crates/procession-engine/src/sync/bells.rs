//! Doorbells to ring when an object turns ready: who wants to be told by a
//! descriptor.
//!
//! The rule that users keep: *while the object is ready, every bell in its
//! table rings, or is being rung.* `README.md` beside this file says how an
//! event does, and that of `channel` how a queue does.
//!
//! # Safety
//! The table is only reached through its link, which is set to a block of that
//! size after it was zeroed, and stands until the object is destroyed.

#![expect(unsafe_code, reason = "a typed view of arena memory")]

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::arena::{Block, Family, Stamp};
use crate::error::{Error, ErrorKind, Result};
use crate::os::doorbell::{self, Doorbell};
use crate::os::fork_mutex::ForkMutex;
use crate::os::poll;
use crate::primitive::{AtomicU32, AtomicU64, Ordering, fence, relax};

/// Processes that may wait for one object by descriptor.
const ENTRIES: usize = 511;

/// Set in the numbers of these doorbells: other users of doorbells number
/// theirs from below.
const OURS: u32 = 1 << 31;

/// Set in an owner that a forked child is just putting in; never in a stamp.
const SETTLING: u32 = 1 << 31;

/// Where in the arena the table is, once somebody wants to be told.
#[derive(Debug)]
#[repr(transparent)]
pub struct Bells {
    table: AtomicU64,
}

/// Each entry is a stamp and the number of its doorbell, or 0. Entries past
/// `used` were never taken.
#[repr(C)]
struct Table {
    used: AtomicU64,
    entries: [AtomicU64; ENTRIES],
}

impl Bells {
    /// Tells whether anybody ever registered.
    pub fn any(&self) -> bool {
        self.table.load(Ordering::Relaxed) != 0
    }

    /// Makes every registered descriptor readable, and forgets those that
    /// nobody has any more.
    pub fn ring(&self, family: &Family) {
        for entry in self.entries(family) {
            let value = entry.load(Ordering::Acquire);
            // An error means that this process cannot ring at all, which
            // `register` made sure of as far as it can.
            if value != 0
                && let Ok(false) = doorbell::ring(family.id(), (value >> 32) as u32, value as u32)
            {
                let _ = entry.compare_exchange(value, 0, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }

    /// Takes out all that a dead member registered, and completes what it had
    /// begun.
    pub fn forget(&self, family: &Family, dead: Stamp) {
        let table = self.table.load(Ordering::Acquire);
        if table != 0 {
            let _ = family.change_owner(table, dead, Stamp::NOBODY);
        }
        for entry in self.entries(family) {
            let value = entry.load(Ordering::Relaxed);
            if value >> 32 == u64::from(dead.raw()) {
                let _ = entry.compare_exchange(value, 0, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }

    /// Frees the table; the object is being destroyed.
    pub fn destroy(&self) {
        let table = self.table.load(Ordering::Acquire);
        // First ours, then forgotten, then freed: were we to die in between,
        // nobody frees by this link what has become another's meanwhile.
        if let Ok(block) = Block::claim(table, Stamp::NOBODY) {
            self.table.store(0, Ordering::Release);
            drop(block);
        }
    }

    fn entries<'a>(&self, family: &'a Family) -> &'a [AtomicU64] {
        match self.table(family) {
            None => &[],
            Some(table) => {
                let used = table.used.load(Ordering::Acquire) as usize;
                &table.entries[..used.min(ENTRIES)]
            }
        }
    }

    fn table<'a>(&self, family: &'a Family) -> Option<&'a Table> {
        let offset = self.table.load(Ordering::Acquire);
        (offset != 0).then(|| table_at(family, offset))
    }

    fn make_table<'a>(&self, family: &'a Family) -> Result<&'a Table> {
        if let Some(table) = self.table(family) {
            return Ok(table);
        }
        let mut block = family.alloc(size_of::<Table>() as u64)?;
        block.fill(0);
        let offset = block.offset();
        match self
            .table
            .compare_exchange(0, offset, Ordering::AcqRel, Ordering::Acquire)
        {
            // Killed before this line, we leave a linked table that is ours:
            // `forget` disowns it before burial frees what was ours.
            Ok(_) => {
                block.disown()?;
                Ok(table_at(family, offset))
            }
            Err(theirs) => Ok(table_at(family, theirs)),
        }
    }

    fn take_entry(&self, family: &Family, value: u64) -> Result<()> {
        let table = self.make_table(family)?;
        for (i, entry) in table.entries.iter().enumerate() {
            table.used.fetch_max(i as u64 + 1, Ordering::AcqRel);
            if entry
                .compare_exchange(0, value, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                return Ok(());
            }
        }
        Err(Error::new(
            ErrorKind::Limit,
            format!("{ENTRIES} processes wait for this object by descriptor already"),
        ))
    }
}

fn table_at(family: &Family, offset: u64) -> &Table {
    let at = family
        .pointer(offset, size_of::<Table>() as u64)
        .cast::<Table>();
    // SAFETY: `make_table` made it one, of atomics alone, and it goes only
    // when nobody is attached to the object.
    unsafe { at.as_ref() }
}

/// This process's own doorbell of one object, made on first use.
#[derive(Debug, Default)]
pub struct OwnBell {
    /// Whose `bell` is: a forked child finds its parent's.
    owner: AtomicU32,
    bell: ForkMutex<Option<Arc<Registered>>>,
}

/// A descriptor that is readable while the object is ready; now and then also
/// when it is so no longer.
#[derive(Clone, Debug)]
pub struct ReadableFd(Arc<Registered>);

#[derive(Debug)]
struct Registered {
    doorbell: Doorbell,
    value: u64,
    owner: Stamp,
}

impl OwnBell {
    /// Returns the doorbell, if this process has hung one up.
    pub fn get(&self, family: &Family) -> Option<ReadableFd> {
        // The usual case: nobody here ever asked for a descriptor.
        if self.owner.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.settle(family);
        self.mine(family)
    }

    /// Returns the doorbell, hanging one up if need be.
    pub fn get_or_hang_up(&self, bells: &Bells, family: &Family) -> Result<ReadableFd> {
        self.settle(family);
        let me = family.me();
        let mut bell = self.bell.lock();
        if let Some(registered) = &*bell
            && registered.owner == me
        {
            return Ok(ReadableFd(Arc::clone(registered)));
        }
        doorbell::prepare()?;
        let number = family.next_serial() as u32 | OURS;
        let registered = Arc::new(Registered {
            doorbell: Doorbell::bind(family.id(), me.raw(), number)?,
            value: u64::from(me.raw()) << 32 | u64::from(number),
            owner: me,
        });
        bells.take_entry(family, registered.value)?;
        // SeqCst: registration before the caller's look at the object; pairs
        // with the fence, or the update, of whoever makes it ready.
        fence(Ordering::SeqCst);
        *bell = Some(Arc::clone(&registered));
        Ok(ReadableFd(registered))
    }

    /// Makes this the current process's, if it was its parent's: no thread of
    /// this process has the mutex then, whatever it says.
    fn settle(&self, family: &Family) {
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
    pub fn take_down(&self, bells: &Bells, family: &Family) {
        if let Some(ReadableFd(registered)) = self.get(family) {
            for entry in bells.entries(family) {
                let _ = entry.compare_exchange(
                    registered.value,
                    0,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
            }
        }
    }
}

impl ReadableFd {
    /// Makes the descriptor readable, if it is not.
    pub(crate) fn ring(&self, family: &Family) {
        // Who drains it in this moment looks again afterwards.
        if poll::is_readable(self).unwrap_or(false) {
            return;
        }
        let value = self.0.value;
        let _ = doorbell::ring(family.id(), (value >> 32) as u32, value as u32);
    }

    /// Makes the descriptor unreadable until the next ring.
    pub(crate) fn drain(&self) {
        self.0.doorbell.drain();
    }
}

impl AsFd for ReadableFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.doorbell.as_fd()
    }
}
