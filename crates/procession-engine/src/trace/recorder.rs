//! Telling what this process does, into the ring of the calling thread.
//!
//! Callers first ask whether the family is traced ([`Family::is_traced`]): while it is not, that is
//! all that a trace costs.

use std::cell::RefCell;

use crate::trace::process_name;
#[cfg(fuzzing)]
use crate::trace::record::RawRecord;
use crate::trace::record::{ObjectId, TraceRecord, parts_of_name};
use crate::trace::ring::{Pushed, TaskRun, TraceLayout, TraceRing};
use procession_shm::{Family, Handle, HandleSource, SharedObject, Stamp};
use procession_sys::primitive::Ordering;
use procession_sys::process::liveness::boot_time;
use procession_sys::signals::masked_thread::own_number;

/// Which root of the family has the handle of the rings.
pub(crate) const ROOT: usize = 0;

/// A task that takes at most so many nanoseconds is short. Short tasks of one function, one right
/// after the other, are told as one.
const SHORT: u64 = 20_000;

/// How many nanoseconds short tasks may take together that are told as one.
const LONGEST_RUN: u64 = 1_000_000;

thread_local! {
    /// The ring of this thread, once it has told something.
    static RING: RefCell<Option<OwnRing>> = const { RefCell::new(None) };
}

/// The ring of this thread.
struct OwnRing {
    object: SharedObject<TraceLayout>,
    ring: &'static TraceRing,
    /// The process that has taken the ring; a forked copy has to take a ring of its own.
    me: Stamp,
}

impl OwnRing {
    /// Takes a free ring, or links another.
    fn take(family: &'static Family, me: Stamp) -> Option<Self> {
        let object = rings(family)?;
        let (pid, tid) = (std::process::id(), own_number());
        loop {
            let body = object.body();
            if let Some(ring) = body.rings.iter(family).find(|ring| ring.take(me, pid, tid)) {
                return Some(Self { object, ring, me });
            }
            if body.rings.try_add(family).is_err() {
                body.count_homeless();
                return None;
            }
        }
    }

    fn is_current(&self, family: &Family, me: Stamp) -> bool {
        // Acquire pairs with the Release in `Tracer::begin`.
        let serial = family.root(ROOT)[1].load(Ordering::Acquire);
        self.me == me && self.object.handle().serial == serial
    }

    /// Writes a record, after the short tasks that came before.
    fn push(&self, at: u64, record: &TraceRecord) {
        self.end_run();
        self.write(at, record);
    }

    fn end_run(&self) {
        if let Some(run) = self.ring.run() {
            // Forgotten first: if this process dies in between, these tasks are not told at all,
            // but never twice.
            self.ring.forget_run();
            self.write(run.since, &run.record());
        }
    }

    /// Notes a short task, together with the noted ones if it is of the same function and follows
    /// them.
    fn note_short_task(&self, task: TaskRun) {
        match self.ring.run() {
            Some(run)
                if run.name == task.name
                    && task.since.saturating_sub(run.end) <= SHORT
                    && task.end.saturating_sub(run.since) <= LONGEST_RUN =>
            {
                self.ring.lengthen_run(run, task.end);
            }
            _ => {
                self.end_run();
                self.ring.set_run(task);
            }
        }
    }

    fn write(&self, at: u64, record: &TraceRecord) {
        if self.ring.push(record.encode(at)) == Pushed::HalfFull {
            self.object.body().ring_bell();
        }
    }
}

impl Drop for OwnRing {
    fn drop(&mut self) {
        if self.object.family().me() == self.me {
            self.end_run();
            self.ring.leave(self.me);
        }
    }
}

/// Attaches to the rings of the trace that is being written; `None` if the tracer is dead and the
/// rings are gone.
fn rings(family: &'static Family) -> Option<SharedObject<TraceLayout>> {
    let [offset, serial] = family.root(ROOT);
    // Acquire pairs with the Release in `Tracer::begin`.
    let serial = serial.load(Ordering::Acquire);
    let offset = offset.load(Ordering::Relaxed);
    let handle = Handle { offset, serial };
    SharedObject::attach(family, handle, &HandleSource::KEPT).ok()
}

