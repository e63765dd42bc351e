//! Descriptors by which tasks of event loops wait for an object of the engine.
//!
//! The Python side tries first, then asks for descriptors here, has the loop watch them, and tries
//! again.

use std::os::fd::{AsFd, AsRawFd};

use procession_engine::Result;
use procession_engine::sync::{self, AwaitFd};
use procession_engine::sys::fork_safe::once::ForkOnce;
use pyo3::prelude::*;

use crate::error::IntoPython;

/// The descriptor by which tasks of this process wait for one object; it is made when a task first
/// waits.
#[derive(Default)]
pub struct AwaitedFd(ForkOnce<AwaitFd>);

/// The descriptors to watch, and what keeps them open.
pub type Watched = Option<(Vec<i32>, Armed)>;

impl AwaitedFd {
    /// Arms the descriptor; `None` when another try may succeed now.
    pub fn arm(
        &self,
        make: impl FnOnce() -> AwaitFd,
        arm: impl FnOnce(&AwaitFd) -> Result<Option<sync::Armed>>,
    ) -> PyResult<Watched> {
        let Some(armed) = arm(self.0.get_or_init(make)).or_raise()? else {
            return Ok(None);
        };
        let mut fds = vec![armed.changed.as_fd().as_raw_fd()];
        if let Some(pidfd) = &armed.holder_exit {
            fds.push(pidfd.fd().or_raise()?.as_raw_fd());
        }
        Ok(Some((fds, Armed(armed))))
    }
}

/// Keeps the descriptors open that an event loop watches.
#[pyclass(frozen, module = "procession._procession")]
pub struct Armed(#[expect(dead_code, reason = "it is to be dropped")] sync::Armed);
