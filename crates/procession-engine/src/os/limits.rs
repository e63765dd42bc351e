//! What the kernel lets this process use at most.

use rustix::process::{Resource as Kind, Rlimit, getrlimit, setrlimit};

use crate::error::{Error, Result};

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
    /// What holds now; the process may change it up to `maximum`.
    pub current: Option<u64>,
    /// What only a privileged process may raise.
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
    use crate::os::testing::{WATCHDOG, child};

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
    fn more_than_the_maximum_is_refused() {
        let wrong = Limit {
            current: Some(2),
            maximum: Some(1),
        };
        let error = set_limit(Resource::OpenFiles, wrong).unwrap_err();
        assert!(error.to_string().starts_with("cannot limit open files"));
    }
}
