//! Whether a process, known by its id and the time it joined, still runs.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open, test_kill_process};
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::procfs;
use crate::procfs::status::TICK;

/// Returns nanoseconds since boot, sleep included: the clock by which the
/// kernel dates the start of processes.
#[inline]
#[must_use]
pub fn boot_time() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
    (tv_sec as u64).saturating_mul(1_000_000_000) + tv_nsec as u64
}

/// Tells whether the process that had `pid` at `seen` (boot time) still runs.
///
/// A zombie does not run. A pid that was given to a newer process is told
/// apart by that process's start, which lies after `seen`. Without a descriptor to look
/// by, the process that has the pid is taken for the one meant, and for running: a
/// death may be noticed late, but a living process must not lose what it holds.
#[must_use]
pub fn is_alive(pid: u32, seen: u64) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return false;
    };
    if rustix::process::getpid() == pid {
        return true;
    }
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => {
            let mut fds = [PollFd::new(&fd, PollFlags::IN)];
            let ended = poll(&mut fds, Some(&Timespec::default())).is_ok_and(|n| n > 0);
            !ended && has_started_before(pid, seen)
        }
        Err(rustix::io::Errno::SRCH) => false,
        // A sandbox forbids it: ask the slower, coarser way.
        Err(_) => match stat_fields(pid) {
            Some((state, _)) => !matches!(state, b'Z' | b'X') && has_started_before(pid, seen),
            // No descriptor left, most likely.
            None => test_kill_process(pid) != Err(rustix::io::Errno::SRCH),
        },
    }
}

/// Tells whether the process that has `pid`, dead or alive, was there at `seen`.
pub(crate) fn started_before(pid: u32, seen: u64) -> bool {
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .is_some_and(|pid| has_started_before(pid, seen))
}

fn has_started_before(pid: Pid, seen: u64) -> bool {
    // Without /proc, or with another's, nothing tells a reused pid: believe the pid.
    stat_fields(pid).is_none_or(|(_, start)| start <= seen.saturating_add(TICK))
}

/// Reads a process's state letter and start in nanoseconds since boot.
fn stat_fields(pid: Pid) -> Option<(u8, u64)> {
    let path = procfs::path(pid.as_raw_pid().unsigned_abs(), "stat")?;
    let stat = std::fs::read(path).ok()?;
    // The name in parentheses may hold anything; fields go on after the last.
    let close = stat.iter().rposition(|&b| b == b')')?;
    let rest = std::str::from_utf8(stat.get(close + 2..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    // starttime is field 22 (proc_pid_stat(5)); state is field 3.
    let start: u64 = fields.nth(18)?.parse().ok()?;
    Some((state, start.saturating_mul(TICK)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::rlimits::{Limit, Resource, limit, set_limit};
    use crate::process::pidfd::PidFd;
    use crate::testing::{WATCHDOG, child};

    #[test]
    fn who_has_no_descriptors_takes_nobody_living_for_dead() {
        let (dead, release) = child(|_| 0);
        assert!(dead.wait(WATCHDOG()).unwrap());
        dead.reap().unwrap();
        drop(release);
        let (dead, living) = (dead.pid(), std::process::id());
        let (process, _release) = child(|_| {
            let none = Limit {
                current: Some(0),
                ..limit(Resource::OpenFiles)
            };
            set_limit(Resource::OpenFiles, none).unwrap();
            assert!(PidFd::open(living).is_err());
            assert!(is_alive(living, boot_time()));
            assert!(!is_alive(dead, boot_time()));
            0
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        assert_eq!(process.reap().unwrap().unwrap().code(), 0);
    }

    #[test]
    fn tells_the_living_from_the_dead_and_from_zombies() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let seen = boot_time();
        assert!(is_alive(child.id(), seen));
        // A process that started after the given time is another one.
        assert!(!is_alive(child.id(), seen - 10_000_000_000));
        let id = child.id();
        drop(child.stdin.take());
        let pid = Pid::from_raw(id as i32).unwrap();
        // Waits for the end without reaping: a zombie remains.
        rustix::process::waitid(
            rustix::process::WaitId::Pid(pid),
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
        )
        .unwrap();
        assert!(!is_alive(id, seen));
        child.wait().unwrap();
        assert!(!is_alive(id, seen));
    }
}
