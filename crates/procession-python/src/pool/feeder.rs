//! Tasks made of an iterator that may block, by a thread of their own.
//!
//! The thread runs ahead of the workers by a few tasks, which the pool takes from the engine's
//! feed.

use std::sync::{Mutex, PoisonError};

use procession_engine::ErrorKind;
use procession_engine::pool::{CutOff, EmptyFeed, FedCall, Feed, Job, TaskBytes, TaskPolicy};
use procession_engine::shm::Loans;
use procession_engine::sys::wait::time::Deadline;
use pyo3::prelude::*;

use crate::blocking::{nothing_yet, waiting};
use crate::error::{to_python, value_error};
use crate::pool::arrival::Arrival;
use crate::pool::core::Core;
use crate::pool::imap::IMapIterator;
use crate::pool::sink::{Call, Deliver};
use crate::pool::source::{Inputs, task_of};

/// Asks an iterator for inputs and makes tasks of them, in a thread of Python.
#[pyclass(frozen, module = "procession._procession")]
pub struct Feeder {
    stream: Py<IMapIterator>,
    job: Job,
    policy: TaskPolicy,
    inputs: Mutex<Option<Inputs>>,
    feed: Feed<Deliver>,
}

impl Feeder {
    /// Announces to the pool that tasks will come.
    pub fn new(
        core: &Core,
        stream: Py<IMapIterator>,
        (job, policy): (Job, TaskPolicy),
        inputs: Inputs,
    ) -> procession_engine::Result<Self> {
        let fed = Fed {
            stream: Python::attach(|py| stream.clone_ref(py)),
            priority: policy.priority,
        };
        let feed = core.engine.feed(Box::new(fed), EmptyFeed::IsAwaited)?;
        Ok(Self {
            stream,
            job,
            policy,
            inputs: Mutex::new(Some(inputs)),
            feed,
        })
    }

    /// Makes the next task; false at the end of the inputs.
    fn feed(&self, py: Python<'_>, inputs: &mut Inputs) -> bool {
        let (index, chunk) = match inputs.next(py) {
            Ok(Some(found)) => found,
            Ok(None) => return self.complete(py, inputs.taken()),
            Err(error) => return self.end_with(py, inputs.taken(), error),
        };
        if let Some(count) = inputs.len_of_last(&chunk) {
            self.stream.get().set_last(index, count);
        }
        let task = || self.stream.get().name(py, index);
        match inputs.pickle((index, &chunk), task) {
            Ok(task) => {
                let calls = inputs.calls(&chunk);
                self.put(py, (index, chunk), task, calls)
            }
            Err(error) => {
                self.fail(py, index, Arrival::error(py, error));
                true
            }
        }
    }

    /// Delivers the error of an input that cannot become a task.
    fn fail(&self, py: Python<'_>, index: usize, arrival: Arrival) {
        if self.feed.skip() {
            IMapIterator::arrive(self.stream.bind(py), index, arrival);
        }
    }

    /// Feeds the pool a task when there is room; false when the pool takes no more.
    fn put<'py>(
        &self,
        py: Python<'py>,
        (index, chunk): (usize, Bound<'py, PyAny>),
        bytes: (TaskBytes, Loans),
        calls: u32,
    ) -> bool {
        let has_room = match self.feed.has_room() {
            true => Ok(Some(())),
            false => waiting(py, Deadline::NEVER, |until| {
                let has_room = self.feed.wait_for_room(until)?;
                has_room.then_some(()).ok_or_else(nothing_yet)
            }),
        };
        if let Err(error) = has_room {
            return self.end_with(py, index, error);
        }
        let call = Call::Stream(self.stream.clone_ref(py));
        let policy = TaskPolicy {
            calls,
            ..self.policy.of_task(index)
        };
        let task = task_of(call, (index, chunk), bytes, &self.job, policy);
        match self.feed.put(task) {
            // It waits without leading: results are delivered in the background.
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::Closed => false,
            // The pool has the task, and nobody to deliver what comes of it.
            Err(error) => self.end_with(py, index + 1, to_python(error)),
        }
    }

    /// Ends the results with an error at `index`. Always returns false: there are no more tasks.
    fn end_with(&self, py: Python<'_>, index: usize, error: PyErr) -> bool {
        let arrival = Arrival {
            of_task: false,
            ..Arrival::error(py, error)
        };
        self.fail(py, index, arrival);
        self.complete(py, index + 1)
    }

    /// Says how many tasks there are. Always returns false: there are no more.
    fn complete(&self, py: Python<'_>, count: usize) -> bool {
        if self.feed.complete() {
            IMapIterator::set_length(self.stream.bind(py), count);
        }
        false
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
        // If its thread was never started, there are no inputs to wait for.
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
        while self.feed(py, &mut inputs) {}
        Ok(())
    }
}

/// The iterator of results, as the feed of its tasks has it.
struct Fed {
    stream: Py<IMapIterator>,
    priority: i32,
}

impl FedCall for Fed {
    fn is_full(&self, tasks: usize) -> bool {
        self.stream.get().is_full(tasks)
    }

    fn priority(&self) -> i32 {
        self.priority
    }

    fn is_cancelled(&self) -> bool {
        self.stream.get().is_cancelled()
    }

    fn cut_off(&self, tasks: usize, why: CutOff<'_>) {
        Python::try_attach(|py| {
            let stream = self.stream.bind(py);
            let arrival = match why {
                CutOff::Cancelled => Arrival::cancelled(py, &stream.get().name(py, tasks)),
                CutOff::Ended(end) => Arrival::ended(py, end),
            };
            IMapIterator::cut_off(stream, tasks, arrival);
        });
    }
}
