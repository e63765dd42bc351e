//! The state of a process, or of one of its threads, as /proc shows it.
//!
//! All of it may be gone, hidden (hidepid) or out of date by the time it is
//! read: answers are optional, and good for showing, not for deciding.

use std::fs::{self, File};
use std::io::Read as _;
use std::time::Duration;

use crate::procfs;

/// More bytes than `stat` can have: 52 numbers of 20 digits, and a name.
const LONGEST: usize = 2048;

/// Nanoseconds in a clock tick, the unit of times here: 1/100 s on every Linux (USER_HZ).
pub const TICK: u64 = 10_000_000;

/// Holds what one look at a process showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcStatus {
    /// The kernel's letter: R runs, S sleeps, D cannot be interrupted,
    /// T is stopped, Z has ended and waits to be reaped (proc_pid_stat(5)).
    pub state: char,
    /// Its parent.
    pub parent: u32,
    /// How many threads it has.
    pub threads: u32,
    /// When it started, in clock ticks (1/100 s) since boot.
    pub start_time: u64,
    /// Bytes of its memory that are in RAM, shared ones included.
    pub resident: u64,
    /// How long it and its threads have been on processors, in clock ticks (1/100 s).
    pub cpu_ticks: u64,
    /// The signal that its parent gets when it ends; 0 for a process of which no ordinary wait
    /// tells, as of a guardian; SIGCHLD where the system does not tell.
    pub end_signal: i32,
    /// The status word of a process that has ended and waits to be reaped; 0 for any
    /// other, and where the system does not tell.
    pub exit_code: i32,
}

impl ProcStatus {
    /// Looks at process `pid`; `None` when /proc does not show it.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        Self::read(&procfs::path(pid, "stat")?)
    }

    /// Looks at this process.
    #[must_use]
    pub fn of_self() -> Option<Self> {
        Self::read("/proc/self/stat")
    }

    /// Looks at one thread of process `pid`.
    #[must_use]
    pub fn of_thread(pid: u32, tid: u32) -> Option<Self> {
        Self::read(&procfs::path(pid, &format!("task/{tid}/stat"))?)
    }

    /// Tells whether it has ended and only waits to be reaped.
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// Returns how long it and its threads have been on processors.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        Duration::from_millis(self.cpu_ticks * 10)
    }

    fn read(path: &str) -> Option<Self> {
        // Read in one call, as its length is not known beforehand.
        let mut bytes = [0; LONGEST];
        let len = File::open(path).ok()?.read(&mut bytes).ok()?;
        Self::parse(bytes.get(..len)?)
    }

    fn parse(stat: &[u8]) -> Option<Self> {
        // The name in parentheses may hold anything; fields go on after the
        // last one. The first of them is number 3 (proc_pid_stat(5)).
        let close = stat.iter().rposition(|&byte| byte == b')')?;
        let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
        let fields: Vec<_> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3);
        let pages: u64 = field(24)?.parse().ok()?;
        let ticks = |number| field(number)?.parse::<u64>().ok();
        Some(Self {
            state: field(3)?.chars().next()?,
            parent: field(4)?.parse().ok()?,
            threads: field(20)?.parse().ok()?,
            start_time: field(22)?.parse().ok()?,
            cpu_ticks: ticks(14)? + ticks(15)?,
            resident: pages * rustix::param::page_size() as u64,
            end_signal: field(38)
                .and_then(|signal| signal.parse().ok())
                .unwrap_or(libc::SIGCHLD),
            exit_code: field(52).and_then(|code| code.parse().ok()).unwrap_or(0),
        })
    }
}

