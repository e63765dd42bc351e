//! Starting a process by spawning a fresh image of a program.

use std::ffi::OsString;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;

use crate::family;
use crate::launch::bootstrap::BootstrapArgument;
use crate::launch::reservation::MemberReservation;
use crate::launch::spec::LaunchSpec;
use crate::launch::surplus;
use crate::process::Child;
use procession_shm::{Handle, Stamp};
use procession_sys::error::Result;
use procession_sys::fd::kept_fd::KeptFd;
use procession_sys::fd::own_table::ProgramsTable;
use procession_sys::process::guardian::Guardian;
use procession_sys::process::lifeline;
use procession_sys::process::pidfd::PidFd;
use procession_sys::process::spawn::Spawn;
use procession_sys::sandbox::{Need, must_allow};

/// The program of a fresh image. It must [`join`](crate::standby::join()) the
/// family by the last of its arguments, the [`BootstrapArgument`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The executable.
    pub exe: PathBuf,
    /// Its arguments, its own name first; the bootstrap argument is appended.
    pub argv: Vec<OsString>,
    /// The environment; `None` for a copy of this process's.
    pub env: Option<Vec<(OsString, OsString)>>,
    /// The working directory; `None` for this process's.
    pub cwd: Option<PathBuf>,
}

/// A face's own way to start a child of this process. It is given the text that the command
/// line must end with, and the descriptors that the child must have at the same numbers. It
/// returns the process id.
pub type Starter<'a> = dyn FnMut(&str, &[BorrowedFd<'_>]) -> Result<u32> + 'a;

/// The way in which a fresh image is started.
pub(crate) enum Image<'a, 'b> {
    Of(&'a Program),
    By(&'a mut Starter<'b>),
}

/// Starts a fresh image of a program.
///
/// # Errors
/// `Invalid` when there is no such program or directory, `Limit` or
/// `OutOfMemory` when there can be no other process. Nothing is left behind.
pub fn spawn(program: &Program, spec: LaunchSpec<'_>) -> Result<Child> {
    spawn_with(Image::Of(program), spec, |_| ()).map(|(child, _)| child)
}

/// Starts a fresh image by the caller's `start`.
///
/// # Errors
/// Those of `start` and of [`spawn`]. Nothing is left behind.
pub fn spawn_by(start: &mut Starter<'_>, spec: LaunchSpec<'_>) -> Result<Child> {
    spawn_with(Image::By(start), spec, |_| ()).map(|(child, _)| child)
}

/// Starts a fork server that keeps `spares`, and ends with this process.
pub(crate) fn spawn_server(
    image: Image<'_, '_>,
    spec: LaunchSpec<'_>,
    spares: Handle,
) -> Result<(Child, Option<Guardian>)> {
    let spec = LaunchSpec {
        daemon: true,
        ..spec
    };
    spawn_with(image, spec, |argument| {
        argument.spares = Some(spares);
    })
}

/// Starts a fresh image as the spare in slot `index`, by a thread that has its own table of
/// descriptors. The spare ends with this process, or after `patience` if nobody claims it.
///
/// # Errors
/// `Invalid` when the program has closed a descriptor that the spare needs; else as [`spawn`].
pub(crate) fn spawn_spare(
    program: &Program,
    spares: Handle,
    index: usize,
    stamp: Stamp,
    patience: Duration,
    table: &ProgramsTable,
) -> Result<(PidFd, Guardian)> {
    let memory = family()?.open_by(table)?;
    let lifeline = lifeline::read_end_by(table)?;
    let argument = BootstrapArgument {
        family: memory.as_raw_fd(),
        stamp,
        lifeline: Some(lifeline.as_raw_fd()),
        spares: Some(spares),
        slot: Some(index),
        patience: u64::try_from(patience.as_millis()).ok(),
        ..BootstrapArgument::default()
    };
    let spawn = Spawn {
        // Until the spare has its handler: see "Interrupts" in `standby/README.md`.
        hold_interrupts: true,
        ..of_program(program, &argument, vec![memory.as_fd(), lifeline.as_fd()])
    };
    spawn.start_aside()
}

fn of_program<'fd>(
    program: &Program,
    argument: &BootstrapArgument,
    keep: Vec<BorrowedFd<'fd>>,
) -> Spawn<'fd> {
    let mut argv = program.argv.clone();
    argv.push(argument.to_string().into());
    Spawn {
        program: program.exe.clone(),
        argv,
        env: program.env.clone(),
        cwd: program.cwd.clone(),
        keep,
        hold_interrupts: false,
    }
}

fn spawn_with(
    image: Image<'_, '_>,
    spec: LaunchSpec<'_>,
    complete: impl FnOnce(&mut BootstrapArgument),
) -> Result<(Child, Option<Guardian>)> {
    must_allow(Need::Starts)?;
    let lifeline = spec.daemon.then(lifeline::read_end).transpose()?;
    // Before a slot is reserved: `fd` may have to move the memory to another file, which it
    // does only if this process is the family's only member.
    let memory = family()?.fd()?;
    let reservation = MemberReservation::reserve(&spec.name, spec.flags())?;
    let mut argument = BootstrapArgument {
        family: memory.as_raw_fd(),
        stamp: reservation.stamp(),
        lifeline: lifeline.as_ref().map(|fd| fd.unverified().as_raw_fd()),
        fds: spec.fds.iter().map(|fd| fd.as_raw_fd()).collect(),
        ..BootstrapArgument::default()
    };
    if let Some(payload) = spec.payload {
        argument.payload = Some(payload.give(reservation.stamp())?);
    }
    let mut keep = spec.fds;
    keep.push(memory);
    keep.extend(lifeline.as_ref().map(KeptFd::unverified));
    complete(&mut argument);
    let (pidfd, aside) = match image {
        Image::By(start) => {
            let pid = start(&argument.to_string(), &keep)?;
            (PidFd::of_child(pid)?, None)
        }
        Image::Of(program) => {
            let spawn = of_program(program, &argument, keep);
            // The program has not asked for a server, so its `wait` must not report it.
            let is_server = argument.spares.is_some();
            match is_server.then(|| spawn.start_aside()) {
                Some(Ok((pidfd, aside))) => (pidfd, Some(aside)),
                // Without a guardian, the server is a plain child.
                _ => (surplus::in_room(|| spawn.start())?, None),
            }
        }
    };
    let family = reservation.family();
    Ok((Child::own(family, reservation.keep(), pidfd), aside))
}
