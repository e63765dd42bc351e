//! A process and all that it has started, directly or not, ended together.
//!
//! Two sources name the children of a process: the member table has those that it
//! started by procession, also if a fork server forked them and the system calls them
//! the server's, and the system has those that it started by other means. A process may
//! start others while one looks, so each is stopped before its children are listed;
//! once a round finds no new one, the tree is complete and cannot grow. Then all get
//! the signal, and are continued so that they take it.
//!
//! Descendants whose parent had ended before are missed: the system has given them to
//! init, and nothing tells whose they were.

use procession_shm::member::table::Stage;
use procession_shm::{Family, Stamp};
use procession_sys::error::Result;
use procession_sys::primitive::{Ordering, relax};
use procession_sys::process::pidfd::PidFd;
use procession_sys::procfs::status::{ProcStatus, child_pids};
use procession_sys::signals;
use procession_sys::wait::time::Deadline;

/// How long a process may take to stop. A process in the middle of a long system call
/// stops when the call ends, and starts no other meanwhile.
const TO_STOP: std::time::Duration = std::time::Duration::from_millis(100);

/// Sends a signal to the process that `root` watches and to all that it has
/// started. Tells whether the process itself was still there to get it.
///
/// # Errors
/// When the process is another user's by now.
pub(crate) fn signal(root: &PidFd, stamp: Stamp, number: i32) -> Result<bool> {
    let mut tree: Vec<(PidFd, Stamp)> = Vec::new();
    if !root.send_signal(signals::STOP)? {
        return Ok(false);
    }
    await_stop(root);
    tree.extend(children(root.pid(), stamp, &[root.pid()]));
    let mut seen = 0;
    while seen < tree.len() {
        let (process, stamp) = &tree[seen];
        // A process that is another user's, or has ended, is passed over.
        if process.send_signal(signals::STOP).unwrap_or(false) {
            await_stop(process);
            let mut known: Vec<_> = tree.iter().map(|(one, _)| one.pid()).collect();
            known.push(root.pid());
            let found = children(process.pid(), *stamp, &known);
            tree.extend(found);
        }
        seen += 1;
    }
    let all = || std::iter::once(root).chain(tree.iter().map(|(process, _)| process));
    for process in all() {
        let _ = process.send_signal(number);
    }
    for process in all() {
        let _ = process.send_signal(signals::CONTINUE);
    }
    Ok(true)
}

/// Waits until a process that was sent a stop has stopped, or has ended.
fn await_stop(process: &PidFd) {
    let deadline = Deadline::after(TO_STOP);
    while let Some(status) = ProcStatus::of(process.pid()) {
        if matches!(status.state, 'T' | 't') || status.is_zombie() || deadline.has_passed() {
            return;
        }
        relax();
        std::thread::yield_now();
    }
}

/// Opens the children of a stopped process that are not known yet.
fn children(pid: u32, stamp: Stamp, known: &[u32]) -> Vec<(PidFd, Stamp)> {
    let mut found: Vec<(u32, Stamp)> = Vec::new();
    let mut stamps = Vec::new();
    if let Some(family) = Family::existing() {
        family.for_each_member(|one, member| {
            let child = member.pid();
            if child == 0 || member.stage() != Stage::Alive || one == family.me() {
                return;
            }
            stamps.push((child, one));
            let parent = Stamp::from_raw(member.parent.load(Ordering::Relaxed));
            if !stamp.is_nobody() && parent == stamp {
                found.push((child, one));
            }
        });
    }
    for child in child_pids(pid) {
        let one = stamps.iter().find(|(member, _)| *member == child);
        found.push((child, one.map_or(Stamp::NOBODY, |(_, stamp)| *stamp)));
    }
    let mut opened: Vec<(PidFd, Stamp)> = Vec::new();
    for (child, one) in found {
        let is_new = !known.contains(&child) && opened.iter().all(|(old, _)| old.pid() != child);
        if is_new
            && let Ok(process) = PidFd::open(child)
            // Opened by its number, so it is the process that was meant only if it is
            // still a child.
            && (is_child_of(child, pid) || is_member(child, one))
        {
            opened.push((process, one));
        }
    }
    opened
}

fn is_child_of(child: u32, parent: u32) -> bool {
    ProcStatus::of(child).is_some_and(|status| status.parent == parent)
}

/// Tells whether a process is still the member that it was.
fn is_member(pid: u32, stamp: Stamp) -> bool {
    !stamp.is_nobody()
        && Family::existing().is_some_and(|family| {
            let member = family.member(stamp);
            member.pid() == pid && !family.is_dead(stamp)
        })
}
