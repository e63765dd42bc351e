//! The users' side of the fork server: find it, start it, start by it.
//!
//! The server belongs to the family, not to the process that started it: its
//! handle may travel, and any member may start processes by it. It ends with
//! the process that started it; who finds it gone starts another.

use std::time::Duration;

use crate::arena::{Handle, Stamp};
use crate::error::{Error, ErrorKind, Result};
use crate::os::doorbell;
use crate::os::exit_status::FAILED;
use crate::os::futex::Woken;
use crate::os::pidfd::PidFd;
use crate::os::time::Deadline;
use crate::primitive::Ordering;
use crate::process::Child;
use crate::process::child::KEEPER_BELL;
use crate::start::cell::State;
use crate::start::orders::Orders;
use crate::start::spares::{Claim, Spares};
use crate::start::spawn::{Program, spawn_server};

/// How often a process that waits for a spare asks whether the server lives.
const SLICE: Duration = Duration::from_millis(20);

/// Slices after which one wishes anew: the wish may have come when there was no
/// cell left for another spare.
const PATIENCE: u32 = 25;

/// How long a process that was killed may take to be gone.
const LAST_STEPS: Duration = Duration::from_secs(2);

/// A process that forks others for the family; at first there is none.
///
/// Dropping it ends the server if this process has started it; what was started
/// by the server lives on.
#[derive(Debug, Default)]
pub struct ForkServer {
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    spares: Spares,
    /// The server, to see whether it lives.
    watch: PidFd,
    /// The server as our child, if we have started it.
    child: Option<Child>,
}

impl ForkServer {
    /// Servers in a row that may be killed before a start fails.
    pub const ATTEMPTS: u32 = 10;

    /// Makes a fork server that is not running yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds the server that a relative has started.
    ///
    /// # Errors
    /// `Stale` or `Dead` when it is gone.
    pub fn attach(handle: Handle) -> Result<Self> {
        let spares = Spares::attach(handle)?;
        let body = spares.body();
        let watch = PidFd::open(body.keeper_pid.load(Ordering::Relaxed))?;
        // The number may be another's by now; whose it was when opened tells
        // the keeper's stamp, if it lives still.
        if spares.family().is_dead(body.keeper()) {
            return Err(gone(body.keeper()));
        }
        Ok(Self {
            running: Some(Running {
                spares,
                watch,
                child: None,
            }),
        })
    }

    /// Returns the numbers by which relatives find this server; `None` when it
    /// does not run.
    #[must_use]
    pub fn handle(&self) -> Option<Handle> {
        self.living().map(|running| running.spares.handle())
    }

