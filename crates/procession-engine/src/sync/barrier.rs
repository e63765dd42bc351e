//! A place where a number of processes wait until all of them have come.
//!
//! Leaves out the action that the last to come may run: the face runs it, as
//! [`Leader`], before it lets the others go.

pub(crate) mod state;

use std::time::Instant;

use crate::family;
use crate::sync::barrier::state::{Arrival, BarrierLayout, BarrierState, Cause, Gate, Status};
use crate::sync::{Armed, AwaitFd, BlockedOn, attachable, interrupted, me, named, timed_out};
use procession_shm::{SharedObject, Stamp};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::wait::futex::Woken;
use procession_sys::wait::time::Deadline;
use procession_sys::wait::wait_slices::WaitSlices;

/// Lets a number of processes go on once all of them have come.
///
/// A wait that times out breaks the barrier for all, as in `multiprocessing`;
/// so does a leader that fails or dies in its action. A process that dies
/// while it waits has come, and counts.
///
/// ```
/// use procession_engine::sys::wait::time::Deadline;
/// use procession_engine::sync::Barrier;
///
/// let barrier = Barrier::create(2)?;
/// let other = barrier.clone();
/// let thread = std::thread::spawn(move || other.wait(Deadline::NEVER).unwrap());
/// let index = barrier.wait(Deadline::NEVER)?;
/// assert_eq!(index + thread.join().unwrap(), 1);
/// # Ok::<(), procession_engine::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Barrier {
    object: SharedObject<BarrierLayout>,
    inner: BarrierState<'static>,
}

/// Says what a process that has come has to do.
///
/// # Example: an action before anybody goes on
/// ```
/// use procession_engine::sys::wait::time::Deadline;
/// use procession_engine::sync::{Barrier, Role};
///
/// let barrier = Barrier::create(1)?;
/// let mut acted = false;
/// match barrier.arrive(Deadline::NEVER)? {
///     Role::Leader(leader) => {
///         acted = true;
///         leader.open()?;
///     }
///     Role::Follower(mut follower) => follower.wait(Deadline::NEVER)?,
/// }
/// assert!(acted && !barrier.broken());
/// # Ok::<(), procession_engine::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping it fails, or leaves, the barrier"]
pub enum Role<'a> {
    /// The last to come: runs the action, if any, and opens the barrier.
    Leader(Leader<'a>),
    /// Any other: waits.
    Follower(Follower),
}

attachable!(Barrier, object);

impl Barrier {
    /// Makes a barrier for that many processes (or threads, or both).
    ///
    /// # Errors
    /// `Invalid` when `parties` is 0, `OutOfMemory` when the arena is full.
    pub fn create(parties: u32) -> Result<Self> {
        if parties == 0 {
            return Err(Error::new(
                ErrorKind::Invalid,
                "a barrier needs at least one party",
            ));
        }
        let barrier = SharedObject::create(family()?, 0).map(Self::of)?;
        barrier.inner.set_parties(parties);
        Ok(barrier)
    }

    fn of(object: SharedObject<BarrierLayout>) -> Self {
        let inner = BarrierState::of(object.view());
        Self { object, inner }
    }

    /// Comes to the barrier and waits for the others; returns how many had
    /// come before.
    ///
    /// # Errors
    /// `Broken`; `Interrupted`, and this process then has not come; `TimedOut`
    /// as for [`Barrier::arrive`].
    pub fn wait(&self, deadline: Deadline) -> Result<u32> {
        match self.arrive(deadline)? {
            Role::Leader(leader) => {
                let index = leader.index();
                leader.open().map(|()| index)
            }
            Role::Follower(mut follower) => follower.wait(deadline).map(|()| follower.index()),
        }
    }

