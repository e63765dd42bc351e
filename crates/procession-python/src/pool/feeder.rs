//! Tasks made of an iterator that may block: a thread of its own asks it.
//!
//! The thread runs ahead of the workers by a few tasks, kept in a buffer from
//! which the pool takes them. When the buffer is empty the pool goes on without,
//! until the thread has more.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use procession_engine::pool::{Job, PoolEnd, Source, SourceStatus, Task, TaskBytes, TaskPolicy};
use procession_engine::shm::Loans;
use procession_engine::sys::wait::time::Deadline;
use pyo3::prelude::*;

use crate::error::value_error;
use crate::pool::arrival::Arrival;
use crate::pool::core::Core;
use crate::pool::driver::Driver as _;
use crate::pool::imap::IMapIterator;
use crate::pool::message;
use crate::pool::signal::Signal;
use crate::pool::sink::{Call, Token};
use crate::pool::source::Inputs;

/// How many tasks wait in the buffer at the most.
const AHEAD: usize = 64;

/// How many bytes of tasks do, the last one not counted.
const AHEAD_BYTES: usize = 1 << 20;

/// Asks an iterator for inputs and makes tasks of them, in a thread of Python.
#[pyclass(frozen, module = "procession._procession")]
pub struct Feeder {
    core: Arc<Core>,
    stream: Py<IMapIterator>,
    job: Job,
    policy: TaskPolicy,
    inputs: Mutex<Option<Inputs>>,
    shared: Arc<FeederState>,
}

#[derive(Default)]
struct FeederState {
    buffer: Mutex<Buffer>,
    /// Tells the thread that there is room.
    room: Signal,
}

#[derive(Default)]
struct Buffer {
    tasks: VecDeque<Task<Token>>,
    bytes: usize,
    /// How many inputs were taken from the iterator.
    made: usize,
    /// The iterator has ended.
    complete: bool,
    /// The pool found the buffer empty.
    paused: bool,
    /// The pool has ended.
    ended: bool,
}

impl FeederState {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feeder {
    /// Announces to the pool that tasks will come.
    pub fn new(
        core: Arc<Core>,
        stream: Py<IMapIterator>,
        (job, policy): (Job, TaskPolicy),
        inputs: Inputs,
    ) -> procession_engine::Result<Self> {
        let shared = Arc::new(FeederState::default());
        core.engine.submit_source(Box::new(Fed {
            shared: Arc::clone(&shared),
            stream: Python::attach(|py| stream.clone_ref(py)),
            priority: policy.priority,
        }))?;
        Ok(Self {
            core,
            stream,
            job,
            policy,
            inputs: Mutex::new(Some(inputs)),
            shared,
        })
    }

    /// Makes the next task; false at the end of the inputs.
    fn feed(&self, py: Python<'_>, inputs: &mut Inputs) -> PyResult<bool> {
        let failed = |index, of_task, error| {
            let arrival = Arrival {
                of_task,
                ..Arrival::error(py, error)
            };
            let mut buffer = self.shared.lock();
            buffer.made = index + 1;
            if !buffer.ended {
                drop(buffer);
                IMapIterator::arrive(self.stream.bind(py), index, arrival);
            }
        };
        let (index, chunk) = match inputs.next(py) {
            Ok(Some(found)) => found,
            Ok(None) => return self.complete(py, inputs.taken()),
            Err(error) => {
                failed(inputs.taken(), false, error);
                return self.complete(py, inputs.taken() + 1);
            }
        };
        if let Some(count) = inputs.len_of_last(&chunk) {
            self.stream.get().set_last(index, count);
        }
        let task = || self.stream.get().name(py, index);
        match inputs.pickle((index, &chunk), task) {
            Ok(task) => self.put(py, (index, chunk), task),
            Err(error) => {
                failed(index, true, error);
                Ok(true)
            }
        }
    }

