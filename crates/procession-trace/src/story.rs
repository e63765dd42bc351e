//! Makes events of the trace format of what was collected.
//!
//! A process is a slice on the track of its first thread, from its start to its end; its tasks and
//! waits are slices within. A process counts as ended when two looks have not found it among the
//! living: what it told last was collected in between.

use std::collections::HashMap;
use std::io;

use procession_engine::observe::QueueCounts;
use procession_engine::shm::Stamp;
use procession_engine::sys::process::exit_status::ExitStatus;
use procession_engine::trace::{TraceEvent, TracedMember, What};

use crate::json_file::{Args, Event, JsonFile};

/// The processes, as far as they are known.
#[derive(Debug)]
pub(crate) struct Story {
    began: u64,
    processes: HashMap<u32, Known>,
    queues: HashMap<u64, QueueCounts>,
    dropped: u64,
}

/// A process.
#[derive(Debug, Default)]
struct Known {
    pid: u32,
    name: String,
    /// The latest time of its events.
    latest: u64,
    /// The waits of its threads that are open, or ended a moment ago.
    waits: Vec<Wait>,
    /// The task that it died in.
    task: Option<(u32, u64, String)>,
    /// When it was first found not to be alive, and whether there was a collection since.
    missing: Option<(u64, bool)>,
    code: Option<i32>,
    /// Whether its slice is open: one that had ended before the trace began has none.
    has_begun: bool,
    has_ended: bool,
}

/// A wait of a thread.
#[derive(Debug)]
struct Wait {
    tid: u32,
    name: String,
    /// When the wait has ended; its end is not in the file yet.
    ended: Option<u64>,
}

/// Waits of a thread for one object that are no further apart, in nanoseconds, are told as one:
/// a wait of Python's wakes now and then to look for signals.
const PAUSE: u64 = 50_000;

/// The name of a task whose function is unknown, because the task was given to its worker before
/// the trace began.
const TASK: &str = "task";

impl Story {
    pub(crate) fn new(began: u64) -> Self {
        Self {
            began,
            processes: HashMap::new(),
            queues: HashMap::new(),
            dropped: 0,
        }
    }

    fn time(&self, at: u64) -> f64 {
        in_time(at, self.began)
    }

    /// Writes one event.
    pub(crate) fn tell(&mut self, event: TraceEvent, file: &mut JsonFile) -> io::Result<()> {
        let TraceEvent {
            at,
            member,
            pid,
            tid,
            what,
        } = event;
        let ts = self.time(at);
        let place = Event {
            ts,
            pid,
            tid,
            ..Event::default()
        };
        if let What::QueueEnded { serial, put, got } = what {
            self.count_queue(QueueCounts { serial, put, got }, at, file)?;
            self.queues.remove(&serial);
            return Ok(());
        }
        if let What::Ended { member, pid, code } = what {
            let known = self.processes.entry(member.raw()).or_default();
            known.pid = pid;
            known.code = Some(code);
            known.missing.get_or_insert((at, false));
            return Ok(());
        }
        let has_begun = |known: &Known| known.has_begun;
        if !self.processes.get(&member.raw()).is_some_and(has_begun) {
            let name = match &what {
                What::Started { name } => name,
                _ => "",
            };
            self.begin(member, pid, name, at, file)?;
        }
        let Some(known) = self.processes.get_mut(&member.raw()) else {
            return Ok(());
        };
        known.latest = known.latest.max(at);
        let before = known.waits.iter().position(|wait| wait.tid == tid);
        if let Some(before) = before
            && let Some(ended) = known.waits[before].ended
        {
            let wait = &mut known.waits[before];
            if let What::WaitBegins { kind, serial } = &what
                && at.saturating_sub(ended) <= PAUSE
                && wait.name == wait_name(kind, *serial)
            {
                wait.ended = None;
                return Ok(());
            }
            let wait = known.waits.swap_remove(before);
            let ended = in_time(ended, self.began);
            file.add(&end_of_wait(wait.name, ended, (pid, tid), None))?;
        }
        match what {
            What::Started { name } => known.rename(name, file),
            What::Ended { .. } | What::QueueEnded { .. } => Ok(()),
            What::Task {
                name,
                took,
                failed,
                count,
            } => {
                known.latest = known.latest.max(at.saturating_add(took));
                file.add(&Event {
                    name: name.unwrap_or_else(|| TASK.into()).into(),
                    ph: "X",
                    cat: "task",
                    dur: Some(took as f64 / 1e3),
                    args: Args {
                        failed: failed.then_some(true),
                        tasks: (count != 1).then_some(count),
                        ..Args::default()
                    },
                    ..place
                })
            }
            What::Unfinished { name } => {
                known.task = Some((tid, at, name.unwrap_or_else(|| TASK.into())));
                Ok(())
            }
            What::WaitBegins { kind, serial } => {
                let name = wait_name(kind, serial);
                if let Some(before) = known.wait_of(tid) {
                    let why = Some("its end was dropped");
                    file.add(&end_of_wait(before.name, ts, (pid, tid), why))?;
                }
                known.waits.push(Wait {
                    tid,
                    name: name.clone(),
                    ended: None,
                });
                file.add(&Event {
                    name: name.into(),
                    ph: "B",
                    cat: "wait",
                    args: Args {
                        object: Some(kind),
                        number: Some(serial),
                        ..Args::default()
                    },
                    ..place
                })
            }
            What::WaitEnds { .. } => {
                // There is none if its beginning was dropped, or was before the trace.
                if let Some(wait) = known.wait_of(tid) {
                    known.waits.push(Wait {
                        ended: Some(at),
                        ..wait
                    });
                }
                Ok(())
            }
            What::Dropped(count) => {
                self.dropped += count;
                file.add(&Event {
                    name: format!("{count} events dropped").into(),
                    ph: "i",
                    cat: "trace",
                    s: Some("t"),
                    args: Args {
                        dropped: Some(count),
                        ..Args::default()
                    },
                    ..place
                })
            }
        }
    }

