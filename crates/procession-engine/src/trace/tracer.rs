//! The process that collects what all others tell.

use std::collections::HashMap;

use crate::family;
use crate::trace::process_name;
use crate::trace::record::TraceRecord;
use crate::trace::recorder::ROOT;
use crate::trace::ring::{RingOwner, TraceLayout, TraceRing};
use procession_shm::member::table::Stage;
use procession_shm::{Family, Handle, HandleSource, SharedObject, Stamp};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::primitive::{Ordering, futex_wait};
use procession_sys::process::liveness::boot_time;
use procession_sys::wait::time::Deadline;

/// Collects what the processes of this family tell, from when it was made.
#[derive(Debug)]
pub struct Tracer {
    family: &'static Family,
    object: SharedObject<TraceLayout>,
    me: Stamp,
    /// The family's trace word while this trace is being written.
    word: u64,
    began: u64,
    /// Names of functions, by their numbers.
    names: HashMap<u64, Vec<u8>>,
    /// What the second reading has found, for the next round.
    late: Vec<Found>,
    /// The bell at the last collection.
    heard: u32,
}

/// Wakes the collector, from any thread.
#[derive(Clone, Debug)]
pub struct TracerBell(SharedObject<TraceLayout>);

impl TracerBell {
    /// Ends the collector's wait.
    pub fn ring(&self) {
        self.0.body().ring_bell();
    }
}

/// Something that a process has done.
#[derive(Clone, Debug)]
pub struct TraceEvent {
    /// When, in nanoseconds since boot.
    pub at: u64,
    /// The member that tells it.
    pub member: Stamp,
    /// Its process id.
    pub pid: u32,
    /// Its thread.
    pub tid: u32,
    /// What it was.
    pub what: What,
}

/// What a process has done.
#[derive(Clone, Debug)]
pub enum What {
    /// It has started, or, as a spare, has become the process that was asked for.
    Started {
        /// Its name.
        name: String,
    },
    /// It has learned how another process has ended.
    Ended {
        /// Which.
        member: Stamp,
        /// Its process id.
        pid: u32,
        /// The exit code, or minus the number of the signal.
        code: i32,
    },
    /// It has done a task, which began at the time of the event.
    Task {
        /// The function that was called, if that is known.
        name: Option<String>,
        /// How long it took, in nanoseconds.
        took: u64,
        /// Whether it has failed.
        failed: bool,
        /// How many tasks this event stands for: short tasks of one function, one right after the
        /// other, are told as one.
        count: u64,
    },
    /// It has died in a task, which began at the time of the event.
    Unfinished {
        /// The function that was called, if that is known.
        name: Option<String>,
    },
    /// It is about to sleep for an object.
    WaitBegins {
        /// The word for what it is.
        kind: &'static str,
        /// Its number.
        serial: u64,
    },
    /// Its wait for an object has ended.
    WaitEnds {
        /// The word for what it is.
        kind: &'static str,
        /// Its number.
        serial: u64,
    },
    /// It has destroyed a queue, which nobody used any more.
    QueueEnded {
        /// Its number.
        serial: u64,
        /// How many items were ever put in.
        put: u64,
        /// How many were taken out.
        got: u64,
    },
    /// Its ring had no room for so many events.
    Dropped(u64),
}

/// A member that lives.
#[derive(Clone, Debug)]
pub struct TracedMember {
    /// Which.
    pub member: Stamp,
    /// Its process id.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// When it joined the family, in nanoseconds since boot, rounded down.
    pub joined: u64,
}

/// The unit in which the table of members has the time of joining.
const MILLISECOND: u64 = 1_000_000;

#[derive(Debug)]
struct Found {
    member: Stamp,
    pid: u32,
    tid: u32,
    thing: Thing,
}

#[derive(Debug)]
enum Thing {
    TraceRecord(u64, TraceRecord),
    Unfinished { since: u64, name: u64 },
    Dropped(u64),
}

