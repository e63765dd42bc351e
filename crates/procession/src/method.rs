//! Calls of methods on an object that lives in a process of its own.
//!
//! The object is in that process's `ACTOR`; it is made there when it is first needed, and again
//! after a panic, from the arguments that the process was started with.
//!
//! # Safety
//! A function without bytes is conjured up where its type says it exists: `made_by` and
//! `calling` have had a value of it.

#![expect(unsafe_code, reason = "functions that have no bytes, from their types")]

use std::any::{Any, type_name};
use std::cell::RefCell;
use std::mem::ManuallyDrop;

use procession_engine::shm::HandleSource;
use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use crate::codec::Encoded;
use crate::error::{Error, Result};
use crate::function::{CapturesNothing, EntryRef, Input, bare_value, must_be_bare};
use crate::outcome;

/// Can be called on the object of an [`Actor`](crate::Actor): a method or function of `&S` or
/// `&mut S` and up to three arguments, or a closure of `&mut S` that captures nothing.
///
/// One argument is passed as itself, several as a tuple, none as `()`. `M` only tells the
/// implementations apart.
///
/// # Examples
///
/// ```
/// use procession::{Actor, Method, Result};
///
/// /// Calls a method without arguments twice.
/// fn twice<F: Method<u32, M, Input = ()>, M>(counter: &Actor<u32>, method: F) -> Result<F::Output> {
///     counter.call(method, ())?;
///     counter.call(method, ())
/// }
///
/// # procession::init();
/// let counter = Actor::new(|from: u32| from, 40)?;
/// let count = |counter: &mut u32| {
///     *counter += 1;
///     *counter
/// };
/// assert_eq!(twice(&counter, count)?, 42);
/// # Ok::<(), procession::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called on an actor's `{S}`",
    label = "it cannot be called on an actor's `{S}`",
    note = "it has to take `&mut {S}` or `&{S}` first and then up to three arguments; these and \
            the result must be owned and implement serde's `Serialize` and `Deserialize`"
)]
pub trait Method<S, M>: CapturesNothing {
    /// The type of the arguments.
    type Input: Serialize + DeserializeOwned + Send + 'static;
    /// The type of the result.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// Calls the method.
    fn call(self, object: &mut S, input: Self::Input) -> Self::Output;
}

