//! Families as processes outside of them see them: their members, what each waits for, and what
//! their pools and queues have.
//!
//! A process that looks at a family maps the family's memory for reading, and does not become a
//! member by that. It reads while members write, so each number was right at some moment, but not
//! all numbers at the same moment.

use std::time::Duration;

use crate::SCHEMA;
use crate::channel::QueueLayout;
use crate::pool::{ChannelHeader, SummaryLayout};
use crate::process::state::State;
use crate::sync::{BarrierLayout, LockLayout, RLockLayout};
use procession_shm::member::table::{BOOTED, DAEMON, Member, SPARE, Stage};
use procession_shm::{Family, ObjectKind, Stamp, View};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::fd::kept_fd::FileId;
use procession_sys::mem::observed_file::{self, ObservedFile};
use procession_sys::primitive::Ordering;
use procession_sys::process::liveness::boot_time;
use procession_sys::procfs::status::{ProcStatus, program_name};

/// A family that this process looks at from outside.
#[derive(Debug)]
pub struct Observer {
    family: Family,
    file: FileId,
}

/// What a look at a family has found.
#[derive(Clone, Debug)]
pub struct FamilyView {
    /// The family's random number.
    pub id: u128,
    /// Its processes, the oldest first.
    pub members: Vec<MemberView>,
    /// Its pools.
    pub pools: Vec<PoolView>,
    /// Its queues.
    pub queues: Vec<QueueView>,
    /// Bytes of memory that back the family's shared memory.
    pub shared_bytes: u64,
    /// How many blocks of the shared memory are in use.
    pub blocks: u64,
}

/// A process of a family.
#[derive(Clone, Debug)]
pub struct MemberView {
    /// Its process id.
    pub pid: u32,
    /// The process that has started it, if that is still a member.
    pub parent: Option<u32>,
    /// Its name, cut to what the table of members keeps, or the name of its program if it has none.
    pub name: String,
    /// What it does, in one word: running or blocked.
    pub state: &'static str,
    /// What it waits for, if it is blocked.
    pub waits_for: Option<String>,
    /// The process that holds what it waits for, if a process holds it and is known.
    pub holder: Option<u32>,
    /// Whether it ends with its parent.
    pub is_daemon: bool,
    /// Whether it was started ahead, and waits until a process needs a child.
    pub is_spare: bool,
    /// Whether it has finished its startup.
    pub is_booted: bool,
    /// How many threads it has.
    pub threads: u32,
    /// How much processor time it has used.
    pub cpu: Duration,
    /// Bytes of its memory that are in RAM, shared ones included.
    pub resident: u64,
    /// How long ago it joined the family.
    pub age: Duration,
}

/// A pool.
#[derive(Clone, Debug)]
pub struct PoolView {
    /// The process that has made it.
    pub owner: u32,
    /// A number that no other pool of that process has.
    pub number: u32,
    /// How many of its workers have died; workers that the pool had told to end are not counted.
    pub deaths: u64,
    /// How often it has run a task again because the task's worker had died.
    pub retries: u64,
    /// Its workers, by their places in the pool.
    pub workers: Vec<PoolWorkerView>,
}

/// A worker of a pool.
#[derive(Clone, Debug)]
pub struct PoolWorkerView {
    /// Its place, from 0.
    pub index: u32,
    /// Its process id.
    pub pid: u32,
    /// How many tasks it has begun.
    pub begun: u32,
    /// How many tasks it has been given that it has not begun.
    pub queued: u32,
    /// How long the running task has been running, if one runs.
    pub running: Option<Duration>,
    /// The name of the function that the running task calls, if that is known.
    pub function: Option<String>,
}

/// A queue.
#[derive(Clone, Debug)]
pub struct QueueView {
    /// Its number in the family.
    pub serial: u64,
    /// How many items are in it.
    pub items: u64,
    /// How many items it may have; 0 for any number.
    pub limit: u64,
    /// How many items were ever put in.
    pub put: u64,
    /// Whether it is closed, and takes no more items.
    pub is_closed: bool,
    /// The processes that are attached to it.
    pub users: Vec<u32>,
    /// The processes that wait for it.
    pub blocked: Vec<u32>,
}

