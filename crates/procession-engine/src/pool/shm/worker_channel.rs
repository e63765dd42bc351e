//! A worker channel: the piece of the arena that the pool shares with one worker.
//!
//! It holds the words and bytes of both rings, and the hook by which reclaim saves results
//! that a dead worker had published. `README.md` describes the protocol.
//!
//! # Safety
//! A channel is an object of the kind `Pool`, with room for both rings behind its
//! [`ChannelHeader`], which is made of atomics.

#![expect(unsafe_code, reason = "rings of bytes inside an object")]

use std::ptr::NonNull;

use crate::family;
use crate::pool::shm::label_log::LabelLog;
use crate::pool::shm::record::{ByteLocation, read_reply};
use crate::pool::shm::reply_queue::ReplyQueue;
use crate::pool::shm::ring::Ring;
use crate::pool::shm::task_clock::TaskClock;
use crate::pool::shm::task_queue::TaskQueue;
use procession_shm::alloc::blocks::stale_block;
use procession_shm::{
    Block, BodyView, Family, Handle, HandleSource, ObjectKind, SharedBody, SharedObject, Stamp,
};
use procession_sys::error::Result;
use procession_sys::mem::out_of_memory;
use procession_sys::primitive::{AtomicU32, AtomicU64, Ordering};
use procession_sys::process::crash_stack::{self, TextRegion};

/// Bytes of the task ring: about a thousand small ones.
const TASK_BYTES: u64 = 64 << 10;

/// Bytes of the reply ring. With the task ring, the words, the text of a crash
/// and the object's header, a channel fills two chunks of the arena.
const REPLY_BYTES: u64 = 52 << 10;

/// Bytes for where the worker was when it crashed: a hundred frames of Python.
const CRASH_BYTES: u64 = 8 << 10;

/// The words of a channel, in front of its rings.
#[derive(Debug)]
#[repr(C)]
pub struct ChannelHeader {
    /// The words of the task ring.
    pub task_queue: TaskQueue,
    /// The words of the reply ring.
    pub reply_queue: ReplyQueue,
    /// The stamp of the pool's process.
    pub pool: AtomicU32,
    /// The stamp of the worker, once it has attached. Forked copies of the pool's process are
    /// attached, too, until they exec or end.
    pub worker: AtomicU32,
    /// The number of the pool's doorbell.
    pub doorbell: AtomicU32,
    /// With this many tasks or fewer left, the worker rings for [`Bell::Some`].
    ///
    /// [`Bell::Some`]: super::reply_queue::Bell::Some
    pub low: AtomicU32,
    /// The worker's place in the pool, from 0.
    pub index: AtomicU32,
    /// Which task began last, and when.
    pub task_clock: TaskClock,
    /// 1 once the worker has died because it was refused memory.
    pub starved: AtomicU32,
    /// How many bytes the text has that the worker has left when it crashed.
    crash_length: AtomicU32,
    /// How far the claim of a task's block got, see `README.md`, "Blocks of tasks".
    pub claim: AtomicU64,
    /// How many bytes of private memory the worker may have; 0 for any number.
    pub memory_limit: AtomicU64,
    /// Which functions its tasks are of.
    pub labels: LabelLog,
}

#[cfg(not(loom))]
const _: () = assert!(
    size_of::<ChannelHeader>() as u64
        + procession_shm::object::shared::HEADER
        + TASK_BYTES
        + REPLY_BYTES
        + CRASH_BYTES
        <= 2 * procession_shm::alloc::layout::CHUNK
);

/// Gives access to a channel, from either side, and keeps it alive.
#[derive(Clone, Debug)]
pub struct WorkerChannel {
    object: SharedObject<ChannelHeader>,
}