    /// Puts a task into the buffer when there is room; false when the pool has ended.
    fn put<'py>(
        &self,
        py: Python<'py>,
        (index, chunk): (usize, Bound<'py, PyAny>),
        (payload, loans): (TaskBytes, Loans),
    ) -> PyResult<bool> {
        let has_room = || {
            let buffer = self.shared.lock();
            buffer.ended || buffer.tasks.len() < AHEAD && buffer.bytes < AHEAD_BYTES
        };
        if !has_room() {
            self.shared.room.wait(py, &has_room, Deadline::NEVER)?;
        }
        let mut buffer = self.shared.lock();
        if buffer.ended {
            return Ok(false);
        }
        buffer.made = index + 1;
        buffer.bytes += message::length(&payload);
        buffer.tasks.push_back(Task {
            token: Token {
                call: Call::Stream(self.stream.clone_ref(py)),
                index,
                input: (self.policy.retries > 0).then(|| chunk.unbind()),
            },
            payload,
            job: Some(self.job.clone()),
            policy: self.policy,
            loans,
        });
        self.resume(buffer)?;
        Ok(true)
    }

    fn complete(&self, py: Python<'_>, count: usize) -> PyResult<bool> {
        let mut buffer = self.shared.lock();
        buffer.complete = true;
        let ended = buffer.ended;
        self.resume(buffer)?;
        if !ended {
            IMapIterator::set_length(self.stream.bind(py), count);
        }
        Ok(false)
    }

    /// Has the pool look into the buffer again, if it went on without.
    fn resume(&self, mut buffer: MutexGuard<'_, Buffer>) -> PyResult<()> {
        if !std::mem::take(&mut buffer.paused) {
            return Ok(());
        }
        drop(buffer);
        self.core.resume()
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        let inputs = self
            .inputs
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if inputs.take().is_none() {
            return;
        }
        // Its thread was never started: there are no inputs to wait for.
        let _ = Python::try_attach(|py| self.complete(py, 0));
    }
}

#[pymethods]
impl Feeder {
    /// Feeds the pool until the inputs or the pool have ended.
    fn run(&self, py: Python<'_>) -> PyResult<()> {
        let inputs = self
            .inputs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let mut inputs = inputs.ok_or_else(|| {
            value_error("this feeder has run already: a feeder runs once, make another")
        })?;
        while self.feed(py, &mut inputs)? {}
        Ok(())
    }
}

/// The buffer as the pool sees it.
struct Fed {
    shared: Arc<FeederState>,
    stream: Py<IMapIterator>,
    priority: i32,
}

impl Source<Token> for Fed {
    fn fill(&mut self, tasks: &mut Vec<Task<Token>>, most: usize) -> SourceStatus {
        if self.stream.get().is_full() {
            return SourceStatus::Later;
        }
        let mut buffer = self.shared.lock();
        let count = most.min(buffer.tasks.len());
        tasks.extend(buffer.tasks.drain(..count));
        buffer.bytes = buffer
            .tasks
            .iter()
            .map(|task| message::length(&task.payload))
            .sum();
        let supply = match (buffer.tasks.is_empty(), buffer.complete) {
            (true, true) => SourceStatus::Done,
            (true, false) => {
                buffer.paused = true;
                SourceStatus::Later
            }
            (false, _) => SourceStatus::More,
        };
        drop(buffer);
        if count > 0 {
            self.shared.room.notify();
        }
        supply
    }

    fn priority(&self) -> i32 {
        self.priority
    }

    fn is_cancelled(&self) -> bool {
        self.stream.get().is_cancelled()
    }

    fn cancel(self: Box<Self>) {
        self.stop(|py, call, index| Arrival::cancelled(py, &call.name(py, index)));
    }

    fn end(self: Box<Self>, end: &PoolEnd) {
        self.stop(|py, _, _| Arrival::ended(py, end));
    }
}

impl Fed {
    /// Has the thread end, and says what becomes of the tasks in the buffer and of the
    /// inputs that are left.
    fn stop(&self, arrival: impl Fn(Python<'_>, &Call, usize) -> Arrival) {
        let mut buffer = self.shared.lock();
        buffer.ended = true;
        let tasks = std::mem::take(&mut buffer.tasks);
        let (complete, made) = (buffer.complete, buffer.made);
        drop(buffer);
        self.shared.room.notify();
        Python::try_attach(|py| {
            for Task { token, .. } in tasks {
                let arrival = arrival(py, &token.call, token.index);
                token.call.arrive(py, token.index, arrival);
            }
            if !complete {
                let call = Call::Stream(self.stream.clone_ref(py));
                IMapIterator::cut_off(self.stream.bind(py), made, arrival(py, &call, made));
            }
        });
    }
}