impl PoolView {
    /// Returns how many workers run a task.
    #[must_use]
    pub fn busy(&self) -> usize {
        let running = self
            .workers
            .iter()
            .filter(|worker| worker.running.is_some());
        running.count()
    }

    /// Returns how many tasks the workers have been given that they have not begun.
    #[must_use]
    pub fn queued(&self) -> u64 {
        let queued = self.workers.iter().map(|worker| u64::from(worker.queued));
        queued.sum()
    }
}

/// How many items a queue has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueCounts {
    /// Its number in the family.
    pub serial: u64,
    /// How many items were ever put in.
    pub put: u64,
    /// How many were taken out.
    pub got: u64,
}

/// Looks at the family of this process, if it has one.
#[must_use]
pub fn own_family() -> Option<FamilyView> {
    Family::existing().map(look_at)
}

/// Counts what went through the queues of a family.
#[must_use]
pub fn queue_counts(family: &Family) -> Vec<QueueCounts> {
    let mut found = Vec::new();
    family.for_each_object(|object| {
        if object.kind() == Some(ObjectKind::Queue)
            && let Some(queue) = object.body::<QueueLayout>()
        {
            // The count of items taken out is read first, so that it is not above the count of
            // items put in.
            let got = queue.head.count();
            found.push(QueueCounts {
                serial: object.handle().serial,
                put: queue.tail.count(),
                got,
            });
        }
    });
    found
}

/// Bits of the object's serial in the word that says what a member waits on; the bits above are the
/// object's kind.
const SERIAL_BITS: u32 = 56;

impl Observer {
    /// Looks at the family of a process.
    ///
    /// # Errors
    /// `Invalid` when it belongs to none, `Unsupported` when it runs another build of
    /// procession, `Denied` when it is another user's.
    pub fn of_process(pid: u32) -> Result<Self> {
        let none = || {
            let message = format!(
                "process {pid} belongs to no family of procession: it has started no process \
                 and made nothing to share, or has closed its shared memory"
            );
            Error::new(ErrorKind::Invalid, message)
        };
        Self::of_file(observed_file::of_process(pid)?.ok_or_else(none)?)
    }

    /// Looks at all families of this user. Returns those of this build, and how many others there
    /// are.
    ///
    /// # Errors
    /// When there is no /proc that shows processes.
    pub fn all() -> Result<(Vec<Self>, usize)> {
        let (mut found, mut others) = (Vec::new(), 0);
        for file in observed_file::all()? {
            match Self::of_file(file) {
                Ok(observer) => found.push(observer),
                Err(_) => others += 1,
            }
        }
        Ok((found, others))
    }

    fn of_file(observed: ObservedFile) -> Result<Self> {
        Ok(Self {
            file: observed.id,
            family: Family::observe(observed.file, &SCHEMA)?,
        })
    }

    /// Looks at what may be the memory file of a family.
    ///
    /// # Errors
    /// As [`of_process`](Self::of_process).
    #[cfg(fuzzing)]
    pub fn of_fd(fd: std::os::fd::OwnedFd) -> Result<Self> {
        let id = FileId::of(&fd).ok_or_else(|| Error::new(ErrorKind::Invalid, "it is no file"))?;
        let file = procession_sys::mem::memfd::MemFd::from_inherited(fd)?;
        Self::of_file(ObservedFile { file, id })
    }

    /// Tells whether both look at the same family.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.file == other.file
    }

    /// Looks at the family now.
    #[must_use]
    pub fn look(&self) -> FamilyView {
        look_at(&self.family)
    }
}

