//! What holds for the tasks of a call: whose they are, how long each may take, how many inputs it has.

use std::sync::Arc;

use procession_engine::pool::{Job, Task, TaskBytes, TaskPolicy};
use serde::Serialize;

use crate::codec;
use crate::error::{Error, Result};
use crate::function::{Callable, EntryRef};
use crate::pool::call::Token;
use crate::pool::core::Core;

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

    /// Returns the job of a function whose tasks have as many inputs as these terms say.
    pub fn job_of_inputs<F: Callable<M>, M>(self, function: F) -> Result<Job> {
        match self.chunk {
            0 => Err(Error::invalid(
                "a chunk of no inputs was asked for: chunk_size takes at least 1",
            )),
            1 => self.job(function),
            _ => self.core.job(EntryRef::of_chunk(function)?),
        }
    }

    /// Makes a task of what a function is called with.
    pub fn task<F>(self, job: &Job, input: &impl Serialize, token: Token) -> Result<Task<Token>> {
        let what = std::any::type_name::<F>();
        let encode = || codec::encode(input, format_args!("the arguments of {what}"));
        let (mut bytes, loans) = codec::collecting(encode)?;
        let payload = match bytes.take_block() {
            Some((block, len)) => TaskBytes::Block(block, len as u64),
            None => TaskBytes::new(&[&bytes])?,
        };
        Ok(Task {
            token,
            payload,
            job: Some(job.clone()),
            policy: self.policy,
            loans,
        })
    }
}
