//! A lane: the piece of the arena that the pool shares with one worker.
//!
//! It holds the words and bytes of both rings, and what burial needs in order
//! to save results that a dead worker had published. The protocol is told in
//! `README.md`.
//!
//! # Safety
//! A lane is an object of the kind `Pool`, made with the size of [`Shared`] and
//! both rings behind it.

#![expect(unsafe_code, reason = "rings of bytes inside an object")]

use crate::arena::blocks::stale_block;
use crate::arena::object::View;
use crate::arena::{Block, Family, Handle, Hooks, Object, ObjectKind, Stamp};
use crate::error::Result;
use crate::os::last_words;
use crate::pool::record::{Place, read_reply};
use crate::pool::reply_words::ReplyWords;
use crate::pool::ring::Ring;
use crate::pool::since::Since;
use crate::pool::window::Window;
use crate::primitive::{AtomicU32, AtomicU64, Ordering};

/// Bytes of the ring of tasks: about a thousand small ones.
const TASK_BYTES: u64 = 64 << 10;

/// Bytes of the ring of results; with the tasks, the words and the object's
/// header a lane fills two chunks of the arena.
const REPLY_BYTES: u64 = 60 << 10;

/// What a lane has besides its rings.
#[derive(Debug)]
#[repr(C)]
pub struct Shared {
    /// The words of the task ring.
    pub window: Window,
    /// The words of the result ring.
    pub replies: ReplyWords,
    /// The pool's process.
    pub pool: AtomicU32,
    /// The number of the pool's doorbell.
    pub doorbell: AtomicU32,
    /// With this many tasks or fewer left, the worker rings for [`Bell::Some`].
    ///
    /// [`Bell::Some`]: super::reply_words::Bell::Some
    pub low: AtomicU32,
    /// The worker's place in the pool, from 0.
    pub index: AtomicU32,
    /// Which task began last, and when.
    pub since: Since,
    /// 1 once the worker has died because it was refused memory.
    pub starved: AtomicU32,
    _pad: u32,
    /// How far the claim of a task's block got, see `README.md`, "Blocks".
    pub claim: AtomicU64,
}

#[cfg(not(loom))]
const _: () = assert!(
    size_of::<Shared>() as u64 + crate::arena::object::HEADER + TASK_BYTES + REPLY_BYTES
        <= 2 * crate::arena::layout::CHUNK
);

/// Reaches a lane, from either side, and keeps it alive.
#[derive(Clone, Debug)]
pub struct Lane {
    object: Object,
}

impl Lane {
    /// Makes a lane of this process's pool.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub fn create(doorbell: u32) -> Result<Self> {
        let len = size_of::<Shared>() as u64 + TASK_BYTES + REPLY_BYTES;
        let lane = Self {
            object: Object::create(ObjectKind::Pool, len)?,
        };
        let me = lane.object.family().me();
        lane.pool.store(me.raw(), Ordering::Relaxed);
        lane.doorbell.store(doorbell, Ordering::Relaxed);
        Ok(lane)
    }

    /// Attaches to the lane that a handle names.
    ///
    /// # Errors
    /// `Stale` when the pool is gone.
    pub fn attach(handle: Handle) -> Result<Self> {
        Ok(Self {
            object: Object::attach(handle, ObjectKind::Pool)?,
        })
    }

    /// Returns the handle for a worker that is about to start. It is not lent:
    /// the pool keeps the lane until the worker is dead, whether or not it
    /// came to attach.
    pub fn handle(&self) -> Handle {
        self.object.handle()
    }

    /// Returns the ring of tasks.
    pub fn tasks(&self) -> Ring {
        ring(self.object.view(), 0, TASK_BYTES)
    }

    /// Returns the ring of results.
    pub fn results(&self) -> Ring {
        ring(self.object.view(), TASK_BYTES, REPLY_BYTES)
    }

    /// Returns the family.
    pub fn family(&self) -> &'static Family {
        self.object.family()
    }

    /// Has this process, the worker, say in `starved` when it dies for lack of
    /// memory, until [`last_words::forget`].
    ///
    /// # Errors
    /// When its signals cannot be handled.
    pub fn leave_last_words(&self) -> Result<()> {
        let view = self.object.view();
        let offset = view.body_offset() + std::mem::offset_of!(Shared, starved) as u64;
        let word = view.family().pointer(offset, 4).cast();
        // SAFETY: an atomic in the arena, whose mapping outlives everything.
        unsafe { last_words::leave_in(word) }
    }

    /// Empties the lane for another worker, once its last one is buried.
    pub fn reset(&self, index: u32) {
        self.index.store(index, Ordering::Relaxed);
        self.low.store(0, Ordering::Relaxed);
        self.since.reset();
        self.claim.store(0, Ordering::Relaxed);
        self.starved.store(0, Ordering::Relaxed);
        self.replies.reset();
        self.window.reset();
    }
}

