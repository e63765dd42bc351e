//! The ring of one thread, and the object that all rings are linked to.
//!
//! # Safety
//! Both are made of atomics, and any bytes are a value of them.

#![expect(unsafe_code, reason = "the form of what is shared")]

use procession_shm::{BodyView, LinkedPages, ObjectKind, SharedBody, SharedPage, Stamp};
use procession_sys::primitive::{AtomicU32, AtomicU64, Ordering, futex_wake};

use crate::trace::record::{RawRecord, TraceRecord, WORDS};

/// Records of a ring, which then fills two chunks of the arena.
pub(crate) const CAPACITY: usize = 2046;

/// Set in `owner` when the thread has ended; never in a stamp.
const LEFT: u32 = 1 << 31;

/// The ring of one thread. README.md says who writes which word.
#[repr(C)]
pub(crate) struct TraceRing {
    owner: AtomicU32,
    tid: AtomicU32,
    pid: AtomicU32,
    spare: AtomicU32,
    tail: AtomicU64,
    head: AtomicU64,
    dropped: AtomicU64,
    /// When the running task began; 0 while none runs.
    running_since: AtomicU64,
    /// The number of its function's name.
    running_name: AtomicU64,
    /// Short tasks that are not yet a record: how many, and since when; 0 while there are none.
    run_count: AtomicU64,
    run_since: AtomicU64,
    run_end: AtomicU64,
    run_name: AtomicU64,
    records: [[AtomicU64; WORDS]; CAPACITY],
}

// SAFETY: atomics, in the order of C.
unsafe impl SharedPage for TraceRing {}

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// The record is in the ring.
    In,
    /// The record is in the ring, which is half full now.
    HalfFull,
    /// There was no room for the record.
    Dropped,
}

/// The thread that has a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingOwner {
    pub member: Stamp,
    /// The thread has ended.
    pub left: bool,
}

/// For the thread that owns the ring.
impl TraceRing {
    /// Takes the ring for a thread, if it is free; tells whether it was.
    pub fn take(&self, me: Stamp, pid: u32, tid: u32) -> bool {
        // Acquire pairs with the Release in `give_back`: the ring was read to its end.
        let taken = self.owner.load(Ordering::Relaxed) == 0
            && self
                .owner
                .compare_exchange(0, me.raw(), Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        if taken {
            self.pid.store(pid, Ordering::Relaxed);
            self.tid.store(tid, Ordering::Relaxed);
        }
        taken
    }

    /// Says that the owner, a thread of `me`, has ended.
    pub fn leave(&self, me: Stamp) {
        // Release: a tracer that sees the bit sees all records.
        self.owner.store(me.raw() | LEFT, Ordering::Release);
    }

    pub fn push(&self, record: RawRecord) -> Pushed {
        let tail = self.tail.load(Ordering::Relaxed);
        // Acquire pairs with the Release in `drain`: the records that lay there were read.
        let used = tail.wrapping_sub(self.head.load(Ordering::Acquire));
        if used >= CAPACITY as u64 {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return Pushed::Dropped;
        }
        let place = &self.records[(tail % CAPACITY as u64) as usize];
        for (word, value) in place.iter().zip(record) {
            word.store(value, Ordering::Relaxed);
        }
        // Release: a tracer that sees the tail sees the record.
        self.tail.store(tail.wrapping_add(1), Ordering::Release);
        if used == CAPACITY as u64 / 2 {
            return Pushed::HalfFull;
        }
        Pushed::In
    }

    /// Notes the task that the thread begins, for the tracer to tell if the process dies in it.
    pub fn begin_task(&self, since: u64, name: u64) {
        self.running_name.store(name, Ordering::Relaxed);
        self.running_since.store(since, Ordering::Release);
    }

    /// Notes that the thread has done the task.
    pub fn end_task(&self) {
        self.running_since.store(0, Ordering::Relaxed);
    }
}

/// Short tasks of one function, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskRun {
    pub count: u64,
    pub since: u64,
    pub end: u64,
    pub name: u64,
}

impl TaskRun {
    pub fn record(self) -> TraceRecord {
        TraceRecord::Task {
            took: self.end.saturating_sub(self.since),
            name: self.name,
            failed: false,
            count: self.count,
        }
    }
}

/// Short tasks, for the owner.
impl TraceRing {
    /// Returns the short tasks that are noted, and not yet a record.
    pub fn run(&self) -> Option<TaskRun> {
        // Acquire pairs with the Release in `set_run`, for a tracer that looks at what a dead
        // process has left.
        let count = self.run_count.load(Ordering::Acquire);
        (count != 0).then(|| TaskRun {
            count,
            since: self.run_since.load(Ordering::Relaxed),
            end: self.run_end.load(Ordering::Relaxed),
            name: self.run_name.load(Ordering::Relaxed),
        })
    }

    /// Notes short tasks; none may be noted already.
    pub fn set_run(&self, run: TaskRun) {
        self.run_since.store(run.since, Ordering::Relaxed);
        self.run_end.store(run.end, Ordering::Relaxed);
        self.run_name.store(run.name, Ordering::Relaxed);
        self.run_count.store(run.count, Ordering::Release);
    }

    /// Notes one more short task of the same function.
    pub fn lengthen_run(&self, run: TaskRun, end: u64) {
        self.run_end.store(end, Ordering::Relaxed);
        self.run_count.store(run.count + 1, Ordering::Release);
    }

