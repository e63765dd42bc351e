//! Functions that keep something between the tasks of a job: its context, which the caller
//! has sent once, or what an initializer has made.
//!
//! Each is called by a wrapper, which is named as all wrappers are (`function.rs`). The wrapper
//! finds the state with its input. If there is none yet, or it was dropped after a panic, the
//! wrapper makes it.
//!
//! # Safety
//! A function without bytes is conjured up where its type says it exists: `with_context` and
//! `with_init` have had a value of it.

#![expect(unsafe_code, reason = "functions that have no bytes, from their types")]

use std::any::type_name;
use std::marker::PhantomData;

use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use crate::codec::Encoded;
use crate::error::Result;
use crate::function::{CapturesNothing, EntryRef, Input, bare_value, must_be_bare};
use crate::outcome;

/// How many inputs a task has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskForm {
    One,
    Chunk,
}

/// Names the wrapper that calls `function` with the context of its job.
pub fn with_context<C, F, A, R>(function: F, form: TaskForm) -> Result<EntryRef>
where
    C: DeserializeOwned + 'static,
    F: Fn(&C, A) -> R + CapturesNothing,
    A: DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    const { must_be_bare::<F>() };
    let _ = function;
    named::<WithContext<C, F, A, R>>(form)
}

/// Names the wrapper that calls `function` with what `init` has made in the worker.
pub fn with_init<N, S, F, A, R>(init: N, function: F, form: TaskForm) -> Result<EntryRef>
where
    N: Fn() -> S + CapturesNothing,
    S: 'static,
    F: Fn(&mut S, A) -> R + CapturesNothing,
    A: DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    const { must_be_bare::<N>() };
    const { must_be_bare::<F>() };
    let _ = (init, function);
    named::<WithInit<N, S, F, A, R>>(form)
}

fn named<W: Stateful>(form: TaskForm) -> Result<EntryRef> {
    match form {
        TaskForm::One => EntryRef::to::<W::Function>(run::<W>),
        TaskForm::Chunk => EntryRef::to::<W::Function>(run_chunk::<W>),
    }
}

/// A function with its state, as types alone.
trait Stateful {
    type Function;
    type State: 'static;
    type Argument: DeserializeOwned;
    type Output: Serialize + DeserializeOwned;

    /// Makes the state; `context` has the bytes of the job's context.
    fn make(context: Input<'_>) -> Result<Self::State>;

    fn call(state: &mut Self::State, argument: Self::Argument) -> Self::Output;
}

struct WithContext<C, F, A, R>(PhantomData<(C, F, A, R)>);

impl<C, F, A, R> Stateful for WithContext<C, F, A, R>
where
    C: DeserializeOwned + 'static,
    F: Fn(&C, A) -> R + CapturesNothing,
    A: DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    type Function = F;
    type State = C;
    type Argument = A;
    type Output = R;

    fn make(context: Input<'_>) -> Result<C> {
        context.decode(format_args!("the context of {}", type_name::<F>()))
    }

    fn call(context: &mut C, argument: A) -> R {
        // SAFETY: `with_context` has had it, and has seen that it has no bytes.
        let function = unsafe { bare_value::<F>() };
        function(context, argument)
    }
}

struct WithInit<N, S, F, A, R>(PhantomData<(N, S, F, A, R)>);

impl<N, S, F, A, R> Stateful for WithInit<N, S, F, A, R>
where
    N: Fn() -> S + CapturesNothing,
    S: 'static,
    F: Fn(&mut S, A) -> R + CapturesNothing,
    A: DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    type Function = F;
    type State = S;
    type Argument = A;
    type Output = R;

    fn make(_context: Input<'_>) -> Result<S> {
        // SAFETY: `with_init` has had it, and has seen that it has no bytes.
        let init = unsafe { bare_value::<N>() };
        Ok(init())
    }

    fn call(state: &mut S, argument: A) -> R {
        // SAFETY: as that of the other function.
        let function = unsafe { bare_value::<F>() };
        function(state, argument)
    }
}

fn run<W: Stateful>(input: Input<'_>) -> Result<Encoded> {
    let what = type_name::<W::Function>();
    let argument = input.decode(format_args!("the arguments of {what}"))?;
    let output = input.with_state(W::make, |state| W::call(state, argument))?;
    outcome::done(&output, format_args!("the result of {what}"))
}

fn run_chunk<W: Stateful>(input: Input<'_>) -> Result<Encoded> {
    let what = type_name::<W::Function>();
    let arguments: Vec<W::Argument> = input.decode(format_args!("the arguments of {what}"))?;
    let mut outputs = Vec::with_capacity(arguments.len());
    for argument in arguments {
        let call = || input.with_state(W::make, |state| W::call(state, argument));
        outputs.push(
            outcome::of_item(call).map_or_else(|info| Ok(Err(info)), |output| output.map(Ok))?,
        );
    }
    outcome::done(&outputs, format_args!("the results of {what}"))
}