impl Tracer {
    /// Begins to trace the family of this process.
    ///
    /// # Errors
    /// `Invalid` when a process of the family does so already; `OutOfMemory`.
    pub fn begin() -> Result<Self> {
        let family = family()?;
        let me = family.me();
        // AcqRel: what the last tracer has done comes before.
        let claim = |before: u64| {
            let word = family.trace();
            word.compare_exchange(before, me.raw().into(), Ordering::AcqRel, Ordering::Acquire)
        };
        if let Err(theirs) = claim(0) {
            let tracer = Stamp::from_raw(theirs as u32);
            let is_taken_over = family.is_dead(tracer) && claim(theirs).is_ok();
            if !is_taken_over {
                return Err(traced_already(family, tracer));
            }
        }
        let object = match Self::rings(family) {
            Ok(object) => object,
            Err(error) => {
                family.trace().store(0, Ordering::Release);
                return Err(error);
            }
        };
        for ring in object.body().rings.iter(family) {
            ring.drain(|_, _, _| ());
            ring.take_dropped();
            match ring.owner() {
                Some(owner) if owner.left || family.is_dead(owner.member) => ring.give_back(),
                // The tasks that the ring notes may be of the trace before.
                _ => ring.forget_tasks(),
            }
        }
        object.body().take_homeless();
        let word = family.next_serial() << 32 | u64::from(me.raw());
        // Release: a process that sees the number writes its first record after what was forgotten
        // above.
        family.trace().store(word, Ordering::Release);
        Ok(Self {
            family,
            object,
            me,
            word,
            began: boot_time(),
            names: HashMap::new(),
            late: Vec::new(),
            heard: 0,
        })
    }

    /// Returns the rings of an earlier trace, or else makes new ones and stores their handle in the
    /// root.
    fn rings(family: &'static Family) -> Result<SharedObject<TraceLayout>> {
        let [offset, serial] = family.root(ROOT);
        let handle = Handle {
            offset: offset.load(Ordering::Relaxed),
            serial: serial.load(Ordering::Acquire),
        };
        if let Ok(object) = SharedObject::attach(family, handle, &HandleSource::KEPT) {
            return Ok(object);
        }
        let object = SharedObject::<TraceLayout>::create(family, 0)?;
        let handle = object.handle();
        offset.store(handle.offset, Ordering::Relaxed);
        // Release pairs with the Acquire in `recorder.rs`.
        serial.store(handle.serial, Ordering::Release);
        Ok(object)
    }

    /// Returns when the trace began, in nanoseconds since boot.
    #[must_use]
    pub fn began(&self) -> u64 {
        self.began
    }

