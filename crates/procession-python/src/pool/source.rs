//! Tasks made of inputs that are at hand, as workers need them.

use procession_engine::pool::{Job, PoolEnd, Source, SourceStatus, Task, TaskBytes, TaskPolicy};
use procession_engine::shm::Loans;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList, PyRange, PySlice, PyTuple};

use crate::by_value::Reader;
use crate::once::PyOnce;
use crate::pool::arrival::Arrival;
use crate::pool::callback::uninterrupted;
use crate::pool::imap::IMapIterator;
use crate::pool::message;
use crate::pool::result::ApplyResult;
use crate::pool::sink::{Call, Token};

/// Bytes of tasks that one poll makes at the most: the worker that gets the first task waits while
/// the others are made.
const AT_ONCE: usize = 32 * 1024;

/// Inputs in chunks, each of which becomes a task of one job.
pub struct Inputs {
    origin: Origin,
    /// How many inputs make a chunk; with 1 they are not chunked.
    chunk: usize,
    next: usize,
    /// The reader of their pickles.
    reader: Reader,
}

enum Origin {
    Iterator(Py<PyIterator>),
    /// A list, tuple or range, of which slices are taken: that of a range is as small
    /// as a range.
    Sequence(Py<PyAny>),
}

impl Inputs {
    /// Takes inputs one by one, or in chunks of `chunk`.
    pub fn new(iterator: Bound<'_, PyIterator>, chunk: usize, reader: Reader) -> PyResult<Self> {
        if chunk > 1 {
            // Imported where that may fail.
            islice(iterator.py())?;
        }
        Ok(Self {
            origin: Origin::Iterator(iterator.unbind()),
            chunk,
            next: 0,
            reader,
        })
    }

    /// Takes the items of a sequence one by one, or in chunks of `chunk`.
    pub fn of(items: &Bound<'_, PyAny>, chunk: usize, reader: Reader) -> PyResult<Self> {
        let can_be_sliced = items.is_exact_instance_of::<PyList>()
            || items.is_exact_instance_of::<PyTuple>()
            || items.is_exact_instance_of::<PyRange>();
        if chunk <= 1 || !can_be_sliced {
            return Self::new(items.try_iter()?, chunk, reader);
        }
        Ok(Self {
            origin: Origin::Sequence(items.clone().unbind()),
            chunk,
            next: 0,
            reader,
        })
    }

    /// Returns the place of the next chunk, and the chunk.
    pub fn next<'py>(&mut self, py: Python<'py>) -> PyResult<Option<(usize, Bound<'py, PyAny>)>> {
        let chunk = match &self.origin {
            Origin::Iterator(iterator) if self.chunk <= 1 => {
                iterator.bind(py).clone().next().transpose()?
            }
            Origin::Iterator(iterator) => {
                let chunk = islice(py)?.call1((iterator, self.chunk))?;
                Some(py.get_type::<PyTuple>().call1((chunk,))?)
            }
            Origin::Sequence(items) => {
                let start = self.next * self.chunk;
                let end = start + self.chunk;
                let slice = PySlice::new(py, start.cast_signed(), end.cast_signed(), 1);
                Some(items.bind(py).get_item(slice)?)
            }
        };
        if self.chunk > 1
            && let Some(chunk) = &chunk
            && chunk.len()? == 0
        {
            return Ok(None);
        }
        Ok(chunk.map(|chunk| {
            self.next += 1;
            (self.next - 1, chunk)
        }))
    }

    /// Pickles a chunk for its reader; `name` returns the task's name.
    pub fn pickle(
        &self,
        (index, chunk): (usize, &Bound<'_, PyAny>),
        name: impl FnOnce() -> String,
    ) -> PyResult<(TaskBytes, Loans)> {
        message::input(chunk, self.place(index), self.reader, name)
    }

    /// Returns the place of a chunk's first input among all inputs, and whether it is a
    /// sequence of inputs.
    fn place(&self, index: usize) -> (usize, bool) {
        (index * self.chunk.max(1), self.chunk > 1)
    }

    /// Returns how many calls a chunk becomes.
    pub fn calls(&self, chunk: &Bound<'_, PyAny>) -> u32 {
        let calls = match self.chunk {
            0 | 1 => Some(1),
            // A tuple or a slice of what has a length.
            _ => chunk.len().ok(),
        };
        calls.and_then(|calls| calls.try_into().ok()).unwrap_or(1)
    }

    /// Returns how many inputs a chunk has, if it has fewer than the others.
    pub fn len_of_last(&self, chunk: &Bound<'_, PyAny>) -> Option<usize> {
        if self.chunk <= 1 {
            return None;
        }
        // A tuple or a slice of what has a length.
        chunk.len().ok().filter(|&len| len < self.chunk)
    }

    /// Returns how many chunks were taken.
    pub fn taken(&self) -> usize {
        self.next
    }
}

fn islice(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static ISLICE: PyOnce<PyAny> = PyOnce::new();
    ISLICE.import(py, "itertools", "islice")
}