impl WorkerChannel {
    /// Makes a channel of this process's pool.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub fn create() -> Result<Self> {
        // In a forked copy the pool refuses all calls, and the worker attaches by the handle.
        let extra = TASK_BYTES + REPLY_BYTES + CRASH_BYTES;
        let object = SharedObject::create_uninherited(family()?, extra)?;
        let channel = Self { object };
        let me = channel.object.family().me();
        channel.pool.store(me.raw(), Ordering::Relaxed);
        Ok(channel)
    }

    /// Attaches to the channel that a handle names.
    ///
    /// # Errors
    /// `Stale` when the pool is gone.
    pub fn attach(handle: Handle) -> Result<Self> {
        let object = SharedObject::attach(family()?, handle, &HandleSource::KEPT)?;
        Ok(Self { object })
    }

    /// Returns the handle for a worker that is about to start. It is not lent: the pool keeps
    /// the channel until the worker is dead, whether or not the worker has attached.
    pub fn handle(&self) -> Handle {
        self.object.handle()
    }

    /// Returns the task ring.
    pub fn tasks(&self) -> Ring {
        ring(self.object.view(), 0, TASK_BYTES)
    }

    /// Returns the reply ring.
    pub fn results(&self) -> Ring {
        ring(self.object.view(), TASK_BYTES, REPLY_BYTES)
    }

    /// Returns the family.
    pub fn family(&self) -> &'static Family {
        self.object.family()
    }

    /// Makes this process, the worker, set `starved` when it dies for lack of
    /// memory, until [`out_of_memory::forget`].
    ///
    /// # Errors
    /// When handlers for the signals cannot be installed.
    pub fn report_out_of_memory(&self) -> Result<()> {
        let word = NonNull::from(&self.starved).cast();
        // SAFETY: the word is an atomic in the arena, which stays mapped until the process ends.
        unsafe { out_of_memory::leave_in(word) }
    }

    /// Makes this process, the worker, leave what its runtime writes to `number` when it
    /// crashes, until [`crash_stack::forget`].
    ///
    /// # Errors
    /// When handlers for the signals cannot be installed.
    pub fn report_crash(&self, number: i32) -> Result<()> {
        let region = TextRegion {
            length: NonNull::from(&self.crash_length).cast(),
            bytes: self.crash_bytes(),
            capacity: CRASH_BYTES as u32,
        };
        // SAFETY: all of it is in the arena, which stays mapped until the process ends, and
        // for this worker alone.
        unsafe { crash_stack::leave_in(region, number) }
    }

    /// Returns the memory limit of a dead worker, if it died because it was refused more.
    #[must_use]
    pub fn exceeded_limit(&self) -> Option<u64> {
        // Relaxed: both were written before the death that the caller knows of.
        let starved = self.starved.load(Ordering::Relaxed) != 0;
        starved.then(|| self.memory_limit.load(Ordering::Relaxed))
    }

    /// Returns the text that a dead worker has left when it crashed, if it did.
    pub fn crash_text(&self) -> Option<String> {
        let length = u64::from(self.crash_length.load(Ordering::Acquire)).min(CRASH_BYTES);
        if length == 0 {
            return None;
        }
        let bytes = self.crash_bytes();
        // SAFETY: as many are there, and the only process that wrote them is dead.
        let text = unsafe { std::slice::from_raw_parts(bytes.as_ptr(), length as usize) };
        let cut = if length == CRASH_BYTES { "..." } else { "" };
        Some(format!("{}{cut}", String::from_utf8_lossy(text).trim_end()))
    }

    fn crash_bytes(&self) -> NonNull<u8> {
        let view = self.object.view();
        view.behind(TASK_BYTES + REPLY_BYTES, CRASH_BYTES)
    }

    /// Empties the channel for another worker, after the previous one was reclaimed.
    pub fn reset(&self, index: u32) {
        self.index.store(index, Ordering::Relaxed);
        self.low.store(0, Ordering::Relaxed);
        self.task_clock.reset();
        self.claim.store(0, Ordering::Relaxed);
        self.labels.reset();
        self.starved.store(0, Ordering::Relaxed);
        self.memory_limit.store(0, Ordering::Relaxed);
        self.crash_length.store(0, Ordering::Relaxed);
        self.reply_queue.reset();
        self.task_queue.reset();
    }
}

