//! Functions that can run in another process of the same program.
//!
//! A function crosses as the address of a small wrapper, relative to where the
//! program lies in memory, together with the program's build. A function item
//! or a closure without captures has no bytes, so the wrapper knows all of it
//! by its type and nothing need be registered.
//!
//! # Safety
//! A function without bytes is conjured up in the child where the type says
//! it exists: a value of it was seen in the parent. An address is only called
//! after the build was found to be the same and the address to lie inside the
//! program's code; that it is the wrapper's is the parent's word, which members
//! of a family take.

#![expect(unsafe_code, reason = "function pointers from addresses")]

use std::any::Any;
use std::cell::RefCell;
use std::fmt::Display;

use procession_engine::ErrorKind;
use procession_engine::shm::HandleSource;
use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use crate::codec::{self, Encoded, tuple_form};
use crate::error::{Error, Result};
use crate::outcome::{self, ItemOutcome};
use crate::program::image;

/// Refuses to be compiled for a function that has captured something, or is only an
/// address.
///
/// Each public method that takes a function asks this, so that the compiler names the line
/// that calls the method.
pub(crate) const fn must_be_bare<F>() {
    assert!(
        size_of::<F>() == 0,
        "only a function itself or a closure without captures can cross to another process: \
         pass what it captures as arguments, and `f` rather than `f as fn(..)`"
    );
}

/// Is a function itself, or a closure that captures nothing: it has no bytes, so that its type
/// says all of it, in this process and in another.
///
/// A closure that captures is refused by `cargo check` if it borrows or owns what it captures,
/// and by `cargo build` if that can be copied, as a number can: no bound of a type says that a
/// closure has no bytes, so its size is asked, and the compiler knows that only where it makes code
/// for the type.
/// Pass what it captures as arguments, or as the context of
/// [`Pool::map_with`](crate::Pool::map_with).
///
/// # Examples
///
/// ```
/// use procession::Pool;
///
/// # procession::init();
/// let pool = Pool::new(1)?;
/// let factor = 3;
/// // `|n: u32| factor * n` would capture it.
/// let products = pool.map_with(&factor, |factor, n: u32| factor * n, [1, 2])?;
/// assert_eq!(products, [3, 6]);
/// # Ok::<(), procession::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "this closure captures a value, so it cannot be called in another process",
    label = "it captures a value",
    note = "pass what it captures as arguments, or as the context of `Pool::map_with`"
)]
pub trait CapturesNothing: Copy + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<F: Copy + Send + Sync + 'static> CapturesNothing for F {}

/// Can run in another process: every `fn` and every closure without captures
/// whose arguments and result are serde types.
///
/// Implemented for up to eight arguments. One argument is passed as itself,
/// several as a tuple, none as `()`. `M` only tells the implementations apart.
///
/// # Examples
///
/// ```
/// use procession::{Callable, Pool, Result};
///
/// /// Has a pool call a function twice.
/// fn twice<F: Callable<M>, M>(pool: &Pool, function: F, input: F::Input) -> Result<[F::Output; 2]>
/// where
///     F::Input: Clone,
/// {
///     Ok([pool.apply(function, input.clone())?, pool.apply(function, input)?])
/// }
///
/// # procession::init();
/// let pool = Pool::new(1)?;
/// assert_eq!(twice(&pool, |text: String| text.len(), "four".to_owned())?, [4, 4]);
/// assert_eq!(twice(&pool, u32::pow, (2, 10))?, [1024, 1024]);
/// # Ok::<(), procession::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called in another process",
    label = "it cannot be called in another process",
    note = "the types of its arguments and of its result must be owned and implement serde's \
            `Serialize` and `Deserialize`: put `#[derive(serde::Serialize, serde::Deserialize)]` \
            on them, and take `String` rather than `&str`",
    note = "it may be an `fn` or a closure that captures nothing, with eight arguments at most"
)]
pub trait Callable<M>: CapturesNothing {
    /// The type of the arguments.
    type Input: Serialize + DeserializeOwned + Send + 'static;
    /// The type of the result.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// Calls the function.
    fn call(self, input: Self::Input) -> Self::Output;
}

