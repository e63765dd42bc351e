//! The limits that the kernel sets for this process.

use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, Resource as Kind, Rlimit, getrlimit, prlimit, setrlimit};

use crate::error::{Error, Result};
use crate::limits::cgroup::{Cgroup, Directory};

/// Names a resource that procession itself sets a limit for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Open descriptors.
    OpenFiles,
    /// Bytes of private writable memory; the arena is not counted.
    Data,
}

/// Says how much of a resource may be used; `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The limit in force; the process may change it up to `maximum`.
    pub current: Option<u64>,
    /// The highest limit, which only a privileged process may raise.
    pub maximum: Option<u64>,
}

/// Returns how much of a resource this process may use.
#[must_use]
pub fn limit(resource: Resource) -> Limit {
    let Rlimit { current, maximum } = getrlimit(resource.kind());
    Limit { current, maximum }
}

/// Changes how much of a resource this process, and those that it starts from
/// now on, may use.
///
/// # Errors
/// When it is more than the maximum and the process is not privileged.
pub fn set_limit(resource: Resource, limit: Limit) -> Result<()> {
    let Limit { current, maximum } = limit;
    setrlimit(resource.kind(), Rlimit { current, maximum })
        .map_err(|e| Error::os(format_args!("limit {}", resource.noun()), e))
}

/// Returns how many processes this process's user may have by its limit (`RLIMIT_NPROC`).
#[must_use]
pub fn most_processes() -> u64 {
    getrlimit(Kind::Nproc).current.unwrap_or(u64::MAX)
}

/// Lets another process of this user start as many processes as this one may, if it may
/// start fewer; returns whether it was changed.
pub fn share_processes(pid: u32) -> bool {
    let ours = most_processes();
    let other = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let Some((other, (current, maximum))) = other.zip(processes_of(pid)) else {
        return false;
    };
    let wanted = ours.min(maximum);
    let number = |value| (value != u64::MAX).then_some(value);
    let limit = Rlimit {
        current: number(wanted),
        maximum: number(maximum),
    };
    current < wanted && prlimit(Some(other), Kind::Nproc, limit).is_ok()
}

/// Returns how many processes another one may start, and may let itself start.
fn processes_of(pid: u32) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let mut fields = text
        .lines()
        .find_map(|line| line.strip_prefix("Max processes"))?
        .split_whitespace()
        .map(|field| match field {
            "unlimited" => Some(u64::MAX),
            number => number.parse().ok(),
        });
    Some((fields.next()??, fields.next()??))
}

/// If a user or a control group may have fewer processes and threads than this, each
/// counts.
const SCARCE: u64 = 512;

/// Tells whether so few processes are allowed here that processes booted ahead would
/// leave too few for other processes, threads and programs.
#[must_use]
pub fn processes_are_scarce() -> bool {
    if getrlimit(Kind::Nproc)
        .current
        .is_some_and(|limit| limit < SCARCE)
    {
        return true;
    }
    let read = |path: PathBuf| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    Cgroup::of_self()
        .directories("pids")
        .into_iter()
        // Where there is no limit, the file says so in a word.
        .filter_map(|(Directory::V1(group) | Directory::V2(group))| read(group.join("pids.max")))
        .any(|limit| limit < SCARCE)
}

impl Resource {
    fn kind(self) -> Kind {
        match self {
            Self::OpenFiles => Kind::Nofile,
            Self::Data => Kind::Data,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::OpenFiles => "open files",
            Self::Data => "private memory",
        }
    }
}

/// Holds every limit of a process, to be compared with another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Current and maximum per resource, in the kernel's order; `u64::MAX` is
    /// no limit.
    pub values: [(u64, u64); 16],
}

impl Limits {
    /// Returns the limits of this process.
    #[must_use]
    pub fn current() -> Self {
        let all = [
            Kind::Cpu,
            Kind::Fsize,
            Kind::Data,
            Kind::Stack,
            Kind::Core,
            Kind::Rss,
            Kind::Nproc,
            Kind::Nofile,
            Kind::Memlock,
            Kind::As,
            Kind::Locks,
            Kind::Sigpending,
            Kind::Msgqueue,
            Kind::Nice,
            Kind::Rtprio,
            Kind::Rttime,
        ];
        let values = all.map(|kind| {
            let limit = getrlimit(kind);
            let number = |value: Option<u64>| value.unwrap_or(u64::MAX);
            (number(limit.current), number(limit.maximum))
        });
        Self { values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{WATCHDOG, child};

    #[test]
    fn a_limit_that_was_set_holds_and_shows_in_the_whole() {
        let (process, _release) = child(|_| {
            let before = Limits::current();
            assert_eq!(before, Limits::current());
            let maximum = limit(Resource::Data).maximum;
            let tight = Limit {
                current: Some(1 << 30),
                maximum,
            };
            set_limit(Resource::Data, tight).unwrap();
            assert_eq!(limit(Resource::Data), tight);
            assert_ne!(before, Limits::current());
            0
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        assert!(process.reap().unwrap().unwrap().is_success());
    }

    #[test]
    fn another_may_start_as_many_as_this_process_and_no_less_than_before() {
        let (process, release) = child(|go| {
            let Rlimit { maximum, .. } = getrlimit(Kind::Nproc);
            let current = Some(300);
            setrlimit(Kind::Nproc, Rlimit { current, maximum }).unwrap();
            assert!(processes_are_scarce());
            let (other, _release) = child(|go| go.wait());
            let may = || processes_of(other.pid()).unwrap().0;
            assert!(!share_processes(other.pid()));
            assert_eq!(may(), 300);
            for (limit, then) in [(400, 400), (200, 400)] {
                let current = Some(limit);
                setrlimit(Kind::Nproc, Rlimit { current, maximum }).unwrap();
                assert_eq!(share_processes(other.pid()), limit == then);
                assert_eq!(may(), then);
            }
            other.send_signal(9).unwrap();
            go.wait()
        });
        drop(release);
        assert!(process.wait(WATCHDOG()).unwrap());
        assert!(process.reap().unwrap().unwrap().is_success());
    }

    #[test]
    fn more_than_the_maximum_is_refused() {
        let wrong = Limit {
            current: Some(2),
            maximum: Some(1),
        };
        let error = set_limit(Resource::OpenFiles, wrong).unwrap_err();
        assert!(error.to_string().starts_with("cannot limit open files"));
    }
}
