//! The pool's side of one worker: its lane, its process, and what it was given.

use std::collections::VecDeque;
use std::time::Duration;

use crate::arena::member::Stage;
use crate::arena::{Block, Loans, Stamp};
use crate::pool::lane::{Lane, claim_result};
use crate::pool::outcome::Outbox;
use crate::pool::pace::Pace;
use crate::pool::record::{Content, Kind, Place, read_reply, write_task};
use crate::pool::ring::Ring;
use crate::pool::starter::WorkerProcess;
use crate::pool::task::{Job, Payload, Terms};
use crate::primitive::Ordering;
use crate::process::child::KILL;

/// Bytes of blocks above which a worker is given no more than [`FEW`] tasks,
/// however short they are: enough that copying them takes longer than asking
/// for the next.
const MUCH: u64 = 8 << 20;

/// How many tasks a worker has at hand when they are large.
const FEW: u32 = 2;

/// A task on its way, with its place in line.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    pub number: u64,
    pub token: T,
    pub payload: Payload,
    pub job: Option<Job>,
    pub terms: Terms,
    pub loans: Loans,
    /// How many workers have died in it.
    pub deaths: u32,
}

/// A task that was posted to a worker.
#[derive(Debug)]
struct Posted<T> {
    number: u64,
    token: T,
    job: Option<Job>,
    /// Where its record begins, what is skipped before it included.
    start: u64,
    place: Place,
    /// The block it is in.
    block: Option<Block>,
    terms: Terms,
    loans: Loans,
    deaths: u32,
}

/// A task that its worker took with it.
#[derive(Debug)]
pub(super) struct Lost<T> {
    pub token: T,
    pub terms: Terms,
    /// How many workers have died in it, this one included.
    pub deaths: u32,
    /// Why it was killed, if it was us.
    pub doom: Option<Doom>,
}

/// Why a running task is killed with its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doom {
    /// It has taken longer than this.
    TimedOut(Duration),
    /// Its owner does not want it any more.
    Cancelled,
}

/// How far a worker's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It has not announced itself yet.
    Starting,
    /// It takes tasks.
    Ready,
    /// It gets no more tasks and ends when it has done those it has.
    Retiring,
}

/// What was learnt by reading a worker's results.
#[derive(Debug, Default)]
pub(super) struct News {
    /// How many tasks were done.
    pub done: usize,
    /// How many of them had a time to be done in.
    pub timed: usize,
    /// The worker has announced itself.
    pub ready: bool,
    /// The worker could not set itself up.
    pub failed: Option<Vec<u8>>,
}

/// One worker.
pub(super) struct Seat<T> {
    /// Names the seat in the set of descriptors.
    pub key: u64,
    pub lane: Lane,
    tasks: Ring,
    results: Ring,
    pub process: Box<dyn WorkerProcess>,
    pub life: Life,
    /// How many more tasks it may be given; `None` for any number.
    pub tasks_left: Option<u32>,
    /// It has not moved while others were idle: queue nothing on it.
    pub slow: bool,
    /// Its ring had no room for the last task; cleared when it replies.
    pub full: bool,
    /// When it was last given something, for choosing the warmest.
    pub last_used: u64,
    /// What `taken` was when the pool went to sleep.
    pub taken_then: u32,
    posted: VecDeque<Posted<T>>,
    /// Bytes of the blocks of all of them.
    bytes: u64,
    /// Its only task is killed, whatever it has still to say.
    doom: Option<Doom>,
    /// Records written and not yet posted.
    unposted: u32,
    position: u64,
    head: u64,
    /// How many results have arrived.
    pub done: u64,
}

impl<T> Seat<T> {
    pub(super) fn new(
        key: u64,
        lane: Lane,
        process: Box<dyn WorkerProcess>,
        tasks_left: Option<u32>,
    ) -> Self {
        Self {
            tasks: lane.tasks(),
            results: lane.results(),
            key,
            lane,
            process,
            life: Life::Starting,
            tasks_left,
            slow: false,
            full: false,
            last_used: 0,
            taken_then: 0,
            posted: VecDeque::new(),
            bytes: 0,
            doom: None,
            unposted: 0,
            position: 0,
            head: 0,
            done: 0,
        }
    }

    /// Returns how many tasks it has, the running one included.
    pub(super) fn load(&self) -> u32 {
        self.posted.len() as u32
    }

    /// Returns how many tasks it may have in all.
    pub(super) fn most(&self, pace: Pace) -> u32 {
        if self.full {
            return 0;
        }
        let most = match self.life {
            Life::Retiring => return 0,
            Life::Starting => 1,
            Life::Ready if self.slow => 1,
            Life::Ready if self.bytes > MUCH => FEW,
            Life::Ready => pace.at_hand(),
        };
        self.tasks_left
            .map_or(most, |left| most.min(self.load() + left))
    }

    /// Tells whether the worker waits for a task.
    pub(super) fn is_idle(&self) -> bool {
        self.posted.is_empty() && self.life == Life::Ready
    }

    /// Returns how many tasks were started.
    pub(super) fn taken(&self) -> u32 {
        self.lane.window.counts().taken
    }