    /// Returns the family.
    #[must_use]
    pub fn family(&self) -> &'static Family {
        self.family
    }

    /// Tells whether this process is the one that traces, and not a forked copy of it.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.family.me() == self.me
    }

    /// Returns the bell that wakes the collector.
    #[must_use]
    pub fn bell(&self) -> TracerBell {
        TracerBell(self.object.clone())
    }

    /// Blocks until there is reason to collect, or the deadline.
    pub fn wait(&self, deadline: Deadline) {
        futex_wait(self.object.body().bell(), self.heard, deadline);
    }

    /// Returns the members that live.
    #[must_use]
    pub fn members(&self) -> Vec<TracedMember> {
        let mut members = Vec::new();
        self.family.for_each_member(|stamp, member| {
            if member.stage() == Stage::Alive && !self.family.is_dead(stamp) {
                let pid = member.pid();
                members.push(TracedMember {
                    member: stamp,
                    pid,
                    name: process_name(member, pid),
                    joined: member.seen().saturating_sub(MILLISECOND),
                });
            }
        });
        members
    }

    /// Returns what was told since the last call; the events of one thread are in order.
    pub fn collect(&mut self) -> Vec<TraceEvent> {
        let body = self.object.body();
        self.heard = body.bell().load(Ordering::Acquire);
        let mut found = std::mem::take(&mut self.late);
        for ring in body.rings.iter(self.family) {
            let Some(owner) = ring.owner() else { continue };
            // Asked before the ring is read, so that all that a dead process has told is there.
            let is_dead = self.family.is_dead(owner.member);
            drain(ring, owner, &mut found);
            if is_dead || owner.left {
                if let Some(run) = ring.run() {
                    let thing = Thing::TraceRecord(run.since, run.record());
                    found.push(Found::of(ring, owner, thing));
                }
                let running = ring.running().filter(|_| is_dead);
                if let Some((since, name)) = running {
                    let thing = Thing::Unfinished { since, name };
                    found.push(Found::of(ring, owner, thing));
                }
                ring.give_back();
            }
        }
        let homeless = body.take_homeless();
        if homeless != 0 {
            found.push(Found {
                member: self.me,
                pid: std::process::id(),
                tid: std::process::id(),
                thing: Thing::Dropped(homeless),
            });
        }
        let mut late = Vec::new();
        for ring in body.rings.iter(self.family) {
            if let Some(owner) = ring.owner() {
                drain(ring, owner, &mut late);
            }
        }
        for each in found.iter().chain(&late) {
            self.learn_name(each);
        }
        self.late = late;
        let events = found.into_iter().filter_map(|each| self.event(each));
        events.collect()
    }

    fn learn_name(&mut self, found: &Found) {
        if let Thing::TraceRecord(
            _,
            TraceRecord::Name {
                number,
                begins,
                text,
            },
        ) = &found.thing
        {
            let name = self.names.entry(*number).or_default();
            if *begins {
                name.clear();
            }
            name.extend_from_slice(text);
        }
    }

    fn event(&self, found: Found) -> Option<TraceEvent> {
        let name = |number| {
            let name = self.names.get(&number)?;
            Some(String::from_utf8_lossy(name).into_owned())
        };
        let (at, what) = match found.thing {
            Thing::TraceRecord(at, record) => {
                let what = match record {
                    TraceRecord::Name { .. } => return None,
                    TraceRecord::Started { name } => What::Started { name },
                    TraceRecord::Ended { member, pid, code } => What::Ended { member, pid, code },
                    TraceRecord::Task {
                        took,
                        name: number,
                        failed,
                        count,
                    } => What::Task {
                        name: name(number),
                        took,
                        failed,
                        count,
                    },
                    TraceRecord::QueueEnded { serial, put, got } => {
                        What::QueueEnded { serial, put, got }
                    }
                    TraceRecord::WaitBegins(object) => {
                        let (kind, serial) = object.parts();
                        What::WaitBegins { kind, serial }
                    }
                    TraceRecord::WaitEnds(object) => {
                        let (kind, serial) = object.parts();
                        What::WaitEnds { kind, serial }
                    }
                };
                (at, what)
            }
            Thing::Unfinished {
                since,
                name: number,
            } => (since, What::Unfinished { name: name(number) }),
            Thing::Dropped(count) => (boot_time(), What::Dropped(count)),
        };
        Some(TraceEvent {
            at,
            member: found.member,
            pid: found.pid,
            tid: found.tid,
            what,
        })
    }

    /// Ends the trace. What was told before can still be collected.
    pub fn end(&self) {
        // Relaxed: what a process tells that has not seen the end yet is never read.
        let _ = self.family.trace().compare_exchange(
            self.word,
            0,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if self.is_ours() {
            self.end();
        }
    }
}

impl Found {
    fn of(ring: &TraceRing, owner: RingOwner, thing: Thing) -> Self {
        Self {
            member: owner.member,
            pid: ring.pid(),
            tid: ring.tid(),
            thing,
        }
    }
}

fn drain(ring: &TraceRing, owner: RingOwner, found: &mut Vec<Found>) {
    ring.drain(|pid, tid, words| {
        if let Some((at, record)) = TraceRecord::decode(words) {
            found.push(Found {
                member: owner.member,
                pid,
                tid,
                thing: Thing::TraceRecord(at, record),
            });
        }
    });
    let dropped = ring.take_dropped();
    if dropped != 0 {
        found.push(Found::of(ring, owner, Thing::Dropped(dropped)));
    }
}

fn traced_already(family: &Family, tracer: Stamp) -> Error {
    let pid = family.member(tracer).pid();
    let message = format!(
        "process {pid} writes a trace of this family already: there can be one at a time, end \
         that one first"
    );
    Error::new(ErrorKind::Invalid, message)
}
