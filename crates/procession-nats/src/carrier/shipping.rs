//! Tasks on their way to the server: published, lost and published again, cancelled.

use std::time::Duration;

use procession::distributed::{Answer, RunningTasks};
use tokio::time::Instant;

use super::{Carrier, Done, FLYING, Out, Place, period};
use crate::audit;
use crate::faults::Fault;
use crate::post::PAUSE;
use crate::withdraw::{Shipped, withdraw};

impl Carrier {
    /// Publishes what waits, as far as there is room.
    pub(super) fn publish_queued(&mut self) {
        let is_paused = self
            .paused_until
            .is_some_and(|until| until > Instant::now());
        if is_paused || !self.is_connected {
            return;
        }
        self.paused_until = None;
        if self.puller.is_none() && self.answers.is_some() && !self.is_opening {
            self.open_again();
        }
        if self.is_in_doubt {
            // Nodes would not run it.
            return;
        }
        while self.flying < FLYING
            && let Some(id) = self.queue.pop_front()
        {
            let Some(out) = self.tasks.get_mut(&id) else {
                continue;
            };
            out.place = Place::Flying;
            out.was_sent = true;
            self.flying += 1;
            let (post, parcel) = (self.post.clone(), out.parcel.clone());
            let (epoch, attempt) = (self.epoch, out.attempt);
            self.errands.push(Box::pin(async move {
                let stored = parcel.publish(&post, attempt).await;
                Done::Published { id, epoch, stored }
            }));
        }
    }

    /// Looks now and then for tasks that the server has lost.
    pub(super) fn audit(&mut self) {
        if self.is_auditing || !self.is_connected || Instant::now() < self.audit_at {
            return;
        }
        let stored = |(id, out): (&u64, &Out)| matches!(out.place, Place::Stored(_)).then_some(*id);
        let suspects: Vec<u64> = self.tasks.iter().filter_map(stored).collect();
        if suspects.is_empty() {
            self.audit_at = Instant::now() + period(&self.post);
            return;
        }
        self.is_auditing = true;
        let post = self.post.clone();
        self.errands.push(Box::pin(async move {
            Done::Audited(post.undisturbed(audit::lost(&post, suspects)).await)
        }));
    }

    pub(super) fn cancel(&mut self, ids: Vec<u64>, running: RunningTasks) {
        let mut shipped = Vec::new();
        for id in ids {
            match self.tasks.get_mut(&id) {
                Some(out) if out.place == Place::Queued && !out.was_sent => {
                    self.finish(id, Answer::Cancelled);
                }
                Some(out) => {
                    out.is_cancelled = true;
                    let sequence = match out.place {
                        Place::Stored(sequence) => Some(sequence),
                        _ => None,
                    };
                    shipped.push(Shipped {
                        id,
                        runs_on: out.parcel.runs_on(),
                        sequence,
                    });
                }
                None => {}
            }
        }
        if !shipped.is_empty() {
            self.withdraw(shipped, running);
        }
    }

    pub(super) fn withdraw(&mut self, shipped: Vec<Shipped>, running: RunningTasks) {
        let post = self.post.clone();
        self.errands.push(Box::pin(async move {
            Done::Withdrawn(withdraw(&post, shipped, running).await)
        }));
    }

    pub(super) fn note_published(&mut self, id: u64, stored: Result<(u64, Option<String>), Fault>) {
        let Some(out) = self.tasks.get_mut(&id) else {
            return;
        };
        match stored {
            Ok((sequence, object)) => {
                out.place = Place::Stored(sequence);
                out.object = object;
                self.trouble = None;
                if out.is_cancelled {
                    let shipped = Shipped {
                        id,
                        runs_on: out.parcel.runs_on(),
                        sequence: Some(sequence),
                    };
                    self.withdraw(vec![shipped], RunningTasks::Spared);
                }
            }
            Err(Fault::Refused(why)) => {
                let text = format!(
                    "the task cannot be sent to {}: {why}",
                    self.post.address.shown
                );
                self.finish(id, Answer::Failed(text));
            }
            Err(fault) => {
                out.place = Place::Queued;
                self.queue.push_front(id);
                match fault {
                    // It goes on when nodes have taken some.
                    Fault::Full => self.paused_until = Some(Instant::now() + PAUSE),
                    Fault::NoStream => {
                        self.puller = None;
                        self.audit_at = Instant::now();
                        self.stumble(Fault::NoStream.to_string());
                    }
                    fault => self.stumble(fault.to_string()),
                }
            }
        }
    }

    /// Publishes again what the server has lost.
    pub(super) fn note_lost(&mut self, lost: Result<Vec<u64>, Fault>) {
        self.is_auditing = false;
        let Ok(lost) = lost else {
            // Answers are on their way that it may concern.
            self.audit_at = Instant::now() + Duration::from_secs(1);
            return;
        };
        self.audit_at = Instant::now() + period(&self.post);
        for id in lost {
            if let Some(out) = self.tasks.get_mut(&id) {
                out.attempt += 1;
                out.place = Place::Queued;
                self.queue.push_back(id);
            }
        }
    }
}
