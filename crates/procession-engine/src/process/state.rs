//! The state of a process: new, running, blocked or terminated.

use std::fmt;

use procession_shm::ObjectKind;
use procession_shm::member::table::Member;
use procession_sys::primitive::Ordering;
use procession_sys::process::exit_status::ExitStatus;
use procession_sys::procfs::status::{self, ProcStatus};

/// Says what a process is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not started yet: only a face holds such a process.
    New,
    /// On a processor, or waiting for one.
    Running,
    /// Waiting for something: an object of the family ("lock #12") or, as the
    /// kernel names it, anything else ("sleeping in hrtimer_nanosleep").
    Blocked(String),
    /// Ended.
    Terminated(ExitStatus),
}

/// Bits of `waiting_on` below the kind of the object.
const SERIAL_BITS: u32 = 56;

impl State {
    /// Finds out what a process does that has not ended; `member` is its entry
    /// in the family's table while it has one.
    pub(crate) fn of_running(pid: u32, member: Option<&Member>) -> Self {
        // A hint that counts only while the process sleeps: a process that was just
        // woken has not taken it back yet.
        let waiting_on = member.map_or(0, |member| member.waiting_on.load(Ordering::Relaxed));
        let Some(status) = ProcStatus::of(pid) else {
            return Self::Running;
        };
        let awake = |status: ProcStatus| status.state == 'R';
        if status.state == 'T' || status.state == 't' {
            return Self::Blocked("stopped by a signal".into());
        }
        if status.is_zombie() || awake(status) || status.threads > 1 && any_thread(pid, awake) {
            return Self::Running;
        }
        if waiting_on != 0 {
            return Self::Blocked(object_name(waiting_on));
        }
        let channel = status::wait_channel(pid);
        Self::Blocked(channel.map_or_else(
            || "sleeping".into(),
            |function| format!("sleeping in {function}"),
        ))
    }

    /// Returns the one word for it: new, running, blocked, terminated.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Running => "running",
            Self::Blocked(_) => "blocked",
            Self::Terminated(_) => "terminated",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked(on) => write!(f, "blocked: {on}"),
            Self::Terminated(status) => write!(f, "terminated: {status}"),
            _ => f.write_str(self.word()),
        }
    }
}

fn any_thread(pid: u32, test: impl Fn(ProcStatus) -> bool) -> bool {
    status::thread_ids(pid)
        .into_iter()
        .any(|thread| ProcStatus::of_thread(pid, thread).is_some_and(&test))
}

fn object_name(waiting_on: u64) -> String {
    let kind = ObjectKind::from_raw((waiting_on >> SERIAL_BITS) as u32);
    let serial = waiting_on & ((1 << SERIAL_BITS) - 1);
    format!("{} #{serial}", kind.map_or("object", ObjectKind::name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_named_by_kind_and_serial() {
        let waiting_on = (ObjectKind::Queue as u64) << SERIAL_BITS | 3;
        assert_eq!(object_name(waiting_on), "queue #3");
    }

    #[test]
    fn a_state_reads_as_a_word_or_a_phrase() {
        let blocked = State::Blocked("lock #12".into());
        assert_eq!(blocked.word(), "blocked");
        assert_eq!(blocked.to_string(), "blocked: lock #12");
        let killed = State::Terminated(ExitStatus::from_code(-9));
        assert_eq!(killed.to_string(), "terminated: was killed by SIGKILL");
    }
}
