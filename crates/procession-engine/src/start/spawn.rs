//! A process with a fresh image of a program.

use std::ffi::OsString;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::PathBuf;
use std::time::Duration;

use crate::error::Result;
use crate::os::lifeline;
use crate::os::spawn::Spawn;
use crate::process::Child;
use crate::start::introduction::Introduction;
use crate::start::orders::Orders;
use crate::start::slot::Slot;
use crate::start::spares::Spares;

/// Says which program a fresh image is of. It must [`join`](super::join()) the
/// family by the last of its arguments, the [`Introduction`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The executable.
    pub exe: PathBuf,
    /// Its arguments, its own name first; the introduction is put after them.
    pub argv: Vec<OsString>,
    /// The environment; `None` is a copy of this process's.
    pub env: Option<Vec<(OsString, OsString)>>,
    /// The working directory; `None` is this process's.
    pub cwd: Option<PathBuf>,
}

/// Starts a fresh image of a program.
///
/// # Errors
/// `Invalid` when there is no such program or directory, `Limit` or
/// `OutOfMemory` when there can be no other process. Nothing is left behind.
pub fn spawn(program: &Program, orders: Orders<'_>) -> Result<Child> {
    spawn_with(program, orders, |_| ())
}

/// Starts a server that keeps `spares`; it ends with this process.
pub(super) fn spawn_server(
    program: &Program,
    orders: Orders<'_>,
    spares: &Spares,
) -> Result<Child> {
    let orders = Orders {
        daemon: true,
        ..orders
    };
    spawn_with(program, orders, |introduction| {
        introduction.spares = Some(spares.handle());
    })
}

/// Starts a fresh image that is to be the spare in cell `index`; it ends with
/// this process, or when nobody wants it for so long.
pub(super) fn spawn_spare(
    program: &Program,
    spares: &Spares,
    index: usize,
    patience: Duration,
) -> Result<Child> {
    let orders = Orders {
        name: "spare".into(),
        daemon: true,
        ..Orders::default()
    };
    spawn_with(program, orders, |introduction| {
        introduction.spares = Some(spares.handle());
        introduction.cell = Some(index);
        introduction.patience = u64::try_from(patience.as_millis()).ok();
    })
}

fn spawn_with(
    program: &Program,
    orders: Orders<'_>,
    complete: impl FnOnce(&mut Introduction),
) -> Result<Child> {
    let lifeline = orders.daemon.then(lifeline::read_end).transpose()?;
    let slot = Slot::reserve(&orders.name, orders.flags())?;
    let mut introduction = Introduction {
        family: slot.family().fd().as_raw_fd(),
        stamp: slot.stamp(),
        lifeline: lifeline.as_ref().map(|fd| fd.as_raw_fd()),
        fds: orders.fds.iter().map(|fd| fd.as_raw_fd()).collect(),
        ..Introduction::default()
    };
    if let Some(payload) = orders.payload {
        let (given, _) = payload.give(slot.stamp())?;
        introduction.payload = Some(given);
    }
    let mut keep = orders.fds;
    keep.push(slot.family().fd());
    keep.extend(lifeline.as_ref().map(|fd| fd.as_fd()));
    complete(&mut introduction);
    let mut argv = program.argv.clone();
    argv.push(introduction.to_string().into());
    let pidfd = Spawn {
        program: program.exe.clone(),
        argv,
        env: program.env.clone(),
        cwd: program.cwd.clone(),
        keep,
        // One that nobody has claimed has nothing to do with them.
        hold_interrupts: introduction.cell.is_some(),
    }
    .start()?;
    let family = slot.family();
    Ok(Child::own(family, slot.keep(), pidfd))
}