    fn begin(
        &mut self,
        member: Stamp,
        pid: u32,
        name: &str,
        at: u64,
        file: &mut JsonFile,
    ) -> io::Result<()> {
        let ts = self.time(at);
        let known = self.processes.entry(member.raw()).or_default();
        known.pid = pid;
        known.has_begun = true;
        known.rename(name.into(), file)?;
        file.add(&Event {
            name: "process".into(),
            ph: "B",
            cat: "process",
            ts,
            pid,
            tid: pid,
            ..Event::default()
        })
    }

    /// Writes which processes have started and which have ended since the last look.
    pub(crate) fn look_at(
        &mut self,
        living: Vec<TracedMember>,
        now: u64,
        file: &mut JsonFile,
    ) -> io::Result<()> {
        let mut stamps: Vec<u32> = living.iter().map(|each| each.member.raw()).collect();
        stamps.sort_unstable();
        for each in living {
            match self.processes.get_mut(&each.member.raw()) {
                Some(known) if known.has_begun => known.rename(each.name, file)?,
                _ => self.begin(each.member, each.pid, &each.name, each.joined, file)?,
            }
        }
        let began = self.began;
        for (stamp, known) in &mut self.processes {
            known.end_waits_before(now.saturating_sub(PAUSE), began, file)?;
            if stamps.binary_search(stamp).is_ok() {
                continue;
            }
            match known.missing {
                Some((since, true)) if known.code.is_some() => known.end(since, began, file)?,
                Some((since, _)) => known.missing = Some((since, true)),
                None => known.missing = Some((now, false)),
            }
        }
        // There are no more events of these.
        self.processes.retain(|_, known| !known.has_ended);
        Ok(())
    }

    /// Writes what went through queues since the last look.
    pub(crate) fn count(
        &mut self,
        queues: &[QueueCounts],
        now: u64,
        file: &mut JsonFile,
    ) -> io::Result<()> {
        for counts in queues {
            self.count_queue(*counts, now, file)?;
        }
        Ok(())
    }

    fn count_queue(&mut self, counts: QueueCounts, at: u64, file: &mut JsonFile) -> io::Result<()> {
        if self.queues.insert(counts.serial, counts) == Some(counts) {
            return Ok(());
        }
        file.add(&Event {
            name: format!("queue #{}", counts.serial).into(),
            ph: "C",
            cat: "queue",
            ts: self.time(at),
            pid: std::process::id(),
            tid: std::process::id(),
            args: Args {
                items: Some(counts.put.saturating_sub(counts.got)),
                put: Some(counts.put),
                got: Some(counts.got),
                ..Args::default()
            },
            ..Event::default()
        })
    }

    /// Closes all open slices, and writes how many events were dropped.
    pub(crate) fn end(mut self, now: u64, file: &mut JsonFile) -> io::Result<()> {
        for known in self.processes.values_mut() {
            if !known.has_ended {
                let since = known.missing.map(|(since, _)| since);
                known.end(since.unwrap_or(now), self.began, file)?;
            }
        }
        let pid = std::process::id();
        file.add(&Event {
            name: "trace_complete".into(),
            ph: "M",
            cat: "trace",
            ts: self.time(now),
            pid,
            tid: pid,
            args: Args {
                dropped: Some(self.dropped),
                ..Args::default()
            },
            ..Event::default()
        })
    }
}