impl std::ops::Deref for WorkerChannel {
    type Target = ChannelHeader;

    fn deref(&self) -> &ChannelHeader {
        self.object.body()
    }
}

/// Borrows the bytes of a task.
///
/// # Errors
/// `Stale` when the record names a block, and there is no such block.
///
/// # Safety
/// The task has no reply for as long as they are borrowed: the side that wrote it leaves its
/// record and its block alone.
pub unsafe fn bytes_at<'a>(
    family: &'static Family,
    ring: Ring,
    place: ByteLocation,
) -> Result<&'a [u8]> {
    if place.in_block {
        // SAFETY: the caller's promise.
        unsafe { bytes_of(family, place.at, place.len) }
    } else {
        // SAFETY: the same.
        Ok(unsafe { ring.bytes(place.at, place.len) })
    }
}

/// Borrows the prologue of a job, by the offset of its block.
///
/// # Errors
/// `Stale` when there is no such block.
///
/// # Safety
/// A task of the job has no reply for as long as it is borrowed.
pub unsafe fn prologue_at<'a>(family: &'static Family, offset: u64) -> Result<&'a [u8]> {
    let capacity = family.capacity_at(offset)?;
    // SAFETY: the caller's promise; the block is freed when the job's last task is done.
    let (len, rest) = unsafe { bytes_of(family, offset, capacity) }?.split_at(8);
    let len = u64::from_le_bytes(len.try_into().expect("it was split at eight"));
    usize::try_from(len)
        .ok()
        .and_then(|len| rest.get(..len))
        .ok_or_else(|| stale_block(offset))
}

/// Borrows the bytes of a block that a record names.
///
/// # Errors
/// `Stale` when there is no block of so many bytes.
///
/// # Safety
/// The side that wrote the record keeps the block, and leaves its bytes alone, for as long as
/// they are borrowed.
unsafe fn bytes_of<'a>(family: &'static Family, offset: u64, len: u64) -> Result<&'a [u8]> {
    if len > family.capacity_at(offset)? {
        return Err(stale_block(offset));
    }
    let at = family.pointer(offset, len);
    // SAFETY: the block is in the arena, which stays mapped; the caller promises the rest.
    Ok(unsafe { std::slice::from_raw_parts(at.as_ptr(), len as usize) })
}

/// Takes over the block of a result that `worker` published.
///
/// # Errors
/// `Stale` when the block is gone, or shorter than the reply says.
pub fn claim_result(place: ByteLocation, worker: Stamp, me: Stamp) -> Result<Block> {
    // The second attempt is for a block of a dead worker, which reclaim has given to us already.
    let block = Block::claim(place.at, worker)
        .or_else(|error| Block::claim(place.at, me).map_err(|_| error))?;
    match place.len <= block.capacity() {
        true => Ok(block),
        false => Err(stale_block(place.at)),
    }
}

// SAFETY: atomics, in the order of C.
unsafe impl SharedBody for ChannelHeader {
    const KIND: ObjectKind = ObjectKind::Pool;

    /// Gives the blocks of unread results to the pool, when their worker has died.
    fn recover(view: BodyView<'_, Self>, dead: Stamp) {
        let shared = view.body();
        let pool = Stamp::from_raw(shared.pool.load(Ordering::Relaxed));
        let family = view.family();
        if dead == pool || family.is_dead(pool) {
            return;
        }
        let ring = ring(view, TASK_BYTES, REPLY_BYTES);
        let mut position = shared.reply_queue.head();
        let tail = shared.reply_queue.tail();
        // The pool may be reading the same records now: a block that it has claimed is no
        // longer the dead worker's, and is left as it is.
        if tail.saturating_sub(position) > ring.capacity() {
            return; // The worker has overwritten the words of its queue.
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
}

fn ring(view: BodyView<'_, ChannelHeader>, skip: u64, len: u64) -> Ring {
    let at = view.behind(skip, len);
    // SAFETY: inside the object, which was made with room for both rings at
    // these places; the mapping outlives everything.
    unsafe { Ring::new(at, len) }
}
