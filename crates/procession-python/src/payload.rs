//! The payload of a child: the preparation, then the process object.
//!
//! Both are messages in one block of the arena, which goes over to the child.
//! They are unpickled one after the other, because unpickling the process may
//! need what the preparation sets up, such as `sys.path`.

use std::os::fd::{IntoRawFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};

use procession_engine::launch::{self, Inherited};
use procession_engine::process;
use procession_engine::shm::Block;
use procession_engine::shm::transfer::loans;
use procession_engine::standby::{Adopted, WorkingSetLearner};
use pyo3::prelude::*;

use crate::error::{IntoPython, value_error};
use crate::pickle::{self, ALIGNMENT, Pickled};
use crate::transfer;

/// Holds two pickled objects until a child is started with them.
#[pyclass(frozen, module = "procession._procession")]
pub struct Payload(Mutex<Option<process::Payload>>);

#[pymethods]
impl Payload {
    #[new]
    fn new(preparation: &Bound<'_, PyAny>, process: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = process.py();
        let (first, mut loans) = Pickled::preparing(preparation)?;
        let (second, more) = Pickled::starting(process)?;
        loans.append(more);
        let (first_len, second_len) = (first.len(py), second.len(py));
        let start = second_start(first_len);
        let len = start + second_len;
        let mut block = procession_engine::family()
            .or_raise()?
            .alloc(loans.room(len as u64))
            .or_raise()?;
        block[..8].copy_from_slice(&(first_len as u64).to_le_bytes());
        first.copy_to(py, &mut block[ALIGNMENT..ALIGNMENT + first_len]);
        second.copy_to(py, &mut block[start..start + second_len]);
        let block = loans.attach_to_message(block, len as u64).or_raise()?;
        Ok(Self(Mutex::new(Some(process::Payload::new(block, len)))))
    }
}

impl Payload {
    /// Takes the payload out, for the one child that it is for.
    pub fn take(&self) -> PyResult<process::Payload> {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        place.take().ok_or_else(|| {
            value_error("this payload has started a process already: it is for one only")
        })
    }

    /// Puts the payload back after a start that failed.
    pub fn put_back(&self, payload: Option<process::Payload>) {
        if payload.is_some() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = payload;
        }
    }
}

/// Holds the payload in the child.
#[pyclass(frozen, module = "procession._procession")]
pub struct Task {
    payload: Mutex<Option<(Block, usize)>>,
    /// Descriptors that the parent has passed on, in its order.
    #[pyo3(get)]
    fds: Vec<RawFd>,
    /// In a process of the fork server.
    learner: Mutex<Option<WorkingSetLearner>>,
}

impl Task {
    /// Takes over the payload of this process.
    pub fn new(received: Inherited) -> Self {
        Self {
            payload: Mutex::new(received.payload.map(process::Payload::into_parts)),
            fds: received
                .fds
                .into_iter()
                .map(IntoRawFd::into_raw_fd)
                .collect(),
            learner: Mutex::default(),
        }
    }

    /// As [`new`](Self::new), in a process of the fork server.
    pub fn adopted(adopted: Adopted) -> Self {
        Self {
            learner: Mutex::new(adopted.learner),
            ..Self::new(adopted.inherited)
        }
    }
}

#[pymethods]
impl Task {
    /// Unpickles the first object.
    pub fn load_preparation<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let payload = self.payload.lock().unwrap_or_else(PoisonError::into_inner);
        let (block, len) = payload.as_ref().ok_or_else(nothing)?;
        let end = ALIGNMENT + first_len(block);
        let bytes = block.get(ALIGNMENT..end.min(*len)).ok_or_else(nothing)?;
        loans::reading_part(block, |source| {
            transfer::reading(source, || pickle::load_started(py, bytes))
        })
    }

    /// Says that this process has been started: it knows what it is to do.
    fn booted(&self) {
        launch::booted();
    }

    /// Says that nothing but the function is left to do of what this process was started for.
    fn function_is_next(&self) {
        let learner = self
            .learner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(learner) = learner {
            learner.start_is_done();
        }
    }

    /// Unpickles the second object, once.
    fn load_process<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let payload = self
            .payload
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let (block, len) = payload.ok_or_else(nothing)?;
        let start = second_start(first_len(&block));
        let (block, len) = (Arc::new(block), len.saturating_sub(start));
        transfer::reading_block(&block, || {
            pickle::load_started_block(py, Arc::clone(&block), start, len)
        })
    }
}

fn first_len(block: &Block) -> usize {
    u64::from_le_bytes(*block.first_chunk().expect("the least block is longer")) as usize
}

fn second_start(first_len: usize) -> usize {
    (ALIGNMENT + first_len).next_multiple_of(ALIGNMENT)
}

fn nothing() -> PyErr {
    value_error("this process was started with nothing to do")
}