impl std::ops::Deref for Lane {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        self.object.body()
    }
}

/// Returns the bytes of a task.
///
/// # Errors
/// `Stale` when they should be in a block, and there is none.
pub fn bytes_at<'a>(family: &'static Family, ring: Ring, place: Place) -> Result<&'a [u8]> {
    if place.in_block {
        bytes_of(family, place.at, place.len)
    } else {
        Ok(ring.bytes(place.at, place.len))
    }
}

/// Returns what the tasks of a job have in common, by the offset of its block.
///
/// # Errors
/// `Stale` when there is no such block.
pub fn prologue_at<'a>(family: &'static Family, offset: u64) -> Result<&'a [u8]> {
    let capacity = family.capacity_at(offset)?;
    let (len, rest) = bytes_of(family, offset, capacity)?.split_at(8);
    let len = u64::from_le_bytes(len.try_into().expect("it was split at eight"));
    usize::try_from(len)
        .ok()
        .and_then(|len| rest.get(..len))
        .ok_or_else(|| stale_block(offset))
}

/// Returns the bytes of a block that a record told of.
///
/// # Errors
/// `Stale` when there is no block of so many bytes.
pub fn bytes_of<'a>(family: &'static Family, offset: u64, len: u64) -> Result<&'a [u8]> {
    if len > family.capacity_at(offset)? {
        return Err(stale_block(offset));
    }
    let at = family.pointer(offset, len);
    // SAFETY: a block of the arena, which is mapped for good; whoever told of it
    // keeps it alive.
    Ok(unsafe { std::slice::from_raw_parts(at.as_ptr(), len as usize) })
}

/// Takes over the block of a result that `worker` published.
///
/// # Errors
/// `Stale` when it is gone, or was never so long.
pub fn claim_result(place: Place, worker: Stamp, me: Stamp) -> Result<Block> {
    // The second way round: burial gave it to us already.
    let block = Block::claim(place.at, worker)
        .or_else(|error| Block::claim(place.at, me).map_err(|_| error))?;
    match place.len <= block.capacity() {
        true => Ok(block),
        false => Err(stale_block(place.at)),
    }
}

/// What burial does for a lane.
#[cfg_attr(loom, expect(dead_code, reason = "loom makes no objects"))]
pub const HOOKS: Hooks = Hooks {
    on_death: save_results,
    on_destroy: |_| {},
};

/// Gives the blocks of results that nobody has read to the pool, when their
/// worker has died.
fn save_results(view: View<'_>, dead: Stamp) {
    let shared = view.body::<Shared>();
    let pool = Stamp::from_raw(shared.pool.load(Ordering::Relaxed));
    let family = view.family();
    if dead == pool || family.is_dead(pool) {
        return;
    }
    let ring = ring(view, TASK_BYTES, REPLY_BYTES);
    let mut position = shared.replies.head();
    let tail = shared.replies.tail();
    // The pool may be reading the same records now: what it has claimed is no
    // longer the dead worker's, and stays as it is.
    if tail.saturating_sub(position) > ring.capacity() {
        return; // It has written over its own words.
    }
    while position < tail
        && let Ok((record, next)) = read_reply(ring, position)
    {
        if record.place.in_block {
            let _ = family.change_owner(record.place.at, dead, pool);
        }
        position = next;
    }
}

fn ring(view: View<'_>, skip: u64, len: u64) -> Ring {
    let offset = view.body_offset() + size_of::<Shared>() as u64 + skip;
    let at = view.family().pointer(offset, len);
    // SAFETY: inside the object, which was made with room for both rings at
    // these places; the mapping outlives everything.
    unsafe { Ring::new(at, len) }
}
