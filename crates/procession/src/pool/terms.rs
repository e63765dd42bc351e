//! The terms of a call: the pool, how long each task may take, how many inputs it has.

use std::sync::Arc;

use procession_engine::pool::{Job, Task, TaskBytes, TaskPolicy};
use procession_engine::shm::Loans;
use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use crate::codec;
use crate::error::{Error, Result};
use crate::function::{Callable, CapturesNothing, EntryRef};
use crate::pool::call::Token;
use crate::pool::core::{Core, stateful_job};
use crate::stateful_function::{self, TaskForm};

#[derive(Clone, Copy)]
pub struct Terms<'a> {
    pub core: &'a Arc<Core>,
    pub policy: TaskPolicy,
    /// How many inputs of a map make a task.
    pub chunk: usize,
}

impl<'a> Terms<'a> {
    pub fn new(core: &'a Arc<Core>, policy: TaskPolicy) -> Self {
        Self {
            core,
            policy,
            chunk: 1,
        }
    }

    /// Returns the job of a function whose tasks have one input each.
    pub fn job<F: Callable<M>, M>(self, function: F) -> Result<Job> {
        self.core.job(EntryRef::of(function)?)
    }

    /// Returns the job of a function whose tasks have as many inputs as the terms say.
    pub fn job_of_inputs<F: Callable<M>, M>(self, function: F) -> Result<Job> {
        match self.form()? {
            TaskForm::One => self.job(function),
            TaskForm::Chunk => self.core.job(EntryRef::of_chunk(function)?),
        }
    }

    /// Makes the job of a function that is called with a context.
    pub fn job_with<C, F, A, R>(self, context: &C, function: F) -> Result<Job>
    where
        C: Serialize + DeserializeOwned + 'static,
        F: Fn(&C, A) -> R + CapturesNothing,
        A: DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let entry = stateful_function::with_context(function, self.form()?)?;
        let what = std::any::type_name::<F>();
        stateful_job(entry, context, format_args!("the context of {what}"))
    }

    /// Makes the job of a function that is called with what `init` makes.
    pub fn job_init<N, S, F, A, R>(self, init: N, function: F) -> Result<Job>
    where
        N: Fn() -> S + CapturesNothing,
        S: 'static,
        F: Fn(&mut S, A) -> R + CapturesNothing,
        A: DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let entry = stateful_function::with_init(init, function, self.form()?)?;
        stateful_job(entry, &(), "no context")
    }

    /// Returns whether tasks have one input each, or chunks.
    pub fn form(self) -> Result<TaskForm> {
        match self.chunk {
            0 => Err(Error::invalid(
                "a chunk of no inputs was asked for: chunk_size takes at least 1",
            )),
            1 => Ok(TaskForm::One),
            _ => Ok(TaskForm::Chunk),
        }
    }

    /// Makes a task of the arguments of the function `what`.
    pub fn task(
        self,
        job: &Job,
        what: &str,
        input: &impl Serialize,
        token: Token,
    ) -> Result<Task<Token>> {
        let (payload, loans) = payload(what, input)?;
        Ok(Task {
            token,
            payload,
            job: Some(job.clone()),
            policy: self.policy,
            loans,
        })
    }
}

/// Serialises the arguments of the function `what`.
pub fn payload(what: &str, input: &impl Serialize) -> Result<(TaskBytes, Loans)> {
    let encode = || codec::encode(input, format_args!("the arguments of {what}"));
    let (mut bytes, loans) = codec::collecting(encode)?;
    let payload = match bytes.take_block() {
        Some((block, len)) => TaskBytes::Block(block, len as u64),
        None => TaskBytes::new(&[&bytes])?,
    };
    Ok((payload, loans))
}
