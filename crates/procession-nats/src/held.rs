//! The tasks that a node holds.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::Subject;
use async_nats::jetstream::Message;
use bytes::Bytes;
use procession::distributed::TaskEnvelope;

use crate::memory::TaskKey;
use crate::window::Begun;
use crate::wire::{self, Part, TaskHead};

/// A task that the server has delivered.
pub struct Held {
    /// Whose it is.
    pub task: TaskKey,
    /// After which silence of its client it is not run any more.
    pub client_lease: Duration,
    /// How far it is.
    pub phase: Phase,
    /// The message, to publish it again.
    pub message: Bytes,
    /// On which subject it came.
    pub subject: Subject,
    /// Its place in the stream.
    pub sequence: u64,
    /// Whether the server has delivered it before.
    pub is_second: bool,
    /// Where it is acknowledged.
    pub reply: Subject,
    /// Where other messages are acknowledged that have the same task.
    pub others: Vec<Subject>,
    /// How many nodes were lost that had it.
    pub losses: u32,
    /// The task, without its bytes.
    pub envelope: TaskEnvelope,
    /// Its job, and where that is.
    pub job: (Part, Option<Bytes>),
    /// Its arguments, and where these are.
    pub input: (Part, Option<Bytes>),
    /// When the workers got it.
    pub begun: Option<Begun>,
    /// Whether its client has cancelled it.
    pub is_cancelled: bool,
}

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its client was not heard yet.
    Waiting,
    /// Other nodes are asked whether they hold it.
    Asking,
    /// Its bytes are fetched from the object store.
    Fetching,
    /// Workers have it.
    Running,
    /// Its answer is published.
    Answering,
    /// The task itself is published once more.
    Returning,
}

impl Phase {
    /// Tells whether all is done here but to tell the server.
    pub fn is_leaving(self) -> bool {
        matches!(self, Self::Answering | Self::Returning)
    }
}

/// A message, by its client, the id there, and its place in the stream.
pub type MessageKey = (String, u64, u64);

impl Held {
    /// Notes where it is acknowledged besides, or from now on.
    pub fn adopt(&mut self, sequence: u64, reply: Subject) {
        if sequence == self.sequence {
            self.reply = reply;
        } else {
            self.others.push(reply);
        }
    }

    /// Returns all places where it is acknowledged.
    pub fn replies(&self) -> impl Iterator<Item = &Subject> {
        self.others.iter().chain([&self.reply])
    }

    /// Returns which message it came in.
    pub fn message_key(&self) -> MessageKey {
        (self.task.0.clone(), self.task.1, self.sequence)
    }

    /// Reads a message.
    pub fn read(message: &Message) -> Result<Self, String> {
        let info = message.info().map_err(|error| error.to_string())?;
        let reply = message.reply.clone().ok_or("a message without a reply")?;
        let (head, mut rest): (TaskHead, Bytes) = wire::read(&message.payload)?;
        let job = wire::cut(&head.job, &mut rest)?;
        let input = wire::cut(&head.input, &mut rest)?;
        Ok(Self {
            task: (head.client, head.envelope.id),
            client_lease: head.lease,
            phase: Phase::Fetching,
            message: message.payload.clone(),
            subject: message.subject.clone(),
            sequence: info.stream_sequence,
            is_second: info.delivered > 1,
            reply,
            others: Vec::new(),
            losses: wire::losses(message.headers.as_ref()),
            envelope: head.envelope,
            job: (head.job, job),
            input: (head.input, input),
            begun: None,
            is_cancelled: false,
        })
    }
}

/// All tasks that a node holds, by a number of its own.
#[derive(Default)]
pub struct Holdings {
    by_key: HashMap<u64, Held>,
    by_task: HashMap<TaskKey, u64>,
    next: u64,
    /// How many are not leaving.
    active: usize,
}

impl Holdings {
    /// Takes one in.
    pub fn add(&mut self, held: Held) -> u64 {
        self.next += 1;
        self.by_task.insert(held.task.clone(), self.next);
        self.by_key.insert(self.next, held);
        self.active += 1;
        self.next
    }

    /// Returns the number of a task.
    pub fn find(&self, task: &TaskKey) -> Option<u64> {
        self.by_task.get(task).copied()
    }

    /// Returns one.
    pub fn get_mut(&mut self, key: u64) -> Option<&mut Held> {
        self.by_key.get_mut(&key)
    }

    /// Notes that it leaves in this way, and returns it; `None` if it leaves already.
    pub fn leave(&mut self, key: u64, phase: Phase) -> Option<&Held> {
        let held = self.by_key.get_mut(&key)?;
        if held.phase.is_leaving() {
            return None;
        }
        held.phase = phase;
        self.active -= 1;
        Some(held)
    }

    /// Lets go of one.
    pub fn remove(&mut self, key: u64) -> Option<Held> {
        let held = self.by_key.remove(&key)?;
        // It can be back already.
        if self.by_task.get(&held.task) == Some(&key) {
            self.by_task.remove(&held.task);
        }
        if !held.phase.is_leaving() {
            self.active -= 1;
        }
        Some(held)
    }

    /// How many are not leaving.
    pub fn active(&self) -> usize {
        self.active
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// All of them, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Held)> {
        self.by_key.iter().map(|(key, held)| (*key, held))
    }
}