    /// Comes to the barrier. If the generation before is complete and its leader still
    /// runs its action, this waits for that first.
    ///
    /// # Errors
    /// `Broken` when the barrier is broken. `TimedOut` and `Interrupted` while
    /// waiting for the earlier leader; this process then has not come.
    pub fn arrive(&self, deadline: Deadline) -> Result<Role<'_>> {
        let me = me(&self.object)?;
        loop {
            match self.come(me)? {
                Ok(role) => return Ok(role),
                Err(earlier) => self.await_change(earlier, me, deadline)?,
            }
        }
    }

    /// Comes to the barrier without waiting; `None` while the leader of the generation
    /// before runs its action, and this process then has not come.
    ///
    /// # Errors
    /// `Broken` when the barrier is broken.
    pub fn try_arrive(&self) -> Result<Option<Role<'_>>> {
        let me = me(&self.object)?;
        let role = self.come(me)?;
        if role.is_err() {
            self.inner.reclaim_leader();
        }
        Ok(role.ok())
    }

    /// Returns the descriptor by which this process waits at the barrier, without a thread.
    #[must_use]
    pub fn await_fd(&self) -> AwaitFd {
        AwaitFd::of(&self.object, self.inner.awaiting())
    }

    /// Returns what to poll until it is worth another [`try_arrive`](Self::try_arrive);
    /// `None` when it is now.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left, or too many processes wait in this way.
    pub fn arm(&self, fd: &AwaitFd) -> Result<Option<Armed>> {
        let gate = self.inner.gate();
        match gate.status {
            Status::Acting => self.arm_for_change(gate, fd),
            Status::Filling | Status::Broken => Ok(None),
        }
    }

    /// Comes to the barrier, unless the generation before is not over.
    fn come(&self, me: Stamp) -> Result<std::result::Result<Role<'_>, Gate>> {
        Ok(match self.inner.arrive(me) {
            Arrival::Leader(generation, index) => Ok(Role::Leader(Leader {
                barrier: self,
                me,
                generation: Some(generation),
                index,
            })),
            Arrival::Follower(generation, index) => Ok(Role::Follower(Follower {
                barrier: self.clone(),
                me,
                generation: Some(generation),
                came: Instant::now(),
                index,
            })),
            Arrival::Broken(generation) => return Err(self.is_broken(generation)),
            Arrival::Early(gate) => Err(gate),
        })
    }

    /// Makes the barrier as good as new. Processes that wait at it fail with `Broken`.
    ///
    /// # Errors
    /// `Limit` in a forked process that found no place in the family.
    pub fn reset(&self) -> Result<()> {
        let me = me(&self.object)?;
        self.inner.change(me, Cause::Reset, |gate, arrived| {
            let untouched = gate.status == Status::Filling && arrived == 0;
            (!untouched).then_some(gate.next())
        });
        Ok(())
    }

    /// Breaks the barrier: every process that waits or comes fails until a reset.
    ///
    /// # Errors
    /// `Limit` in a forked process that found no place in the family.
    pub fn abort(&self) -> Result<()> {
        let me = me(&self.object)?;
        let broken = |gate: Gate, _| Some(gate.broken());
        self.inner.change(me, Cause::Aborted, broken);
        Ok(())
    }

    /// Returns how many processes the barrier is for.
    #[must_use]
    pub fn parties(&self) -> u32 {
        self.inner.parties()
    }

    /// Returns how many have come and wait for the rest.
    #[must_use]
    pub fn n_waiting(&self) -> u32 {
        let gate = self.inner.gate();
        match gate.status {
            Status::Filling => self.inner.arrived(gate.generation),
            Status::Acting | Status::Broken => 0,
        }
    }

    /// Tells whether the barrier is broken.
    #[must_use]
    pub fn broken(&self) -> bool {
        self.inner.gate().status == Status::Broken
    }

    /// Parks until the gate changes, or until the waiter has to look again.
    fn await_change(&self, gate: Gate, me: Stamp, deadline: Deadline) -> Result<()> {
        let _waiting = BlockedOn::on(&self.object, me);
        let mut slices = WaitSlices::for_holders();
        while self.inner.gate() == gate {
            match self.inner.park(gate, slices.end(deadline)) {
                Woken::Changed => {}
                Woken::Interrupted if self.inner.gate() == gate => {
                    return Err(interrupted(&self.object));
                }
                Woken::Interrupted => {}
                Woken::TimedOut => {
                    if gate.status == Status::Acting {
                        self.inner.reclaim_leader();
                    }
                    if deadline.has_passed() && self.inner.gate() == gate {
                        return Err(timed_out(&self.object));
                    }
                    slices.grow();
                }
            }
        }
        Ok(())
    }

    /// Arms a descriptor for the gate's next change, or the end of the leader on whom that
    /// depends.
    fn arm_for_change(&self, gate: Gate, fd: &AwaitFd) -> Result<Option<Armed>> {
        let changed = || self.inner.gate() != gate;
        match gate.status {
            Status::Acting => fd.arm_with_holder(changed, || Some(self.inner.leader())),
            Status::Filling | Status::Broken => fd.arm(changed),
        }
    }

    /// Makes the error that says why a generation was broken.
    fn is_broken(&self, generation: u32) -> Error {
        let mut text = format!("{} is broken", named(&self.object));
        if let Some(why) = self.inner.why(generation) {
            let pid = why.pid;
            text += &match why.cause {
                Cause::Aborted => format!(": process {pid} aborted it"),
                Cause::Reset => format!(" for the processes that waited: process {pid} reset it"),
                Cause::TimedOut => format!(
                    ": process {pid} waited until its timeout, and {} of {} had come",
                    self.inner.arrived(generation),
                    self.parties()
                ),
                Cause::ActionFailed => format!(": the action of process {pid} failed"),
                Cause::LeaderDied => format!(": process {pid} died before all could go on"),
            };
        }
        if self.broken() {
            text += "; reset it before it is used again";
        }
        Error::new(ErrorKind::Broken, text)
    }
}

/// The last to come. The others wait until it opens the barrier; if it is
/// dropped, or its process dies, the barrier is broken.
#[derive(Debug)]
pub struct Leader<'a> {
    barrier: &'a Barrier,
    me: Stamp,
    /// `None` once the barrier was opened, or the action has failed.
    generation: Option<u32>,
    index: u32,
}