    /// Returns how many tasks were given to it and not started.
    pub(super) fn queued(&self) -> u32 {
        self.lane.window.counts().queued()
    }

    /// Tells whether any task was started here. Once the worker is dead: it has
    /// cost a task, or done one.
    pub(super) fn took_any(&self) -> bool {
        self.taken() > 0
    }

    /// Tells whether there are results to read.
    pub(super) fn has_news(&self) -> bool {
        self.lane.replies.tail() != self.head
    }

    /// Writes a task into the ring; gives it back if there is no room.
    pub(super) fn write(&mut self, task: Waiting<T>) -> Result<(), Waiting<T>> {
        let start = self.position;
        // Space is free up to where the oldest task's record begins.
        let oldest = self.posted.front().map_or(start, |posted| posted.start);
        let limit = oldest + self.tasks.capacity();
        let job = task.job.as_ref().map(Job::name);
        let written = match &task.payload {
            Payload::Inline(bytes) => {
                write_task(self.tasks, start, limit, job, Content::Inline(&[bytes]))
            }
            Payload::Block(block, len) => {
                let content = match task.terms.retries {
                    0 => Content::Block(block.offset(), *len),
                    _ => Content::Kept(block.offset(), *len),
                };
                write_task(self.tasks, start, limit, job, content)
            }
        };
        let Some((place, end)) = written else {
            self.full = true;
            return Err(task);
        };
        self.position = end;
        self.unposted += 1;
        if let Some(left) = &mut self.tasks_left {
            *left -= 1;
        }
        if place.in_block {
            self.bytes += place.len;
        }
        self.posted.push_back(Posted {
            number: task.number,
            token: task.token,
            job: task.job,
            start,
            place,
            block: match task.payload {
                Payload::Inline(_) => None,
                Payload::Block(block, _) => Some(block),
            },
            terms: task.terms,
            loans: task.loans,
            deaths: task.deaths,
        });
        Ok(())
    }

    /// Makes what was written the worker's to take.
    pub(super) fn post(&mut self, pace: Pace) {
        if self.unposted == 0 {
            return;
        }
        let low = pace.at_hand() / 4;
        self.lane.low.store(low, Ordering::Relaxed);
        self.lane.window.post(self.unposted);
        self.unposted = 0;
    }

    /// Says that no more tasks will come.
    pub(super) fn retire(&mut self) {
        if self.life != Life::Retiring {
            self.life = Life::Retiring;
            self.lane.window.close();
        }
    }

    /// Reads the results that have arrived, a ring's worth at the most.
    pub(super) fn read(&mut self, outbox: &mut Outbox<T>, pace: &mut Pace) -> News {
        let mut news = News::default();
        let tail = self.lane.replies.tail();
        if tail == self.head {
            return news;
        }
        let family = self.lane.family();
        let worker = self.process.stamp();
        if tail.wrapping_sub(self.head) > self.results.capacity() {
            self.give_up_on(tail);
        }
        while self.head < tail {
            let Ok((record, next)) = read_reply(self.results, self.head) else {
                self.give_up_on(tail);
                break;
            };
            let place = record.place;
            let claim = || claim_result(place, worker, family.me());
            match record.kind {
                Kind::Ready => {
                    news.ready = true;
                    if self.life == Life::Starting {
                        self.life = Life::Ready;
                    }
                }
                Kind::Failed => {
                    let len = place.len as usize;
                    news.failed = Some(match place.in_block.then(claim) {
                        None => self.results.bytes(place.at, place.len).to_vec(),
                        Some(Ok(block)) => block[..len].to_vec(),
                        Some(Err(error)) => error.to_string().into_bytes(),
                    });
                }
                Kind::Reply(code) => {
                    news.done += 1;
                    pace.learn(record.elapsed);
                    let Some(posted) = self.posted.pop_front() else {
                        news.done -= 1;
                        self.give_up_on(tail);
                        break;
                    };
                    if posted.place.in_block {
                        self.bytes -= posted.place.len;
                    }
                    if record.claimed {
                        posted.block.map(Block::leak);
                    }
                    news.timed += usize::from(posted.terms.timeout.is_some());
                    let token = posted.token;
                    if let Some(doom) = self.doom {
                        // Too late; its block, if it has one, is freed.
                        let _block = place.in_block.then(claim);
                        outbox.doomed(token, doom, self.process.pid());
                    } else if place.in_block {
                        match claim() {
                            Ok(block) => {
                                let len = place.len as usize;
                                outbox.block(token, code, record.elapsed, block, len);
                            }
                            Err(error) => outbox.lost(token, error),
                        }
                    } else {
                        let bytes = self.results.bytes(place.at, place.len);
                        outbox.inline(token, code, record.elapsed, bytes);
                    }
                }
            }
            self.head = next;
        }
        self.done += news.done as u64;
        if news.done > 0 {
            self.slow = false;
            self.full = false;
        }
        self.lane.replies.read_up_to(self.head);
        news
    }

    /// Ends a worker that has written what it should not: its task is reported
    /// as lost with it.
    fn give_up_on(&mut self, tail: u64) {
        self.head = tail;
        // It may have ended by itself.
        let _ = self.process.signal(KILL);
    }

