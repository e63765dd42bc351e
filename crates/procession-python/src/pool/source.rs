//! Tasks made of inputs that are at hand, as workers need them.

use procession_engine::pool::{Job, PoolEnd, Source, Supply, Task, Terms};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyIterator, PyList, PyRange, PySequence, PyTuple};

use crate::pool::core::uninterrupted;
use crate::pool::imap::IMapIterator;
use crate::pool::message;
use crate::pool::result::ApplyResult;
use crate::pool::sink::{Arrival, Call, Token};

/// Bytes of tasks that are made before workers get them: with many there is much to
/// do for who gets the first.
const AT_ONCE: usize = 32 * 1024;

/// Inputs in chunks, each of which becomes a task of one job.
pub struct Inputs {
    origin: Origin,
    /// How many inputs make a chunk; with 1 they are not chunked.
    chunk: usize,
    next: usize,
}

enum Origin {
    Iterator(Py<PyIterator>),
    /// A list, tuple or range, of which slices are taken: that of a range is as small
    /// as a range.
    Sequence(Py<PySequence>),
}

impl Inputs {
    /// Takes inputs one by one, or in chunks of `chunk`.
    pub fn new(iterator: Bound<'_, PyIterator>, chunk: usize) -> Self {
        Self {
            origin: Origin::Iterator(iterator.unbind()),
            chunk,
            next: 0,
        }
    }

    /// Takes the items of a sequence one by one, or in chunks of `chunk`.
    pub fn of(items: &Bound<'_, PyAny>, chunk: usize) -> PyResult<Self> {
        let can_be_sliced = items.is_exact_instance_of::<PyList>()
            || items.is_exact_instance_of::<PyTuple>()
            || items.is_exact_instance_of::<PyRange>();
        if chunk <= 1 || !can_be_sliced {
            return Ok(Self::new(items.try_iter()?, chunk));
        }
        Ok(Self {
            origin: Origin::Sequence(items.cast::<PySequence>()?.clone().unbind()),
            chunk,
            next: 0,
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
                Some(
                    items
                        .bind(py)
                        .get_slice(start, start + self.chunk)?
                        .into_any(),
                )
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

    /// Returns how many chunks were taken.
    pub fn taken(&self) -> usize {
        self.next
    }
}

fn islice(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static ISLICE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    ISLICE.import(py, "itertools", "islice")
}

/// Makes the tasks of a `map`, or of an `imap` over inputs that cannot block.
pub struct Items {
    pub call: Call,
    pub job: Job,
    pub terms: Terms,
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
                self.call.arrive(py, index, Arrival::error(py, error));
                self.finish(py, index + 1);
                return false;
            }
        };
        match uninterrupted(py, || message::task(&chunk)) {
            Ok((payload, loans)) => tasks.push(Task {
                token: Token {
                    call: self.call.clone_ref(py),
                    index,
                    input: (self.terms.retries > 0).then(|| chunk.unbind()),
                },
                payload,
                job: Some(self.job.clone()),
                terms: self.terms,
                loans,
            }),
            Err(error) => self.call.arrive(py, index, Arrival::error(py, error)),
        }
        // Known to be the last, it need not be asked once more.
        self.total != Some(index + 1)
    }

    fn finish(&self, py: Python<'_>, count: usize) {
        if let Call::Stream(stream) = &self.call {
            IMapIterator::set_length(stream.bind(py), count);
        }
    }

    /// Says that no more tasks will be made, and why.
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
    fn fill(&mut self, tasks: &mut Vec<Task<Token>>, most: usize) -> Supply {
        if let Call::Stream(stream) = &self.call
            && stream.get().is_full()
        {
            return Supply::Later;
        }
        let more = Python::try_attach(|py| {
            let mut bytes = 0;
            while tasks.len() < most && bytes < AT_ONCE {
                let before = tasks.len();
                if !self.make(py, tasks) {
                    if let Call::Result(result) = &self.call {
                        result.get().set_fed(false);
                    }
                    return false;
                }
                bytes += tasks[before..]
                    .iter()
                    .map(|task| message::length(&task.payload))
                    .sum::<usize>();
            }
            true
        });
        match more {
            Some(true) => Supply::More,
            _ => Supply::Done,
        }
    }

    fn is_cancelled(&self) -> bool {
        self.call.is_cancelled()
    }

    fn cancel(self: Box<Self>) {
        Python::try_attach(|py| {
            let taken = self.inputs.taken();
            let arrival = Arrival::cancelled(py, &self.call, taken);
            self.forsake(py, arrival);
        });
    }

    fn end(self: Box<Self>, end: &PoolEnd) {
        Python::try_attach(|py| {
            self.forsake(py, Arrival::ended(py, end));
        });
    }
}

/// Hands in an outcome that was known before there was a task: the leader tells
/// it, as it tells all others.
pub struct Foregone {
    pub call: Call,
    pub arrival: Arrival,
}

impl Source<Token> for Foregone {
    fn fill(&mut self, _tasks: &mut Vec<Task<Token>>, _most: usize) -> Supply {
        Python::try_attach(|py| self.tell(py));
        Supply::Done
    }

    fn end(self: Box<Self>, _end: &PoolEnd) {
        Python::try_attach(|py| self.tell(py));
    }
}

impl Foregone {
    /// Tells it now.
    pub fn tell(&self, py: Python<'_>) {
        let arrival = Arrival {
            object: self.arrival.object.clone_ref(py),
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