impl Known {
    fn rename(&mut self, name: String, file: &mut JsonFile) -> io::Result<()> {
        if name.is_empty() || self.name == name {
            return Ok(());
        }
        self.name.clone_from(&name);
        file.add(&Event {
            name: "process_name".into(),
            ph: "M",
            cat: "process",
            pid: self.pid,
            tid: self.pid,
            args: Args {
                name: Some(name.into()),
                ..Args::default()
            },
            ..Event::default()
        })
    }

    /// Takes out what a thread waits for.
    fn wait_of(&mut self, tid: u32) -> Option<Wait> {
        let at = self.waits.iter().position(|wait| wait.tid == tid)?;
        Some(self.waits.swap_remove(at))
    }

    /// Closes the waits that have ended before a time.
    fn end_waits_before(&mut self, time: u64, began: u64, file: &mut JsonFile) -> io::Result<()> {
        let (mut at, pid) = (0, self.pid);
        while let Some(wait) = self.waits.get(at) {
            match wait.ended {
                Some(ended) if ended < time => {
                    let Wait { tid, name, .. } = self.waits.swap_remove(at);
                    file.add(&end_of_wait(name, in_time(ended, began), (pid, tid), None))?;
                }
                _ => at += 1,
            }
        }
        Ok(())
    }

    /// Closes the slices of this process, which has ended, or with the trace.
    fn end(&mut self, since: u64, began: u64, file: &mut JsonFile) -> io::Result<()> {
        self.has_ended = true;
        self.end_waits_before(u64::MAX, began, file)?;
        if !self.has_begun {
            return Ok(());
        }
        let pid = self.pid;
        let at = since.max(self.latest);
        let ts = in_time(at, began);
        let is_dead = self.missing.is_some();
        let why = match is_dead {
            true => "the process has died in it",
            false => "the trace has ended",
        };
        for Wait { tid, name, .. } in self.waits.drain(..) {
            file.add(&end_of_wait(name, ts, (pid, tid), Some(why)))?;
        }
        if let Some((tid, since, name)) = self.task.take() {
            file.add(&Event {
                name: name.into(),
                ph: "X",
                cat: "task",
                ts: in_time(since, began),
                dur: Some(in_time(at, since.max(began))),
                pid,
                tid,
                args: Args {
                    unfinished: Some(why),
                    ..Args::default()
                },
                ..Event::default()
            })?;
        }
        let ended = self
            .code
            .map(|code| ExitStatus::from_code(code).to_string());
        let place = Event {
            ts,
            pid,
            tid: pid,
            ..Event::default()
        };
        if let (Some(1.. | ..=-1), Some(ended)) = (self.code, &ended) {
            file.add(&Event {
                name: ended.as_str().into(),
                ph: "i",
                cat: "death",
                s: Some("p"),
                args: Args {
                    exitcode: self.code,
                    ..Args::default()
                },
                ..place
            })?;
        }
        file.add(&Event {
            name: "process".into(),
            ph: "E",
            cat: "process",
            ts,
            pid,
            tid: pid,
            args: Args {
                exitcode: self.code,
                ended: ended.map(Into::into),
                unfinished: (!is_dead).then_some(why),
                ..Args::default()
            },
            ..Event::default()
        })
    }
}

/// Returns a time as the format has it: in microseconds since the trace began.
fn in_time(at: u64, began: u64) -> f64 {
    at.saturating_sub(began) as f64 / 1e3
}

fn wait_name(kind: &str, serial: u64) -> String {
    format!("waits for {kind} #{serial}")
}

fn end_of_wait(
    name: String,
    ts: f64,
    (pid, tid): (u32, u32),
    why: Option<&'static str>,
) -> Event<'static> {
    Event {
        name: name.into(),
        ph: "E",
        cat: "wait",
        ts,
        pid,
        tid,
        args: Args {
            unfinished: why,
            ..Args::default()
        },
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_no_clock_tells_end_with_the_last_one() {
        let path = std::env::temp_dir().join(format!("story-{}.json", std::process::id()));
        let mut file = JsonFile::create(&path).unwrap();
        let mut story = Story::new(5);
        let event = TraceEvent {
            at: 7,
            member: Stamp::new(1, 1),
            pid: 2,
            tid: 2,
            what: What::Task {
                name: None,
                took: u64::MAX,
                failed: false,
                count: 1,
            },
        };
        story.tell(event, &mut file).unwrap();
        story.end(9, &mut file).unwrap();
        file.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(text.contains(r#""name":"trace_complete""#), "{text}");
    }
}
