//! The users' side of the fork server: finding it, starting it, and starting processes by it.
//!
//! Any member that has the server's handle may start processes by it. The server ends with
//! the process that started it; a member that finds it dead starts another.

use crate::launch::spawn::{Image, Program, Starter, spawn_server};
use crate::launch::spec::LaunchSpec;
use crate::process::Child;
use crate::process::child::KILL;
use crate::process::reap::{KEEPER_BELL, UNKNOWN};
use crate::standby::KILL_TIME;
use crate::standby::claim::{Claim, Spares};
use crate::standby::prebooted;
use crate::standby::slot::SlotState;
use procession_shm::{Handle, Stamp};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::limits::rlimits;
use procession_sys::primitive::Ordering;
use procession_sys::process::exit_status::FAILED;
use procession_sys::process::guardian::Guardian;
use procession_sys::process::pidfd::PidFd;
use procession_sys::sandbox::{Need, must_allow};
use procession_sys::wait::doorbell;
use procession_sys::wait::futex::Woken;
use procession_sys::wait::time::Deadline;
use procession_sys::wait::wait_slices::WaitSlices;

/// After how many slices a request is repeated: there may have been no slot left for another
/// spare when the server handled it.
const REPEAT_AFTER: u32 = 25;

/// A handle of a fork server, a process that forks others for the family. At first no server
/// runs.
///
/// Dropping it ends the server if this process has started it; processes that were started by
/// the server live on.
#[derive(Debug, Default)]
pub struct ForkServer {
    running: Option<RunningServer>,
}

#[derive(Debug)]
struct RunningServer {
    spares: Spares,
    /// The server's descriptor, which tells whether it is alive.
    watch: PidFd,
    /// The server as a child, if this process has started it.
    child: Option<Child>,
    /// The guardian between this process and the server.
    aside: Option<Guardian>,
}

impl ForkServer {
    /// How many servers in a row may be killed before a start fails. That takes about ten
    /// seconds, as each of them got no farther than its own start.
    pub const ATTEMPTS: u32 = 100;

    /// Makes a fork server that is not running yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Attaches to a server that another member has started.
    ///
    /// # Errors
    /// `Stale` or `Dead` when it is gone.
    pub fn attach(handle: Handle) -> Result<Self> {
        let spares = Spares::attach(handle)?;
        let body = spares.body();
        let watch = PidFd::open(body.keeper_pid.load(Ordering::Relaxed))?;
        // The pid may have been reused before it was opened; not if the keeper is still
        // alive now.
        if spares.family().is_dead(body.keeper()) {
            return Err(gone(body.keeper()));
        }
        Ok(Self {
            running: Some(RunningServer {
                spares,
                watch,
                child: None,
                aside: None,
            }),
        })
    }

    /// Returns the handle by which other members find this server; `None` when it
    /// does not run.
    #[must_use]
    pub fn handle(&self) -> Option<Handle> {
        self.living().map(|running| running.spares.handle())
    }

    /// Tells whether a server with the same privileges as this process runs. (The processes
    /// that it forks have the server's privileges.)
    #[must_use]
    pub fn is_running(&self) -> bool {
        let body = |running: &RunningServer| running.spares.body().has_our_privileges();
        self.living().is_some_and(body)
    }