    /// Takes back what was given to the worker and not started, in order.
    pub(super) fn take_back(&mut self) -> Vec<Waiting<T>> {
        let count = self.lane.window.take_back(u32::MAX) as usize;
        let keep = self.posted.len() - count;
        if let Some(first) = self.posted.get(keep) {
            self.position = first.start;
        }
        if let Some(left) = &mut self.tasks_left {
            *left += count as u32;
        }
        let back = self.posted.split_off(keep);
        let blocks = back.iter().filter(|posted| posted.place.in_block);
        self.bytes -= blocks.map(|posted| posted.place.len).sum::<u64>();
        back.into_iter()
            .map(|posted| waiting(posted, self.tasks))
            .collect()
    }

    /// Returns how much longer its running task may go on; all of its time, if
    /// the task has yet to begin. `None` without a limit.
    pub(super) fn time_left(&self, now: u64) -> Option<Duration> {
        let limit = self.posted.front()?.terms.timeout?;
        if self.doom.is_some() {
            return None;
        }
        let elapsed = self.lane.since.elapsed(self.done + 1, now);
        Some(limit.saturating_sub(elapsed.unwrap_or_default()))
    }

    /// Returns the limit of the running task, if it has taken longer.
    pub(super) fn overdue(&self, now: u64) -> Option<Duration> {
        let limit = self.posted.front()?.terms.timeout?;
        let elapsed = self.lane.since.elapsed(self.done + 1, now)?;
        (self.doom.is_none() && elapsed >= limit).then_some(limit)
    }

    /// Returns the tasks that it has.
    pub(super) fn tokens(&self) -> impl Iterator<Item = &T> {
        self.posted.iter().map(|posted| &posted.token)
    }

    /// Tells whether the task that it runs is one of those that `which` picks.
    /// What has come from the worker must have been read.
    pub(super) fn runs(&self, which: &dyn Fn(&T) -> bool) -> bool {
        let running = self.taken() != self.done as u32;
        let first = self.posted.front();
        running && first.is_some_and(|posted| which(&posted.token))
    }

    /// Kills the worker because of the task that it runs, unless that has just
    /// been done; returns what was queued behind it. What has come from the
    /// worker must have been read.
    pub(super) fn condemn(&mut self, why: Doom) -> Vec<Waiting<T>> {
        // First of all: nothing else can begin from here on.
        let back = self.take_back();
        if self.doom.is_none() && self.posted.len() == 1 && !self.has_news() {
            self.doom = Some(why);
            self.life = Life::Retiring;
            // One that is dead already is as good.
            let _ = self.process.signal(KILL);
        }
        back
    }

    /// Tells whether the worker was killed because of its task.
    pub(super) fn is_doomed(&self) -> bool {
        self.doom.is_some()
    }

    /// After the worker's death, before its burial: settles whose the running
    /// task's block is, and gives back what is to be run: what was never
    /// started, and what may be tried again.
    pub(super) fn salvage(&mut self) -> (Vec<Lost<T>>, Vec<Waiting<T>>) {
        let started = self.taken().wrapping_sub(self.done as u32) as usize;
        let claim = self.lane.claim.load(Ordering::Acquire);
        let number = self.done + 1;
        let unstarted = self.posted.split_off(started.min(self.posted.len()));
        let mut lost = Vec::new();
        let mut back = Vec::new();
        for mut posted in std::mem::take(&mut self.posted) {
            posted.deaths += 1;
            if self.doom.is_none() && posted.deaths <= posted.terms.retries {
                back.push(waiting(posted, self.tasks));
                continue;
            }
            if let Some(block) = posted.block
                && claim / 2 == number
                && !(claim.is_multiple_of(2)
                    && is_still_ours(&block, &self.lane, self.process.stamp()))
            {
                let _ = block.leak();
            }
            lost.push(Lost {
                token: posted.token,
                terms: posted.terms,
                deaths: posted.deaths,
                doom: self.doom,
            });
        }
        let unstarted = unstarted.into_iter();
        back.extend(unstarted.map(|posted| waiting(posted, self.tasks)));
        (lost, back)
    }
}

/// Tells whether a block that a dead worker was about to claim is ours. The
/// answer counts only while nobody has buried it, see `README.md`.
fn is_still_ours(block: &Block, lane: &Lane, worker: Stamp) -> bool {
    let family = lane.family();
    let me = family.me();
    let ours = family.change_owner(block.offset(), me, me).is_ok();
    ours && family.member(worker).stage() == Stage::Alive
}

/// Makes a posted task one that waits again: its bytes are still in the ring.
fn waiting<T>(posted: Posted<T>, ring: Ring) -> Waiting<T> {
    let payload = match posted.block {
        Some(block) => Payload::Block(block, posted.place.len),
        None => Payload::Inline(ring.bytes(posted.place.at, posted.place.len).into()),
    };
    Waiting {
        number: posted.number,
        token: posted.token,
        payload,
        job: posted.job,
        terms: posted.terms,
        loans: posted.loans,
        deaths: posted.deaths,
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