fn look_at(family: &Family) -> FamilyView {
    let now = boot_time();
    let objects = Objects::of(family, now);
    let mut members = Vec::new();
    family.for_each_member(|stamp, member| {
        if member.stage() == Stage::Alive && !family.is_dead(stamp) {
            members.push(member_view(family, member, &objects, now));
        }
    });
    members.sort_by_key(|member| std::cmp::Reverse(member.age));
    let usage = family.usage();
    FamilyView {
        id: family.id(),
        members,
        pools: objects.pools,
        queues: objects.queues,
        shared_bytes: family.resident().unwrap_or(usage.bytes),
        blocks: usage.blocks,
    }
}

fn member_view(family: &Family, member: &Member, objects: &Objects, now: u64) -> MemberView {
    let pid = member.pid();
    let flags = member.flags.load(Ordering::Relaxed);
    let parent = Stamp::from_raw(member.parent.load(Ordering::Relaxed));
    let state = State::of_running(pid, Some(member));
    let waiting_on = member.waiting_on.load(Ordering::Relaxed);
    let (word, waits_for) = match &state {
        State::Blocked(on) => ("blocked", Some(on.clone())),
        _ => (state.word(), None),
    };
    let holder = waits_for.is_some().then(|| objects.holder_of(waiting_on));
    let status = ProcStatus::of(pid);
    MemberView {
        pid,
        parent: pid_of(family, parent),
        name: match member.name() {
            // The first process of a family was given no name.
            name if name.is_empty() => program_name(pid).unwrap_or_default(),
            name => name,
        },
        state: word,
        waits_for,
        holder: holder.flatten().and_then(|holder| pid_of(family, holder)),
        is_daemon: flags & DAEMON != 0,
        is_spare: flags & SPARE != 0,
        is_booted: flags & BOOTED != 0,
        threads: status.map_or(0, |status| status.threads),
        cpu: status.map_or(Duration::ZERO, |status| status.cpu_time()),
        resident: status.map_or(0, |status| status.resident),
        age: Duration::from_nanos(now.saturating_sub(member.seen())),
    }
}

/// Returns the process id of a member, if the member lives.
fn pid_of(family: &Family, stamp: Stamp) -> Option<u32> {
    if stamp.is_nobody() || family.is_dead(stamp) {
        return None;
    }
    Some(family.member(stamp).pid()).filter(|&pid| pid != 0)
}

/// What was found in the shared memory so far.
struct Objects {
    /// Serial and holder of each object that one process at a time holds.
    held: Vec<(u64, Stamp)>,
    pools: Vec<PoolView>,
    queues: Vec<QueueView>,
    /// For each busy worker, its process id and the label of its task's function.
    labels: Vec<(u32, u32)>,
}

impl Objects {
    fn of(family: &Family, now: u64) -> Self {
        let mut found = Self {
            held: Vec::new(),
            pools: Vec::new(),
            queues: Vec::new(),
            labels: Vec::new(),
        };
        let mut blocked: Vec<(u64, u32)> = Vec::new();
        family.for_each_member(|stamp, member| {
            let waiting_on = member.waiting_on.load(Ordering::Relaxed);
            if waiting_on != 0 && member.stage() == Stage::Alive && !family.is_dead(stamp) {
                blocked.push((waiting_on & ((1 << SERIAL_BITS) - 1), member.pid()));
            }
        });
        family.for_each_object(|object| found.add(object, &blocked, now));
        // The summaries come second: they name the functions of workers that were found before.
        family.for_each_object(|object| found.add_summary(object));
        for pool in &mut found.pools {
            pool.workers.sort_by_key(|worker| worker.index);
        }
        found.pools.sort_by_key(|pool| (pool.owner, pool.number));
        found.queues.sort_by_key(|queue| queue.serial);
        found
    }