impl<F, R> Callable<()> for F
where
    F: Fn() -> R + CapturesNothing,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    type Input = ();
    type Output = R;

    fn call(self, (): ()) -> R {
        self()
    }
}

impl<F, A, R> Callable<(A,)> for F
where
    F: Fn(A) -> R + CapturesNothing,
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    type Input = A;
    type Output = R;

    fn call(self, argument: A) -> R {
        self(argument)
    }
}

macro_rules! callable {
    ($($name:ident),+) => {
        impl<F, R, $($name),+> Callable<($($name,)+)> for F
        where
            F: Fn($($name),+) -> R + CapturesNothing,
            R: Serialize + DeserializeOwned + Send + 'static,
            $($name: Serialize + DeserializeOwned + Send + 'static),+
        {
            type Input = ($($name,)+);
            type Output = R;

            #[expect(non_snake_case, reason = "one name for the type and its value")]
            fn call(self, ($($name,)+): Self::Input) -> R {
                self($($name),+)
            }
        }
    };
}

callable!(A, B);
callable!(A, B, C);
callable!(A, B, C, D);
callable!(A, B, C, D, E);
callable!(A, B, C, D, E, G);
callable!(A, B, C, D, E, G, H);
callable!(A, B, C, D, E, G, H, I);

/// Decodes the input, runs the function, encodes the outcome.
pub(crate) type Entry = fn(input: Input<'_>) -> Result<Encoded>;

/// The bytes of a function's arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    pub(crate) bytes: &'a [u8],
    /// What keeps the objects alive whose handles are in the bytes.
    source: &'a HandleSource,
    /// What all tasks of the job have in common, if there is anything.
    job: Option<JobInput<'a>>,
}

/// What the tasks of a job have in common, in one worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobInput<'a> {
    /// The bytes of its context.
    pub(crate) context: &'a [u8],
    /// The state that was made for the job's tasks; `None` while one of them uses it.
    pub(crate) state: &'a RefCell<Option<Box<dyn Any>>>,
}

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8], source: &'a HandleSource) -> Self {
        let job = None;
        Self { bytes, source, job }
    }

    pub(crate) fn of_job(self, job: JobInput<'a>) -> Self {
        let job = Some(job);
        Self { job, ..self }
    }

    /// Calls `function` with the state of the job's tasks, which `make` makes of the job's context
    /// if there is none yet. If `function` panics, the state is dropped, as it may be half changed.
    pub(crate) fn with_state<S: 'static, R>(
        self,
        make: impl FnOnce(Self) -> Result<S>,
        function: impl FnOnce(&mut S) -> R,
    ) -> Result<R> {
        let Some(job) = self.job else {
            return Err(Error::invalid("the task belongs to no job"));
        };
        let kept = job.state.take();
        let mut state = match kept.map(|kept| kept.downcast::<S>()) {
            Some(Ok(state)) => state,
            _ => Box::new(make(Self::new(job.context, self.source))?),
        };
        let result = function(&mut state);
        job.state.replace(Some(state));
        Ok(result)
    }

    pub(crate) fn decode<T: DeserializeOwned>(self, what: impl Display) -> Result<T> {
        codec::decode_from(self.source, self.bytes, what)
    }
}

/// Names an [`Entry`] to another process of the same program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EntryRef {
    offset: u64,
    build: u64,
}

tuple_form!(EntryRef { offset, build });

impl EntryRef {
    /// Names the wrapper of a function.
    ///
    /// # Errors
    /// `Unsupported` when the function lies in a shared library.
    pub(crate) fn of<F: Callable<M>, M>(function: F) -> Result<Self> {
        const { must_be_bare::<F>() };
        let _ = function;
        Self::to::<F>(run::<F, M>)
    }

    /// Names a wrapper that calls a function for each of several inputs, in one task.
    pub(crate) fn of_chunk<F: Callable<M>, M>(function: F) -> Result<Self> {
        const { must_be_bare::<F>() };
        let _ = function;
        Self::to::<F>(run_chunk::<F, M>)
    }