macro_rules! methods {
    ($input:ty, $pattern:pat, $($name:ident),*) => {
        impl<S, F, R, $($name),*> Method<S, (Mutably, $($name),*)> for F
        where
            F: Fn(&mut S, $($name),*) -> R + CapturesNothing,
            R: Serialize + DeserializeOwned + Send + 'static,
            $($name: Serialize + DeserializeOwned + Send + 'static),*
        {
            type Input = $input;
            type Output = R;

            #[allow(non_snake_case, reason = "one name for the type and its value")]
            fn call(self, object: &mut S, $pattern: $input) -> R {
                self(object, $($name),*)
            }
        }

        impl<S, F, R, $($name),*> Method<S, (Immutably, $($name),*)> for F
        where
            F: Fn(&S, $($name),*) -> R + CapturesNothing,
            R: Serialize + DeserializeOwned + Send + 'static,
            $($name: Serialize + DeserializeOwned + Send + 'static),*
        {
            type Input = $input;
            type Output = R;

            #[allow(non_snake_case, reason = "one name for the type and its value")]
            fn call(self, object: &mut S, $pattern: $input) -> R {
                self(object, $($name),*)
            }
        }
    };
}

/// Tells methods of `&mut self` from the others.
///
/// # Examples
///
/// ```
/// use procession::{Actor, Method, Mutably, Result};
///
/// /// Has each of the actors do what changes it.
/// fn change<F: Method<u32, (Mutably,), Input = (), Output = ()>>(
///     actors: &[Actor<u32>],
///     method: F,
/// ) -> Result<()> {
///     actors.iter().try_for_each(|actor| actor.call(method, ()))
/// }
///
/// # procession::init();
/// let actor = Actor::new(|from: u32| from, 1)?;
/// change(std::slice::from_ref(&actor), |number: &mut u32| *number += 1)?;
/// assert_eq!(actor.call(|number: &mut u32| *number, ())?, 2);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Mutably {}

/// Tells methods of `&self` from the others.
///
/// # Examples
///
/// ```
/// use procession::{Actor, Immutably, Method, Result};
///
/// /// Asks an actor by a method that cannot change it.
/// fn ask<F: Method<String, (Immutably,), Input = ()>>(
///     actor: &Actor<String>,
///     method: F,
/// ) -> Result<F::Output> {
///     actor.call(method, ())
/// }
///
/// # procession::init();
/// let actor = Actor::new(|text: String| text, "four".to_owned())?;
/// assert_eq!(ask(&actor, String::len)?, 4);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Immutably {}

methods!((), (),);
methods!(A, A, A);
methods!((A, B), (A, B), A, B);
methods!((A, B, C), (A, B, C), A, B, C);

/// The object of a process, and what makes it.
struct Home {
    make: Box<dyn Fn() -> Result<Box<dyn Any>>>,
    /// Nothing while it is called, after a panic, and at the end.
    object: Option<Box<dyn Any>>,
}

thread_local! {
    /// The object that this process is there for; its tasks all run in this thread.
    ///
    /// It is not dropped with the thread, because the thread's other variables are gone by then.
    static ACTOR: RefCell<Option<ManuallyDrop<Home>>> = const { RefCell::new(None) };
}

/// Names the wrapper that makes the object of a process by `init`.
pub fn made_by<N, S, A>(init: N) -> Result<EntryRef>
where
    N: Fn(A) -> S + CapturesNothing,
    S: 'static,
    A: DeserializeOwned,
{
    const { must_be_bare::<N>() };
    let _ = init;
    EntryRef::to::<N>(make::<N, S, A>)
}

/// Names the wrapper that calls `method` on the object of the process.
pub fn calling<F, S, M>(method: F) -> Result<EntryRef>
where
    F: Method<S, M>,
    S: 'static,
{
    const { must_be_bare::<F>() };
    let _ = method;
    EntryRef::to::<F>(call::<F, S, M>)
}

/// Names the wrapper that drops the object of the process, as at the end of a program.
pub fn ending() -> Result<EntryRef> {
    EntryRef::to::<fn()>(end)
}

fn make<N, S, A>(input: Input<'_>) -> Result<Encoded>
where
    N: Fn(A) -> S + CapturesNothing,
    S: 'static,
    A: DeserializeOwned,
{
    // The pool keeps the objects alive whose handles are in the arguments, for as long as it starts
    // workers.
    let bytes = input.bytes.to_vec();
    let make = move || {
        let input = Input::new(&bytes, &HandleSource::KEPT);
        let arguments = input.decode(format_args!("the arguments of {}", type_name::<N>()))?;
        // SAFETY: `made_by` has had it, and has seen that it has no bytes.
        let init = unsafe { bare_value::<N>() };
        Ok(Box::new(init(arguments)) as Box<dyn Any>)
    };
    let object = Some(make()?);
    let make = Box::new(make);
    ACTOR.replace(Some(ManuallyDrop::new(Home { make, object })));
    outcome::done(&(), "no result")
}

fn call<F, S, M>(input: Input<'_>) -> Result<Encoded>
where
    F: Method<S, M>,
    S: 'static,
{
    let what = type_name::<F>();
    let argument = input.decode(format_args!("the arguments of {what}"))?;
    let mut object = take()?
        .downcast::<S>()
        .map_err(|_| Error::invalid(format!("the actor's object is no {}", type_name::<S>())))?;
    // SAFETY: `calling` has had it, and has seen that it has no bytes.
    let method = unsafe { bare_value::<F>() };
    let output = method.call(&mut object, argument);
    ACTOR.with_borrow_mut(|home| home.as_mut().map(|home| home.object = Some(object)));
    outcome::done(&output, format_args!("the result of {what}"))
}

/// Takes the object out. It is made first if there is none yet, or it was dropped after a panic.
fn take() -> Result<Box<dyn Any>> {
    let none = || Error::invalid("this process has no object of an actor");
    let kept = ACTOR.with_borrow_mut(|home| home.as_mut().map(|home| home.object.take()));
    if let Some(object) = kept.ok_or_else(none)? {
        return Ok(object);
    }
    ACTOR.with_borrow(|home| (home.as_ref().ok_or_else(none)?.make)())
}

fn end(_input: Input<'_>) -> Result<Encoded> {
    // Dropped when nothing is borrowed: dropping it runs the program's code.
    let home = ACTOR.take().map(ManuallyDrop::into_inner);
    drop(home);
    outcome::done(&(), "no result")
}
