//! Structs that are processes: data in through their fields, result out.

use std::fmt;
use std::marker::PhantomData;

use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use crate::function::Callable;

/// A process as a type of its own: what extending `Process` and overriding
/// `run` is in Python.
///
/// # Examples
///
/// ```
/// use procession::{Process, Run};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Greeter {
///     who: String,
/// }
///
/// impl Run for Greeter {
///     type Output = String;
///
///     fn run(self) -> String {
///         format!("hello, {}", self.who)
///     }
/// }
///
/// # procession::init();
/// let child = Process::of(Greeter { who: "world".into() }).start()?;
/// assert_eq!(child.join()?, "hello, world");
/// # Ok::<(), procession::Error>(())
/// ```
pub trait Run: Serialize + DeserializeOwned + Send + 'static {
    /// The result of the process.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// Does the work, in the new process.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Process, Run};
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Sum(Vec<u64>);
    ///
    /// impl Run for Sum {
    ///     type Output = u64;
    ///
    ///     fn run(self) -> u64 {
    ///         self.0.iter().sum()
    ///     }
    /// }
    ///
    /// # procession::init();
    /// assert_eq!(Process::of(Sum(vec![1, 2, 3])).start()?.join()?, 6);
    /// # Ok::<(), procession::Error>(())
    /// ```
    fn run(self) -> Self::Output;
}

/// The function of a process that is a [`Run`].
///
/// # Examples
///
/// ```
/// use procession::{Child, Given, Process, Result, Run, RunOf, Running};
///
/// /// What [`Process::of`] returns, as a field of a program's own.
/// struct Prepared<R: Run>(Process<RunOf<R>, Running, Given<RunOf<R>, Running>>);
///
/// impl<R: Run> Prepared<R> {
///     fn start(self) -> Result<Child<R::Output>> {
///         self.0.name("prepared").start()
///     }
/// }
/// ```
pub struct RunOf<R>(PhantomData<fn(R)>);

impl<R> RunOf<R> {
    pub(crate) const NEW: Self = Self(PhantomData);
}

/// Tells [`RunOf`] from the functions among the [`Callable`]s.
///
/// # Examples
///
/// ```
/// use procession::{Callable, Run, RunOf, Running};
///
/// fn is_callable<F: Callable<M>, M>() {}
///
/// fn of_any<R: Run>() {
///     is_callable::<RunOf<R>, Running>();
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Running {}

impl<R> Clone for RunOf<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for RunOf<R> {}

impl<R> fmt::Debug for RunOf<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunOf({})", std::any::type_name::<R>())
    }
}

#[diagnostic::do_not_recommend]
impl<R: Run> Callable<Running> for RunOf<R> {
    type Input = R;
    type Output = R::Output;

    fn call(self, input: R) -> R::Output {
        input.run()
    }
}