    /// Names `entry`, which calls an `F`.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub(crate) fn to<F>(entry: Entry) -> Result<Self> {
        let address = entry as usize;
        let image = image();
        if !image.code.contains(&address) {
            return Err(procession_engine::Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{} lies in a shared library, which may have another address in another \
                     process; define it in the program itself",
                    std::any::type_name::<F>()
                ),
            )
            .into());
        }
        Ok(Self {
            offset: (address - image.base) as u64,
            build: image.build,
        })
    }

    /// Tells whether it names this wrapper.
    #[cfg(feature = "tasks")]
    pub(crate) fn is_to(self, entry: Entry) -> bool {
        let image = image();
        let offset = (entry as usize).wrapping_sub(image.base);
        (self.build, self.offset) == (image.build, offset as u64)
    }

    /// Returns the build of the program that it comes from.
    pub(crate) fn build(self) -> u64 {
        self.build
    }

    /// Returns the wrapper.
    ///
    /// # Errors
    /// `Invalid` when it comes from another build of the program.
    pub(crate) fn resolve(self) -> Result<Entry> {
        let image = image();
        let address = image.base.wrapping_add(self.offset as usize);
        if self.build != image.build || !image.code.contains(&address) {
            return Err(Error::invalid(
                "the function comes from another build of this program: parent and child must \
                 run the same executable",
            ));
        }
        // SAFETY: `to` made the offset from an `Entry` of this very build.
        Ok(unsafe { std::mem::transmute::<usize, Entry>(address) })
    }
}

pub(crate) fn run<F: Callable<M>, M>(input: Input<'_>) -> Result<Encoded> {
    let what = std::any::type_name::<F>();
    let input = input.decode(format_args!("the arguments of {what}"))?;
    // SAFETY: the code that made the reference had the function.
    let function = unsafe { bare_value::<F>() };
    let output = function.call(input);
    outcome::done(&output, format_args!("the result of {what}"))
}

pub(crate) fn run_chunk<F: Callable<M>, M>(input: Input<'_>) -> Result<Encoded> {
    let what = std::any::type_name::<F>();
    let inputs: Vec<F::Input> = input.decode(format_args!("the arguments of {what}"))?;
    // SAFETY: the code that made the reference had the function.
    let function = unsafe { bare_value::<F>() };
    let call = |input| outcome::of_item(|| function.call(input));
    let outputs: Vec<ItemOutcome<F::Output>> = inputs.into_iter().map(call).collect();
    outcome::done(&outputs, format_args!("the results of {what}"))
}

/// Makes a function that has no bytes of its type.
///
/// # Safety
/// `F` has no bytes, which is checked where a reference to it is made, and a value of it
/// exists in the process that made the reference.
pub(crate) unsafe fn bare_value<F>() -> F {
    // SAFETY: a dangling but aligned pointer to no bytes may be read.
    unsafe { std::ptr::NonNull::<F>::dangling().read() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(a: u32, b: u32) -> u32 {
        a + b
    }

    #[test]
    fn functions_and_closures_of_all_arities_cross() {
        fn through<F: Callable<M>, M>(function: F, input: &F::Input) -> F::Output {
            let bytes = codec::encode(&EntryRef::of(function).unwrap(), "entry").unwrap();
            let entry: EntryRef = codec::decode(&bytes, "entry").unwrap();
            let input = codec::encode(input, "input").unwrap();
            let (bytes, source) = (&*input, &HandleSource::UNTRACKED);
            let reply = entry.resolve().unwrap()(Input::new(bytes, source)).unwrap();
            outcome::read(&reply, "reply").unwrap()
        }
        assert_eq!(through(add, &(2, 3)), 5);
        assert_eq!(through(|x: u64| x * 2, &21), 42);
        assert_eq!(through(|| 7_i32, &()), 7);
        assert_eq!(
            through(|s: String, n: usize| s.repeat(n), &("ab".into(), 2)),
            "abab"
        );
    }

    #[test]
    fn another_builds_function_is_refused() {
        let mut entry = EntryRef::of(add).unwrap();
        entry.build ^= 1;
        assert!(entry.resolve().unwrap_err().is_invalid());
    }
}