    /// Returns the server's process id; `None` when it does not run.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.living().map(|running| running.watch.pid())
    }

    fn living(&self) -> Option<&RunningServer> {
        self.running
            .as_ref()
            .filter(|running| !running.watch.is_dead())
    }

    /// Starts a server if none with the privileges of this process runs; tells whether it did.
    /// The payload that `spec` returns tells the server what to import ahead.
    ///
    /// # Errors
    /// As [`spawn`](crate::launch::spawn()).
    pub fn ensure(
        &mut self,
        program: &Program,
        spec: impl FnOnce() -> Result<LaunchSpec<'static>>,
    ) -> Result<bool> {
        self.ensure_image(Image::Of(program), spec)
    }

    /// Does the same as [`ensure`](Self::ensure); the caller starts the process.
    ///
    /// # Errors
    /// As [`spawn_by`](crate::launch::spawn_by()).
    pub fn ensure_by(
        &mut self,
        start: &mut Starter<'_>,
        spec: impl FnOnce() -> Result<LaunchSpec<'static>>,
    ) -> Result<bool> {
        self.ensure_image(Image::By(start), spec)
    }

    fn ensure_image(
        &mut self,
        image: Image<'_, '_>,
        spec: impl FnOnce() -> Result<LaunchSpec<'static>>,
    ) -> Result<bool> {
        if self.is_running() {
            return Ok(false);
        }
        for need in [Need::Starts, Need::Bells, Need::Mail] {
            must_allow(need)?;
        }
        prebooted::have_memory()?;
        let spares = Spares::create()?;
        spares.body().note_starter();
        let (child, aside) = spawn_server(image, spec()?, spares.handle())?;
        let body = spares.body();
        body.keeper_pid.store(child.pid(), Ordering::Relaxed);
        body.set_keeper(child.stamp());
        let watch = PidFd::of_ward(child.pid())?;
        let before = self.running.replace(RunningServer {
            spares,
            watch,
            child: Some(child),
            aside,
        });
        // The new server boots meanwhile.
        if let Some(before) = before {
            before.give_up();
        }
        Ok(true)
    }

    /// Ends the server. The processes that it has started live on.
    ///
    /// # Errors
    /// When the server belongs to another user by now.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(running) = self.running.take() {
            running.watch.send_signal(KILL)?;
            running.clear_away();
        }
        Ok(())
    }

    /// Claims a spare of the server. With `with_fds` its launch spec may have descriptors.
    ///
    /// # Errors
    /// `Dead` when the server has ended: start another. `TimedOut` and
    /// `Interrupted` when no spare was available before. The server's error when it cannot
    /// fork.
    pub fn claim(&self, with_fds: bool, deadline: Deadline) -> Result<Claim> {
        let running = self.running.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::Dead,
                "no fork server has been started by this process",
            )
        })?;
        running.claim(with_fds, deadline)
    }

    /// Starts a process by the server; starts the server first if none runs.
    ///
    /// # Errors
    /// As [`ensure`](Self::ensure), [`claim`](Self::claim) and
    /// [`Claim::hand_over`].
    pub fn start(
        &mut self,
        program: &Program,
        server_spec: impl Fn() -> Result<LaunchSpec<'static>>,
        mut spec: LaunchSpec<'_>,
    ) -> Result<Child> {
        let with_fds = spec.needs_mail();
        let mut attempts = 0;
        loop {
            self.ensure(program, &server_spec)?;
            match self.claim(with_fds, Deadline::NEVER) {
                Ok(claim) => match claim.hand_over(&mut spec) {
                    // The spare was killed just now; take another.
                    Err(error) if error.kind() == ErrorKind::Dead => {}
                    result => return result,
                },
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A server that ended by itself would do so again.
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
        let is_ours = |running: &RunningServer| running.child.as_ref().is_some_and(Child::is_ours);
        if self.running.as_ref().is_some_and(is_ours) {
            // If this fails, the server ends when this process does.
            let _ = self.stop();
        }
    }
}

impl RunningServer {
    fn claim(&self, with_fds: bool, deadline: Deadline) -> Result<Claim> {
        let body = self.spares.body();
        let mut requested = None;
        let mut slices = 0;
        loop {
            // Before the look at the slots: if a spare parks after that look, the count has
            // changed, and the wait below ends at once.
            let supply = body.supply.count();
            let is_here = !self.spares.family().is_in_other_namespace(body.keeper());
            if is_here && let Some(claim) = self.spares.claim(with_fds, &self.watch)? {
                // A spare was forked with the limit of the server, which that of this
                // process may exceed by now.
                if body.has_outgrown_keeper() {
                    rlimits::share_processes(claim.pid());
                }
                return Ok(claim);
            }
            if self.watch.is_dead() {
                return Err(self.ended());
            }
            let family = self.spares.family();
            if family.is_in_other_namespace(body.keeper()) {
                let message = "the fork server is in another pid namespace than this process, \
                               which has moved its children there (unshare, setns): \
                               their numbers are others here; start them by fork or spawn";
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
            match requested {
                Some((_, request)) if body.has_refused(request) => {
                    // The server was started with this process's limit, which may have been
                    // raised since.
                    if !self.watch.is_dead() && rlimits::share_processes(self.watch.pid()) {
                        requested = Some((supply, self.request()?));
                        continue;
                    }
                    return Err(Error::new(
                        ErrorKind::Limit,
                        format!("the fork server cannot fork: {}", body.note()),
                    ));
                }
                // The spare that we woke for is another's by now.
                Some((at, _)) if at == supply => {}
                _ => requested = Some((supply, self.request()?)),
            }
            let slice = WaitSlices::for_answer().end(deadline);
            match body.supply.wait(supply, slice) {
                Woken::Changed => {}
                Woken::TimedOut if deadline.has_passed() => {
                    let message = "the fork server had no process ready before the deadline";
                    return Err(Error::new(ErrorKind::TimedOut, message));
                }
                Woken::TimedOut => {
                    slices += 1;
                    if slices % REPEAT_AFTER == 0 {
                        self.request()?;
                    }
                }
                Woken::Interrupted => {
                    let message = "a signal arrived during the wait for the fork server";
                    return Err(Error::new(ErrorKind::Interrupted, message));
                }
            }
        }
    }

    /// Ends a server that is being replaced, because it has ended or its privileges differ. If
    /// another process has started it, it stays; if this process may not send it signals any
    /// more, it stays until this process ends.
    fn give_up(&self) {
        let is_ours = self.child.as_ref().is_some_and(Child::is_ours);
        let ends = self.watch.is_dead() || is_ours && self.watch.send_signal(KILL).is_ok();
        if ends {
            self.clear_away();
        }
    }

    /// Reclaims a server that was killed, and its spares.
    fn clear_away(&self) {
        let _ = self.watch.wait(Deadline::after(KILL_TIME));
        if let Some(child) = self.child.as_ref().filter(|child| child.is_ours()) {
            // Reaps and reclaims it.
            let _ = child.try_wait();
        }
        let family = self.spares.family();
        for slot in &self.spares.body().slots {
            let unused = matches!(
                slot.word().state,
                SlotState::Booting | SlotState::Parked | SlotState::Gone | SlotState::Dismissed
            );
            let stamp = slot.spare();
            if !unused || stamp.is_nobody() {
                continue;
            }
            // The spare's death signal is on its way.
            if !family.is_dead(stamp)
                && let Ok(spare) = PidFd::open(slot.pid())
            {
                let _ = spare.wait(Deadline::after(KILL_TIME));
            }
            if family.is_dead(stamp) {
                family.release_member(stamp);
            }
        }
    }

    /// Requests one more spare of the server; returns the request's number.
    fn request(&self) -> Result<u32> {
        let body = self.spares.body();
        // Release pairs with the Acquire in the server's `supply`.
        let request = body
            .requests
            .fetch_add(1, Ordering::Release)
            .wrapping_add(1);
        let family = self.spares.family();
        // If the server has not registered its doorbell yet, it reads the requests after that.
        doorbell::ring(family.id(), body.keeper().raw(), KEEPER_BELL)?;
        Ok(request)
    }

    fn ended(&self) -> Error {
        let body = self.spares.body();
        let keeper = body.keeper();
        let Some(Ok(Some(status))) = self.child.as_ref().map(Child::try_wait) else {
            return gone(keeper);
        };
        // If another process has reaped the server, only the guardian may know the status.
        let told = || self.aside.as_ref()?.outcome(Deadline::after(KILL_TIME));
        let known = match status {
            UNKNOWN => told(),
            status => Some(status),
        };
        let status = known.unwrap_or(UNKNOWN);
        let mut message = format!("the fork server (process {}) {status}", self.watch.pid());
        let has_told = body.has_told();
        if status.signal().is_none() && has_told {
            message = format!("{message}: {}", body.note());
        }
        let error = Error::new(ErrorKind::Dead, message);
        // A server of which neither the exit status nor an error is known was killed.
        match known.map_or(!has_told, |status| status.signal().is_some()) {
            true => error,
            false => error.with_errno(FAILED),
        }
    }
}

fn gone(keeper: Stamp) -> Error {
    Error::new(
        ErrorKind::Dead,
        format!("the fork server (member {keeper}) has ended"),
    )
}
