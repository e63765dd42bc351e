//! Starting a process as a copy of this one: the one start that is unsafe.
//!
//! # Safety
//! A copy of a process with threads may find things half changed. That is the caller's
//! risk, and every function here says so.

#![expect(unsafe_code, reason = "fork is the caller's risk")]

use std::os::fd::OwnedFd;

use procession_engine as engine;
use procession_engine::launch::{Forked, LaunchSpec, fork_with};
use procession_engine::shm::HandleSource;
use procession_engine::sys::process::fork::fork;
use procession_engine::sys::procfs::status::thread_ids;

use crate::child::Child;
use crate::codec;
use crate::error::Result;
use crate::function::{Callable, Input};
use crate::launch::Launch;
use crate::process::{Given, Process};
use crate::start_method::StartMethod;
use crate::{child_side, children, current, outcome, passed, server};

impl<F: Callable<M>, M> Process<F, M, Given<F, M>> {
    /// Starts the process as a copy of this one, by `fork`.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    ///
    /// # Safety
    /// The child is a copy with one thread, the calling one. The caller makes
    /// sure that the function uses nothing that another thread may have been
    /// changing at that instant: in a process with several threads not even
    /// the allocator's locks are sure to be free outside glibc, nor is stdout.
    ///
    /// No lock that the child itself needs is taken: it panics and ends also if other
    /// threads were panicking, printing or starting processes. A panic's text goes to
    /// stderr without a backtrace then, and past hooks that were set before. For one
    /// thing the standard library has no means: if a thread was in the middle of
    /// `panic::set_hook` or `take_hook`, a panic of the child waits for ever; and one
    /// that replaces the hook later, without calling the one it took, brings back the
    /// standard library's, with its locks. So set hooks before there are threads and
    /// before the first start.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Process;
    /// # procession::init();
    /// let process = Process::new(|n: u32| n + 1).args(1);
    /// // SAFETY: the function touches nothing of this process.
    /// let child = unsafe { process.start_by_fork()? };
    /// assert_eq!(child.join()?, 2);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub unsafe fn start_by_fork(self) -> Result<Child<F::Output>> {
        let (launch, input) = self.start_method(StartMethod::Fork).prepared()?;
        let function = std::any::type_name::<F>();
        let (encoded, fds) = passed::collecting(|| {
            codec::collecting(|| codec::encode(&input, format_args!("the arguments of {function}")))
        });
        let (input, _loans) = encoded?;
        // SAFETY: the caller's promise is the one that is asked for here.
        let started = unsafe { start(&launch, &input, fds) }?;
        Ok(Child::new(started, launch))
    }
}

/// Starts a process as a copy of this one, which runs its role and ends.
///
/// # Safety
/// As for [`fork`].
unsafe fn start(
    launch: &Launch,
    bytes: &[u8],
    fds: Vec<OwnedFd>,
) -> Result<engine::process::Child> {
    let orders = LaunchSpec {
        name: launch.name.clone(),
        daemon: launch.daemon,
        ..LaunchSpec::default()
    };
    current::introduce_main()?;
    // The child can no longer do this, as it may find the locks taken.
    outcome::watch_panics();
    let told = server::numbers();
    let alone = thread_ids(std::process::id()).len() == 1;
    // SAFETY: the caller answers for anything that the copy finds half changed.
    let forked = fork_with(&orders, || unsafe { fork() })?;
    match forked {
        Forked::Parent(child) => Ok(child),
        Forked::Child => {
            if !alone {
                outcome::avoid_locks();
            }
            // SAFETY: this is the copy's only thread.
            unsafe { children::forget_children() };
            // SAFETY: as above.
            unsafe { server::inherit_by_fork(told) };
            #[cfg(any(feature = "log", feature = "tracing"))]
            // SAFETY: as above.
            unsafe {
                crate::relay::renew_by_fork();
            }
            // A copy is attached to all that its original is.
            let source = &HandleSource::KEPT;
            passed::arrive(fds);
            child_side::run(launch, Input::new(bytes, source))
        }
    }
}