/// Returns the task of a call that is made of the chunk at a place, which was pickled into `bytes`.
pub fn task_of(
    call: Call,
    (index, chunk): (usize, Bound<'_, PyAny>),
    (payload, loans): (TaskBytes, Loans),
    job: &Job,
    policy: TaskPolicy,
) -> Task<Token> {
    Task {
        token: Token {
            call,
            index,
            input: (policy.retries > 0).then(|| chunk.unbind()),
        },
        payload,
        job: Some(job.clone()),
        policy,
        loans,
    }
}

/// Makes the tasks of a `map`, or of an `imap` over inputs that cannot block.
pub struct Items {
    pub call: Call,
    pub job: Job,
    pub policy: TaskPolicy,
    pub inputs: Inputs,
    /// How many chunks there are, where that is known.
    pub total: Option<usize>,
}

impl Items {
    /// Appends the next task, unless it fails before it is one; false at the end.
    fn make(&mut self, py: Python<'_>, tasks: &mut Vec<Task<Token>>) -> bool {
        let (index, chunk) = match self.inputs.next(py) {
            Ok(Some(found)) => found,
            Ok(None) => {
                self.finish(py, self.inputs.taken());
                return false;
            }
            Err(error) => {
                let index = self.inputs.taken();
                let arrival = Arrival {
                    of_task: false,
                    ..Arrival::error(py, error)
                };
                self.call.arrive(py, index, arrival);
                self.finish(py, index + 1);
                return false;
            }
        };
        if let Call::Stream(stream) = &self.call
            && let Some(count) = self.inputs.len_of_last(&chunk)
        {
            stream.get().set_last(index, count);
        }
        let calls = self.inputs.calls(&chunk);
        let task = || self.call.name(py, index);
        match uninterrupted(py, || self.inputs.pickle((index, &chunk), task)) {
            Ok(bytes) => {
                let call = self.call.clone_ref(py);
                let policy = TaskPolicy {
                    calls,
                    ..self.policy.of_task(index)
                };
                tasks.push(task_of(call, (index, chunk), bytes, &self.job, policy));
            }
            Err(error) => self.call.arrive(py, index, Arrival::error(py, error)),
        }
        // If it is known to be the last, the iterator need not be asked once more.
        self.total != Some(index + 1)
    }

    fn finish(&self, py: Python<'_>, count: usize) {
        if let Call::Stream(stream) = &self.call {
            IMapIterator::set_length(stream.bind(py), count);
        }
    }

    /// Delivers to the call why no more tasks will be made.
    fn forsake(&self, py: Python<'_>, arrival: Arrival) {
        let taken = self.inputs.taken();
        match &self.call {
            Call::Result(result) => {
                let left = self.total.unwrap_or(taken).saturating_sub(taken);
                if left > 0 {
                    ApplyResult::abandon(result.bind(py), left, arrival);
                }
            }
            Call::Stream(stream) => IMapIterator::cut_off(stream.bind(py), taken, arrival),
        }
    }
}

impl Source<Token> for Items {
    fn fill(&mut self, tasks: &mut Vec<Task<Token>>, most: usize) -> SourceStatus {
        if let Call::Stream(stream) = &self.call
            && stream.get().is_full(self.inputs.taken())
        {
            return SourceStatus::Later;
        }
        let more = Python::try_attach(|py| {
            let mut bytes = 0;
            // The error of a task that could not be made may have ended the call.
            while tasks.len() < most && bytes < AT_ONCE && !self.call.is_cancelled() {
                let before = tasks.len();
                if !self.make(py, tasks) {
                    if let Call::Result(result) = &self.call {
                        result.get().set_fed(false);
                    }
                    return false;
                }
                bytes += tasks[before..]
                    .iter()
                    .map(|task| task.payload.len())
                    .sum::<usize>();
            }
            true
        });
        match more {
            Some(true) => SourceStatus::More,
            _ => SourceStatus::Done,
        }
    }

    fn priority(&self) -> i32 {
        self.policy.priority
    }

    fn is_cancelled(&self) -> bool {
        self.call.is_cancelled()
    }

    fn cancel(self: Box<Self>) {
        Python::try_attach(|py| {
            let taken = self.inputs.taken();
            let arrival = Arrival::cancelled(py, &self.call.name(py, taken));
            self.forsake(py, arrival);
        });
    }

    fn end(self: Box<Self>, end: &PoolEnd) {
        Python::try_attach(|py| {
            self.forsake(py, Arrival::ended(py, end));
        });
    }
}

/// Delivers an outcome that was known before there was a task. The leader delivers it, like all
/// others.
pub struct FailedCall {
    pub call: Call,
    pub arrival: Arrival,
}

impl Source<Token> for FailedCall {
    fn fill(&mut self, _tasks: &mut Vec<Task<Token>>, _most: usize) -> SourceStatus {
        Python::try_attach(|py| self.tell(py));
        SourceStatus::Done
    }

    fn end(self: Box<Self>, _end: &PoolEnd) {
        Python::try_attach(|py| self.tell(py));
    }
}

impl FailedCall {
    /// Delivers it now.
    pub fn tell(&self, py: Python<'_>) {
        let arrival = Arrival {
            object: self.arrival.object.clone_ref(py),
            of_task: false,
            ..self.arrival
        };
        match &self.call {
            Call::Result(result) => ApplyResult::abandon(result.bind(py), usize::MAX, arrival),
            Call::Stream(stream) => {
                self.call.arrive(py, 0, arrival);
                IMapIterator::set_length(stream.bind(py), 1);
            }
        }
    }
}

/// Tells whether an iterator is one of those of the interpreter that yield what is
/// there already, so that asking it cannot block.
pub fn is_at_hand(iterator: &Bound<'_, PyIterator>) -> PyResult<bool> {
    const KNOWN: [&str; 8] = [
        "list_iterator",
        "tuple_iterator",
        "range_iterator",
        "longrange_iterator",
        "set_iterator",
        "dict_keyiterator",
        "str_ascii_iterator",
        "bytes_iterator",
    ];
    let class = iterator.get_type();
    if class.module()? != "builtins" {
        return Ok(false);
    }
    let name = class.name()?;
    let name = name.to_str()?;
    Ok(KNOWN.contains(&name))
}