impl Leader<'_> {
    /// Returns how many had come before.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Lets all go on.
    ///
    /// # Errors
    /// `Broken` when somebody reset or aborted the barrier in the meantime.
    pub fn open(mut self) -> Result<()> {
        let generation = self.generation;
        if self.end(Gate::next, true) {
            return Ok(());
        }
        Err(self.barrier.is_broken(generation.unwrap_or_default()))
    }

    /// Breaks the barrier, because the action failed.
    pub fn fail(mut self) {
        self.end(Gate::broken, false);
    }

    fn end(&mut self, to: impl Fn(Gate) -> Gate, well: bool) -> bool {
        let Some(generation) = self.generation.take() else {
            return false;
        };
        let acting = Gate {
            generation,
            status: Status::Acting,
        };
        let broken_by = (!well).then_some((Cause::ActionFailed, self.me));
        self.barrier.inner.change_to(self.me, broken_by, |gate, _| {
            (gate == acting).then(|| to(gate))
        })
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        // A forked copy does not lead.
        if self.barrier.object.family().me() == self.me {
            self.end(Gate::broken, false);
        }
    }
}

/// Any but the last to come. If it is dropped before the last comes, it has
/// not come.
#[derive(Debug)]
pub struct Follower {
    barrier: Barrier,
    me: Stamp,
    /// `None` once this process was told how the generation ended.
    generation: Option<u32>,
    came: Instant,
    index: u32,
}

impl Follower {
    /// Returns how many had come before.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Tells whether all have come and the leader has opened the barrier.
    ///
    /// # Errors
    /// `Broken`.
    pub fn try_wait(&mut self) -> Result<bool> {
        let barrier = &self.barrier;
        let Some(generation) = self.generation else {
            return Ok(true);
        };
        let mut gate = barrier.inner.gate();
        if gate.status == Status::Acting {
            barrier.inner.reclaim_leader();
            gate = barrier.inner.gate();
        }
        let Some(well) = barrier.inner.end_of(generation, gate) else {
            return Ok(false);
        };
        self.generation = None;
        if well {
            Ok(true)
        } else {
            Err(barrier.is_broken(generation))
        }
    }

    /// Returns what to poll until it is worth another [`try_wait`](Self::try_wait);
    /// `None` when it is now.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left, or too many processes wait in this way.
    pub fn arm(&self, fd: &AwaitFd) -> Result<Option<Armed>> {
        let gate = self.barrier.inner.gate();
        match self.generation {
            Some(generation) if self.barrier.inner.end_of(generation, gate).is_none() => {
                self.barrier.arm_for_change(gate, fd)
            }
            _ => Ok(None),
        }
    }

    /// Blocks until all have come and the leader has opened the barrier.
    ///
    /// At the deadline it breaks the barrier, unless all have come: then it
    /// waits for the leader, however long its action takes.
    ///
    /// # Errors
    /// `Broken`, also when this wait timed out. `Interrupted`: still counted as
    /// having come; call it again, or drop the follower.
    pub fn wait(&mut self, deadline: Deadline) -> Result<()> {
        self.wait_with_break(deadline, Deadline::NEVER)
    }

    /// As [`wait`](Self::wait), but interrupted at `pause`, for callers that have to
    /// look after something else now and then.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_with_break(&mut self, deadline: Deadline, pause: Deadline) -> Result<()> {
        let barrier = &self.barrier;
        let Some(generation) = self.generation else {
            let message = format!("this wait at {} has ended", named(&barrier.object));
            return Err(Error::new(ErrorKind::Broken, message));
        };
        let mut gave_up = None;
        loop {
            let gate = barrier.inner.gate();
            if let Some(well) = barrier.inner.end_of(generation, gate) {
                self.generation = None;
                return if well {
                    Ok(())
                } else {
                    let error = barrier.is_broken(generation);
                    Err(match gave_up {
                        Some(seconds) => {
                            error.context(format_args!("this wait took longer than {seconds:.3} s"))
                        }
                        None => error,
                    })
                };
            }
            let until = match gate.status {
                Status::Acting => Deadline::NEVER,
                Status::Filling | Status::Broken => deadline,
            };
            match barrier.await_change(gate, self.me, until.min(pause)) {
                Err(error) if error.kind() == ErrorKind::TimedOut && !until.has_passed() => {
                    return Err(interrupted(&barrier.object));
                }
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    // Unless the last process has come in this instant.
                    let broke = |now: Gate, _| (now == gate).then(|| gate.broken());
                    if barrier.inner.change(self.me, Cause::TimedOut, broke) {
                        gave_up = Some(self.came.elapsed().as_secs_f64());
                    }
                }
                result => result?,
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // A forked copy has not come.
        if let Some(generation) = self.generation
            && self.barrier.object.family().me() == self.me
        {
            self.barrier.inner.leave(self.me, generation);
        }
    }
}