    pub fn forget_run(&self) {
        self.run_count.store(0, Ordering::Relaxed);
    }
}

/// For the fuzz targets.
#[cfg(fuzzing)]
impl TraceRing {
    /// Writes a record, has the ring end as many records behind it, and notes tasks.
    pub fn write_raw(&self, record: RawRecord, beyond: u64, tasks: [u64; 6]) {
        self.push(record);
        self.tail.fetch_add(beyond, Ordering::Relaxed);
        let notes = [
            &self.running_since,
            &self.running_name,
            &self.run_count,
            &self.run_since,
            &self.run_end,
            &self.run_name,
        ];
        for (note, word) in notes.into_iter().zip(tasks) {
            note.store(word, Ordering::Relaxed);
        }
    }
}

/// For the tracer.
impl TraceRing {
    /// Returns the thread that has the ring; `None` while it is free.
    pub fn owner(&self) -> Option<RingOwner> {
        // Acquire pairs with the Release in `leave`.
        let word = self.owner.load(Ordering::Acquire);
        (word != 0).then(|| RingOwner {
            member: Stamp::from_raw(word),
            left: word & LEFT != 0,
        })
    }

    /// Hands over all records that there are, with the process and the thread that wrote them.
    pub fn drain(&self, mut each: impl FnMut(u32, u32, RawRecord)) {
        let mut head = self.head.load(Ordering::Relaxed);
        // Acquire pairs with the Release in `push`.
        let tail = self.tail.load(Ordering::Acquire);
        let (pid, tid) = (self.pid(), self.tid());
        if tail.wrapping_sub(head) > CAPACITY as u64 {
            // A process has written over the ring's words, so what lies between them is no record.
            self.dropped.fetch_add(1, Ordering::Relaxed);
            head = tail;
        }
        while head != tail {
            let place = &self.records[(head % CAPACITY as u64) as usize];
            each(
                pid,
                tid,
                std::array::from_fn(|at| place[at].load(Ordering::Relaxed)),
            );
            head = head.wrapping_add(1);
        }
        self.head.store(head, Ordering::Release);
    }

    /// Returns how many records were dropped since the last call.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }

    /// Returns when the task began that the owner, which is dead, was running, and the number of
    /// its function's name.
    pub fn running(&self) -> Option<(u64, u64)> {
        let since = self.running_since.load(Ordering::Acquire);
        (since != 0).then(|| (since, self.running_name.load(Ordering::Relaxed)))
    }

    /// Gives the ring back, when its owner is gone and all its records were read.
    pub fn give_back(&self) {
        self.forget_tasks();
        // Release pairs with the Acquire in `take`.
        self.owner.store(0, Ordering::Release);
    }

    /// Forgets what is noted of tasks.
    pub fn forget_tasks(&self) {
        self.end_task();
        self.forget_run();
    }

    pub fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    pub fn tid(&self) -> u32 {
        self.tid.load(Ordering::Relaxed)
    }
}

/// The object that all rings are linked to.
#[repr(C)]
pub(crate) struct TraceLayout {
    pub rings: LinkedPages<TraceRing>,
    /// Counts the reasons to collect; a futex.
    bell: AtomicU32,
    /// How many records were lost because no ring could be had.
    homeless: AtomicU32,
}

// SAFETY: atomics, in the order of C.
unsafe impl SharedBody for TraceLayout {
    const KIND: ObjectKind = ObjectKind::Trace;

    fn recover(view: BodyView<'_, Self>, dead: Stamp) {
        view.body().rings.disown_of(view.family(), dead);
    }

    fn destroy(view: BodyView<'_, Self>) {
        view.body().rings.destroy(view.family());
    }
}

impl TraceLayout {
    /// Wakes the collector.
    pub fn ring_bell(&self) {
        self.bell.fetch_add(1, Ordering::Release);
        futex_wake(&self.bell, 1);
    }

    /// Returns the word that the collector parks on.
    pub fn bell(&self) -> &AtomicU32 {
        &self.bell
    }

    /// Counts a record that is lost because no ring can be had.
    pub fn count_homeless(&self) {
        self.homeless.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many records were lost for that since the last call.
    pub fn take_homeless(&self) -> u64 {
        self.homeless.swap(0, Ordering::Relaxed).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> Box<TraceRing> {
        let word = || AtomicU64::new(0);
        Box::new(TraceRing {
            owner: AtomicU32::new(0),
            tid: AtomicU32::new(0),
            pid: AtomicU32::new(0),
            spare: AtomicU32::new(0),
            tail: word(),
            head: word(),
            dropped: word(),
            running_since: word(),
            running_name: word(),
            run_count: word(),
            run_since: word(),
            run_end: word(),
            run_name: word(),
            records: std::array::from_fn(|_| std::array::from_fn(|_| word())),
        })
    }

    #[test]
    fn a_ring_whose_end_was_written_over_is_forgotten_and_used_again() {
        let ring = ring();
        for end in [u64::MAX, CAPACITY as u64 + 1, u64::MAX / 2] {
            ring.push([1; WORDS]);
            ring.tail.store(end, Ordering::Relaxed);
            ring.drain(|_, _, _| panic!("it is nobody's word"));
            assert_eq!(ring.take_dropped(), 1);
            assert_eq!(ring.push([2; WORDS]), Pushed::In);
            let mut read = Vec::new();
            ring.drain(|_, _, record| read.push(record));
            assert_eq!(read, [[2; WORDS]]);
        }
    }
}
