//! What a queue keeps in the arena, and what becomes of it when a member dies.
//!
//! # Safety
//! The shared part is made of atomics, and any bytes are a value of it.

#![expect(unsafe_code, reason = "the form of what is shared")]

use crate::channel::parking::Parking;
use crate::channel::queue::consumer::ConsumerState;
use crate::channel::queue::producer::ProducerState;
use crate::channel::queue::unfinished::Unfinished;
use crate::sync::notify::NotifyList;
use crate::trace;
use procession_shm::{BodyView, Family, ObjectKind, SharedBody, Stamp};
use procession_sys::primitive::{AtomicU64, Ordering};

/// The two ends, each written by its own side, and the words that both sides change
/// rarely.
#[derive(Debug)]
#[repr(C)]
pub struct QueueLayout {
    /// Where items go in.
    pub tail: ProducerState,
    /// Where items come out.
    pub head: ConsumerState,
    /// The processes that wait for an item.
    pub items: Parking,
    /// The processes that wait for room.
    pub space: Parking,
    /// The processes that wait for an item by descriptor.
    pub bells: NotifyList,
    /// The processes that are told by descriptor, once, when the next item is put.
    pub getting: NotifyList,
    /// The processes that are told by descriptor, once, when there is room or all tasks are done.
    pub putting: NotifyList,
    limit: AtomicU64,
    /// The count of tasks that are done, and the processes that wait for all to be
    /// done.
    tasks: Unfinished,
}

impl QueueLayout {
    /// Sets up the words, which are zero, around the first segment, which is still the caller's
    /// own.
    pub fn begin(&self, limit: u64, segment: u64, capacity: u64) {
        self.limit.store(limit, Ordering::Relaxed);
        self.head.begin(segment);
        self.tail.begin(segment, capacity);
    }

    /// Returns how many items there may be; 0 is any number.
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Returns how many items there were at one moment of the call.
    pub fn len(&self) -> u64 {
        if self.head.cut().is_some() {
            return 0;
        }
        loop {
            let taken = self.head.count();
            let put = self.tail.count();
            // No item was taken out in between: both were true at once.
            if self.head.count() == taken {
                return put - taken;
            }
        }
    }

    /// Tells whether there was an item at one moment of the call.
    pub fn has_items(&self) -> bool {
        self.head.count() != self.tail.count() && self.head.cut().is_none()
    }

    /// Tells whether there is something to get: an item, or the end.
    pub fn has_end_or_items(&self) -> bool {
        self.has_items() || self.tail.is_closed()
    }

    /// Tells whether there was room at one moment of the call.
    pub fn has_room(&self) -> bool {
        let limit = self.limit();
        limit == 0 || self.len() < limit
    }

    /// Returns how many tasks have to be done, of all that ever were: items that were thrown away
    /// do not count.
    fn owed(&self) -> u64 {
        self.head.cut().unwrap_or_else(|| self.tail.count())
    }

    /// Returns how many tasks were not done at one moment of the call.
    pub fn unfinished(&self) -> u64 {
        self.tasks.count(|| self.owed())
    }

    /// Notes that a task is done; tells whether one was unfinished.
    pub fn finish_task(&self, family: &Family) -> bool {
        let finished = self.tasks.finish_one(|| self.owed());
        if finished && self.putting.any() && self.unfinished() == 0 {
            self.putting.ring_armed(family);
        }
        finished
    }

    /// Tells the processes that wait for room that `count` items were taken out.
    pub fn tell_of_room(&self, family: &Family, count: u32) {
        self.space.wake(count);
        // The fence in `wake` lies between the change and this look.
        if self.putting.any() {
            self.putting.ring_armed(family);
        }
    }

    /// Tells all processes that wait that the queue is closed.
    pub fn tell_of_end(&self, family: &Family) {
        self.items.wake_all();
        self.space.wake_all();
        if self.bells.any() {
            self.bells.ring(family, || true);
        }
        self.getting.ring_armed(family);
        self.putting.ring_armed(family);
    }

    /// Returns where processes park that wait for all tasks.
    pub fn joiners(&self) -> &Parking {
        self.tasks.joiners()
    }

    /// Tells the processes that wait for items that `count` items were put, after
    /// `before` in all.
    pub fn tell_of_items(&self, family: &Family, before: u64, count: u32) {
        self.items.wake(count);
        if self.getting.any() {
            self.getting.ring_armed(family);
        }
        // The fence in `wake` lies between our change and these looks. If
        // items are left from before, their bells still ring.
        if self.bells.any() && self.head.count() >= before {
            self.bells.ring(family, || self.has_items());
        }
    }
}

// SAFETY: lock words and atomics, in the order of C.
unsafe impl SharedBody for QueueLayout {
    const KIND: ObjectKind = ObjectKind::Queue;

    fn recover(view: BodyView<'_, Self>, dead: Stamp) {
        let (body, family) = (view.body(), view.family());
        // Taking a guard repairs the change that a dead holder had begun. The guard is
        // taken in any case: its present holder may have got it from the dead one, and
        // be in the middle of the repair.
        drop(body.tail.lock(family));
        drop(body.head.lock(family));
        body.bells.forget(family, dead);
        body.getting.forget_and_ring(family, dead);
        body.putting.forget_and_ring(family, dead);
        // The dead member may have been woken and not have taken its item, or may have put an item
        // and woken nobody.
        if body.tail.is_closed() {
            body.items.wake_all();
            body.space.wake_all();
        }
        if body.has_items() {
            body.items.wake(1);
        }
        body.bells.ring(family, || body.has_end_or_items());
        if body.has_room() {
            body.space.wake(1);
        }
        if body.unfinished() == 0 {
            body.joiners().wake_all();
        }
    }

    fn destroy(view: BodyView<'_, Self>) {
        if view.family().is_traced() {
            // Read before the queue is emptied, for the trace: a count by its readers may have
            // missed the last items.
            let (got, put) = (view.body().head.count(), view.body().tail.count());
            trace::queue_ended(view.serial(), put, got);
        }
        let (body, family) = (view.body(), view.family());
        loop {
            let mut emptied = None;
            let getting = body.head.lock(family);
            let item = getting.take(&mut emptied, || body.tail.count());
            drop(getting);
            if !matches!(item, Ok(Some(_))) {
                break;
            }
        }
        let getting = body.head.lock(family);
        let segment = getting.take_segment();
        drop(getting);
        drop(segment);
        for list in [&body.bells, &body.getting, &body.putting] {
            list.destroy(family);
        }
    }
}