    /// Tells whether the server runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.living().is_some()
    }

    /// Returns the server's process id; `None` when it does not run.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.living().map(|running| running.watch.pid())
    }

    fn living(&self) -> Option<&Running> {
        self.running
            .as_ref()
            .filter(|running| !running.watch.is_dead())
    }

    /// Starts the server if none runs; tells whether it did. The payload of
    /// `orders` is for the server: what to have ready.
    ///
    /// # Errors
    /// As [`spawn`](crate::start::spawn()).
    pub fn ensure(
        &mut self,
        program: &Program,
        orders: impl FnOnce() -> Result<Orders<'static>>,
    ) -> Result<bool> {
        if self.is_running() {
            return Ok(false);
        }
        let spares = Spares::create()?;
        let child = spawn_server(program, orders()?, &spares)?;
        let body = spares.body();
        body.keeper_pid.store(child.pid(), Ordering::Relaxed);
        body.set_keeper(child.stamp());
        let watch = PidFd::open(child.pid())?;
        let before = self.running.replace(Running {
            spares,
            watch,
            child: Some(child),
        });
        // While the new one is on its way.
        if let Some(before) = before {
            before.clear_away();
        }
        Ok(true)
    }

    /// Ends the server. What it has started lives on.
    ///
    /// # Errors
    /// When the server is another user's by now.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(running) = self.running.take() {
            running.watch.send_signal(KILL)?;
            running.clear_away();
        }
        Ok(())
    }

    /// Claims a process to start, which waits for its orders. With `with_fds`
    /// the orders may hold descriptors.
    ///
    /// # Errors
    /// `Dead` when the server has ended: start another. `TimedOut` and
    /// `Interrupted` when there was none to be had before. Whatever keeps the
    /// server from forking.
    pub fn claim(&self, with_fds: bool, deadline: Deadline) -> Result<Claim> {
        let running = self
            .running
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::Dead, "the fork server has not been started"))?;
        running.claim(with_fds, deadline)
    }

    /// Starts a process by the server, which is started first if need be.
    ///
    /// # Errors
    /// As [`ensure`](Self::ensure), [`claim`](Self::claim) and
    /// [`Claim::hand_over`].
    pub fn start(
        &mut self,
        program: &Program,
        server_orders: impl Fn() -> Result<Orders<'static>>,
        mut orders: Orders<'_>,
    ) -> Result<Child> {
        let with_fds = orders.needs_mail();
        let mut attempts = 0;
        loop {
            self.ensure(program, &server_orders)?;
            match self.claim(with_fds, Deadline::NEVER) {
                Ok(claim) => match claim.hand_over(&mut orders) {
                    // It was killed just now; there are others.
                    Err(error) if error.kind() == ErrorKind::Dead => {}
                    result => return result,
                },
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // One that ended by itself would do so again.
                Err(error) if error.kind() == ErrorKind::Dead && attempts < Self::ATTEMPTS => {
                    if error.errno() == Some(FAILED) {
                        return Err(error);
                    }
                    attempts += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for ForkServer {
    fn drop(&mut self) {
        let is_ours = |running: &Running| running.child.as_ref().is_some_and(Child::is_ours);
        if self.running.as_ref().is_some_and(is_ours) {
            // It ends at the latest when this process does.
            let _ = self.stop();
        }
    }
}

impl Running {
    fn claim(&self, with_fds: bool, deadline: Deadline) -> Result<Claim> {
        let body = self.spares.body();
        let mut wished = None;
        let mut slices = 0;
        loop {
            // Before the look at the cells, so that a spare that parks after it
            // shows.
            let supply = body.supply.count();
            if let Some(claim) = self.spares.claim(with_fds, &self.watch)? {
                return Ok(claim);
            }
            if self.watch.is_dead() {
                return Err(self.ended());
            }
            let troubles = body.troubles.load(Ordering::Acquire);
            match wished {
                Some((_, before)) if before != troubles => {
                    return Err(Error::new(
                        ErrorKind::Limit,
                        format!("the fork server cannot fork: {}", body.note()),
                    ));
                }
                // The spare that we woke for is another's by now.
                Some((at, _)) if at == supply => {}
                _ => {
                    wished = Some((supply, troubles));
                    self.wish()?;
                }
            }
            let slice = deadline.within(SLICE);
            match body.supply.wait(supply, slice) {
                Woken::Changed => {}
                Woken::TimedOut if deadline.has_passed() => {
                    let message = "the fork server had no process ready before the deadline";
                    return Err(Error::new(ErrorKind::TimedOut, message));
                }
                Woken::TimedOut => {
                    slices += 1;
                    if slices % PATIENCE == 0 {
                        self.wish()?;
                    }
                }
                Woken::Interrupted => {
                    let message = "a signal arrived during the wait for the fork server";
                    return Err(Error::new(ErrorKind::Interrupted, message));
                }
            }
        }
    }

    /// Gives back what a server that was killed, and its spares, have held.
    fn clear_away(&self) {
        let _ = self.watch.wait(Deadline::after(LAST_STEPS));
        if let Some(child) = self.child.as_ref().filter(|child| child.is_ours()) {
            // Reaps and buries it.
            let _ = child.try_wait();
        }
        let family = self.spares.family();
        for cell in &self.spares.body().cells {
            let unused = matches!(
                cell.word().state,
                State::Booting | State::Parked | State::Gone | State::Dismissed
            );
            let stamp = cell.spare();
            if !unused || stamp.is_nobody() {
                continue;
            }
            // Its death signal is on its way.
            if !family.is_dead(stamp)
                && let Ok(spare) = PidFd::open(cell.pid())
            {
                let _ = spare.wait(Deadline::after(LAST_STEPS));
            }
            if family.is_dead(stamp) {
                family.release_member(stamp);
            }
        }
    }

    /// Asks the server for one spare more.
    fn wish(&self) -> Result<()> {
        let body = self.spares.body();
        // Release pairs with the Acquire in the server's `supply`.
        body.wanted.fetch_add(1, Ordering::Release);
        let family = self.spares.family();
        // A server that has not hung up its bell yet looks at the wishes then.
        doorbell::ring(family.id(), body.keeper().raw(), KEEPER_BELL)?;
        Ok(())
    }

    fn ended(&self) -> Error {
        let keeper = self.spares.body().keeper();
        match self.child.as_ref().map(Child::try_wait) {
            Some(Ok(Some(status))) => {
                let message = format!("the fork server (process {}) {status}", self.watch.pid());
                let error = Error::new(ErrorKind::Dead, message);
                match status.signal() {
                    Some(_) => error,
                    None => error.with_errno(FAILED),
                }
            }
            _ => gone(keeper),
        }
    }
}

fn gone(keeper: Stamp) -> Error {
    Error::new(
        ErrorKind::Dead,
        format!("the fork server (member {keeper}) has ended"),
    )
}

/// SIGKILL.
const KILL: i32 = 9;