/// Returns the processes that process `pid` has started and that have not been
/// reaped.
#[must_use]
pub fn child_pids(pid: u32) -> Vec<u32> {
    if !procfs::is_ours() {
        return Vec::new();
    }
    let listed = |tid: u32| fs::read_to_string(format!("/proc/{pid}/task/{tid}/children"));
    let lists: std::io::Result<Vec<_>> = thread_ids(pid).into_iter().map(listed).collect();
    if let Ok(lists) = lists {
        let numbers = lists.iter().flat_map(|list| list.split_ascii_whitespace());
        return numbers.filter_map(|number| number.parse().ok()).collect();
    }
    // Some kernels keep no list (CONFIG_PROC_CHILDREN).
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers
        .filter(|&child| ProcStatus::of(child).is_some_and(|status| status.parent == pid))
        .collect()
}

/// Returns the name of the program that a process runs, cut to 15 bytes.
#[must_use]
pub fn program_name(pid: u32) -> Option<String> {
    let name = fs::read_to_string(procfs::path(pid, "comm")?).ok()?;
    Some(name.trim_end().to_owned())
}

/// Returns the name of the kernel function in which a process's first thread
/// sleeps; `None` when it runs, or the kernel does not tell.
#[must_use]
pub fn wait_channel(pid: u32) -> Option<String> {
    let name = fs::read_to_string(procfs::path(pid, "wchan")?).ok()?;
    (!name.is_empty() && name != "0").then_some(name)
}

/// Tells whether all ids of process `pid` are those that this process acts under, so
/// that the kernel lets it see everything; a process with capabilities may see more.
#[must_use]
pub fn has_our_ids(pid: u32) -> bool {
    let path = procfs::path(pid, "status");
    let Some(status) = path.and_then(|path| fs::read_to_string(path).ok()) else {
        return false;
    };
    let all_are = |name: &str, id: u32| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.is_some_and(|ids| {
            ids.split_ascii_whitespace()
                .all(|one| one.parse() == Ok(id))
        })
    };
    all_are("Uid:", rustix::process::geteuid().as_raw())
        && all_are("Gid:", rustix::process::getegid().as_raw())
}

/// Returns the numbers of the threads of process `pid`.
#[must_use]
pub fn thread_ids(pid: u32) -> Vec<u32> {
    let path = procfs::path(pid, "task");
    let Some(entries) = path.and_then(|path| fs::read_dir(path).ok()) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{WATCHDOG, child};

    #[test]
    fn a_name_full_of_traps_does_not_shift_the_fields() {
        let mut line = b"77 (a) Z 1 (b \xff) S 12 77 77 0 -1 4194560".to_vec();
        // Fields 10 to 24 hold their own numbers.
        for number in 10..=24 {
            line.extend(format!(" {number}").bytes());
        }
        let status = ProcStatus::parse(&line).unwrap();
        assert_eq!((status.state, status.parent), ('S', 12));
        assert_eq!((status.threads, status.start_time), (20, 22));
        assert_eq!(status.resident, 24 * rustix::param::page_size() as u64);
    }

    #[test]
    fn what_is_cut_short_is_nothing() {
        for text in ["", "77 (a", "77 (a)", "77 (a) S 1 2"] {
            assert_eq!(ProcStatus::parse(text.as_bytes()), None);
        }
    }

    #[test]
    fn a_process_sees_itself() {
        let me = std::process::id();
        let status = ProcStatus::of_self().unwrap();
        assert_eq!(status.parent, std::os::unix::process::parent_id());
        assert!(status.resident > 0);
        assert_eq!(ProcStatus::of(me).unwrap().start_time, status.start_time);
        let tid = rustix::thread::gettid().as_raw_pid().unsigned_abs();
        assert_eq!(ProcStatus::of_thread(me, tid).unwrap().state, 'R');
        assert!(thread_ids(me).contains(&tid));
    }

    #[test]
    fn a_child_that_ended_is_a_zombie_until_reaped() {
        let (process, _release) = child(|_| 0);
        assert!(process.wait(WATCHDOG()).unwrap());
        let status = ProcStatus::of(process.pid()).unwrap();
        assert!(status.is_zombie());
        assert_eq!(status.parent, std::process::id());
        process.reap().unwrap();
        assert_eq!(ProcStatus::of(process.pid()), None);
    }
}
