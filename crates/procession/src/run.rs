//! Structs that are processes: data in through their fields, result out.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::function::Callable;
use crate::process::{Given, Process};

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
pub struct RunOf<R>(PhantomData<fn(R)>);

/// Tells [`RunOf`] from the functions among the [`Callable`]s.
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

impl<R: Run> Process<RunOf<R>, Running, Given<RunOf<R>, Running>> {
    /// Prepares a process that runs `worker`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Process, Run};
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Double(u64);
    ///
    /// impl Run for Double {
    ///     type Output = u64;
    ///
    ///     fn run(self) -> u64 {
    ///         self.0 * 2
    ///     }
    /// }
    ///
    /// # procession::init();
    /// let child = Process::of(Double(4)).name("Ada").start()?;
    /// assert_eq!(child.join()?, 8);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn of(worker: R) -> Self {
        Process::new(RunOf(PhantomData)).args(worker)
    }
}
