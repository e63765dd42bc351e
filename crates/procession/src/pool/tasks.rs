//! The tasks of a call with many inputs, made in the caller's thread.

use std::num::NonZeroUsize;
use std::sync::Arc;

use procession_engine::pool::{AfterPut, Job, Task, TaskPolicy};
use serde_core::Serialize;

use crate::error::Result;
use crate::pool::call::{Collect, Fed, Inputs, Token};
use crate::pool::carrier::TaskFeed;
use crate::pool::terms::{Terms, payload};

/// Makes tasks of inputs, and feeds them to the pool.
pub struct Tasks<'a, I> {
    terms: Terms<'a>,
    inputs: I,
    call: Arc<dyn Collect>,
    job: Job,
    feed: TaskFeed,
    /// How many tasks were made, and how many inputs they have.
    made: usize,
    taken: usize,
}

impl<'a, I: Iterator<Item: Serialize>> Tasks<'a, I> {
    pub fn new(mut terms: Terms<'a>, job: Job, inputs: I, call: Arc<dyn Collect>) -> Result<Self> {
        terms.policy.label = terms.core.carrier.label(call.what());
        let fed = Fed {
            call: Arc::clone(&call),
            priority: terms.policy.priority,
        };
        let feed = terms.core.carrier.feed(Box::new(fed))?;
        Ok(Self {
            terms,
            inputs,
            call,
            job,
            feed,
            made: 0,
            taken: 0,
        })
    }

    /// Makes the next task; `None` when there are no more inputs. A task that cannot be made has a
    /// number, too; its token comes with the error.
    pub fn make(&mut self) -> Option<std::result::Result<Task<Token>, (Token, crate::Error)>> {
        let number = self.made;
        let what = self.call.what();
        let (inputs, count, payload) = if self.terms.chunk == 1 {
            let input = self.inputs.next()?;
            (Inputs::One, 1, payload(what, &input))
        } else {
            let chunk: Vec<I::Item> = self.inputs.by_ref().take(self.terms.chunk).collect();
            let inputs = Inputs::Chunk(NonZeroUsize::new(chunk.len())?);
            (inputs, chunk.len(), payload(what, &chunk))
        };
        self.made += 1;
        self.taken += count;
        // Made in one go where it is returned: it is large enough to be felt when it is moved.
        let token = Token::new(Arc::clone(&self.call), number, inputs);
        Some(match payload {
            Err(error) => Err((token, error)),
            Ok((payload, loans)) => Ok(Task {
                token,
                payload,
                job: Some(self.job.clone()),
                policy: TaskPolicy {
                    calls: u32::try_from(count).unwrap_or(u32::MAX),
                    ..self.terms.policy.of_task(number)
                },
                loans,
            }),
        })
    }

    /// Gives the pool a task, and leads for a round if inputs come slowly; tells whether there is
    /// room for the next task.
    pub fn put(&self, task: Task<Token>) -> Result<bool> {
        match self.feed.put(task)? {
            AfterPut::GoOn => Ok(true),
            AfterPut::KeepUp => self.feed.keep_up().map(|()| true),
            AfterPut::MakeRoom => Ok(false),
        }
    }

    /// As [`put`](Self::put), and waits for room for the next.
    pub fn put_and_wait(&self, task: Task<Token>) -> Result<()> {
        if self.put(task)? {
            return Ok(());
        }
        self.feed.make_room()
    }
}

impl<I> Tasks<'_, I> {
    /// Returns how many tasks were made.
    pub fn made(&self) -> usize {
        self.made
    }

    /// Returns how many inputs were taken.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Says that this thread has just led: it puts tasks for a round's time before it leads again.
    pub fn note_led(&self) {
        self.feed.note_led();
    }

    /// Tells whether there is room for another task, and whether there is for many.
    pub fn room(&self) -> (bool, bool) {
        (self.feed.has_room(), self.feed.is_low())
    }
}