fn with_ring(tell: impl FnOnce(&OwnRing)) {
    let Some(family) = Family::existing() else {
        return;
    };
    let me = family.me();
    if me.is_nobody() {
        return; // This process is no member, so nobody would read its ring.
    }
    // Fails at the end of a thread, whose ring is given back by then.
    let _ = RING.try_with(|place| {
        // Borrowed already if the code that takes a ring has something to tell itself.
        let Ok(mut place) = place.try_borrow_mut() else {
            return;
        };
        if !place.as_ref().is_some_and(|own| own.is_current(family, me)) {
            *place = OwnRing::take(family, me);
        }
        if let Some(own) = &*place {
            tell(own);
        }
    });
}

fn tell(record: &TraceRecord) {
    with_ring(|own| own.push(boot_time(), record));
}

/// Writes words that this engine would not write into the ring of this thread: a record, the end of
/// the ring, and the tasks that it notes.
#[cfg(fuzzing)]
pub fn write_raw(record: RawRecord, beyond: u64, tasks: [u64; 6]) {
    with_ring(|own| own.ring.write_raw(record, beyond, tasks));
}

/// Tells that this process has started, or that this spare has become the process that was asked
/// for.
#[cold]
pub(crate) fn process_started(family: &Family) {
    let name = process_name(family.member(family.me()), std::process::id());
    tell(&TraceRecord::Started { name });
}

/// Tells how another process has ended.
#[cold]
pub(crate) fn process_ended(member: Stamp, pid: u32, code: i32) {
    tell(&TraceRecord::Ended { member, pid, code });
}

/// Tells which name a number stands for.
#[cold]
pub(crate) fn name_function(number: u64, name: &str) {
    with_ring(|own| {
        let at = boot_time();
        parts_of_name(number, name).for_each(|part| own.push(at, &part));
    });
}

/// Notes the task that this thread begins.
#[cold]
pub(crate) fn task_begins(since: u64, name: u64) {
    with_ring(|own| own.ring.begin_task(since, name));
}

/// Tells of a task that this thread has done. Short tasks may be noted, and told later; all of them
/// are told when this is the `last` task that the worker has for now.
#[cold]
pub(crate) fn task_done(since: u64, took: u64, name: u64, failed: bool, last: bool) {
    with_ring(|own| {
        own.ring.end_task();
        let task = TaskRun {
            count: 1,
            since,
            end: since + took,
            name,
        };
        if !failed && took <= SHORT {
            own.note_short_task(task);
            if last {
                own.end_run();
            }
        } else {
            own.push(
                since,
                &TraceRecord::Task {
                    took,
                    name,
                    failed,
                    count: 1,
                },
            );
        }
    });
}

/// Tells of all short tasks that this thread has done.
#[cold]
pub(crate) fn all_tasks_done() {
    with_ring(OwnRing::end_run);
}

/// Tells that this thread is about to sleep for an object.
#[cold]
pub(crate) fn wait_begins(object: ObjectId) {
    tell(&TraceRecord::WaitBegins(object));
}

/// Tells that this thread's wait for an object has ended.
#[cold]
pub(crate) fn wait_ends(object: ObjectId) {
    tell(&TraceRecord::WaitEnds(object));
}

/// Tells what went through a queue that is being destroyed.
#[cold]
pub(crate) fn queue_ended(serial: u64, put: u64, got: u64) {
    tell(&TraceRecord::QueueEnded { serial, put, got });
}

/// Gives back the ring of the calling thread, which has ended the trace, and detaches from the
/// rings.
pub fn forget_ring() {
    // Fails at the end of a thread, whose ring is given back by then.
    let _ = RING.try_with(|place| {
        if let Ok(mut place) = place.try_borrow_mut() {
            *place = None;
        }
    });
}