    fn add(&mut self, object: View<'_>, blocked: &[(u64, u32)], now: u64) {
        let family = object.family();
        let serial = object.handle().serial;
        let holder = match object.kind() {
            Some(ObjectKind::Lock) => object.body::<LockLayout>().and_then(LockLayout::holder),
            Some(ObjectKind::RLock) => object.body::<RLockLayout>().and_then(RLockLayout::holder),
            Some(ObjectKind::Barrier) => object
                .body::<BarrierLayout>()
                .and_then(BarrierLayout::acting),
            Some(ObjectKind::Queue) => {
                if let Some(queue) = object.body::<QueueLayout>() {
                    let users = object.attached();
                    self.queues.push(QueueView {
                        serial,
                        items: queue.tail.count().saturating_sub(queue.head.count()),
                        limit: queue.limit(),
                        put: queue.tail.count(),
                        is_closed: queue.tail.is_closed(),
                        users: users
                            .iter()
                            .filter_map(|&user| pid_of(family, user))
                            .collect(),
                        blocked: blocked
                            .iter()
                            .filter(|(on, _)| *on == serial)
                            .map(|(_, pid)| *pid)
                            .collect(),
                    });
                }
                None
            }
            Some(ObjectKind::Pool) => {
                if let Some(channel) = object.body::<ChannelHeader>() {
                    self.add_worker(family, channel, now);
                }
                None
            }
            _ => None,
        };
        if let Some(holder) = holder {
            self.held.push((serial, holder));
        }
    }

    fn add_worker(&mut self, family: &Family, channel: &ChannelHeader, now: u64) {
        let pool = Stamp::from_raw(channel.pool.load(Ordering::Relaxed));
        let number = channel.doorbell.load(Ordering::Relaxed);
        let worker = Stamp::from_raw(channel.worker.load(Ordering::Relaxed));
        let Some(owner) = pid_of(family, pool) else {
            return;
        };
        let at = self.pool(owner, number);
        let Some(pid) = pid_of(family, worker) else {
            return; // It starts, or has ended.
        };
        let counts = channel.task_queue.counts();
        // A worker that is not parked runs a task, or has looked for one for some microseconds.
        let is_running = counts.taken > 0 && !channel.task_queue.is_parked();
        let running = is_running.then(|| channel.task_clock.elapsed(u64::from(counts.taken), now));
        if is_running && let Some(label) = channel.labels.of(counts.taken) {
            self.labels.push((pid, label));
        }
        self.pools[at].workers.push(PoolWorkerView {
            index: channel.index.load(Ordering::Relaxed),
            pid,
            begun: counts.taken,
            queued: counts.queued(),
            running: running.flatten(),
            function: None,
        });
    }

    /// Adds what a pool's summary says.
    fn add_summary(&mut self, object: View<'_>) {
        if object.kind() != Some(ObjectKind::PoolSummary) {
            return;
        }
        let Some(summary) = object.body::<SummaryLayout>() else {
            return;
        };
        let pool = Stamp::from_raw(summary.pool.load(Ordering::Relaxed));
        let Some(owner) = pid_of(object.family(), pool) else {
            return;
        };
        let at = self.pool(owner, summary.doorbell.load(Ordering::Relaxed));
        let pool = &mut self.pools[at];
        pool.deaths = summary.deaths.load(Ordering::Relaxed);
        pool.retries = summary.retries.load(Ordering::Relaxed);
        for worker in &mut pool.workers {
            let mut labels = self.labels.iter();
            let label = labels.find(|(of, _)| *of == worker.pid);
            worker.function = label.and_then(|(_, label)| summary.named(*label));
        }
    }

    /// Returns where a pool is among those that were found.
    fn pool(&mut self, owner: u32, number: u32) -> usize {
        let mut known = self.pools.iter();
        let at = known.position(|pool| (pool.owner, pool.number) == (owner, number));
        at.unwrap_or_else(|| {
            self.pools.push(PoolView {
                owner,
                number,
                deaths: 0,
                retries: 0,
                workers: Vec::new(),
            });
            self.pools.len() - 1
        })
    }

    /// Returns the holder of the object that a member waits on.
    fn holder_of(&self, waiting_on: u64) -> Option<Stamp> {
        let serial = waiting_on & ((1 << SERIAL_BITS) - 1);
        let mut held = self.held.iter();
        held.find(|(of, _)| *of == serial)
            .map(|(_, holder)| *holder)
    }
}
