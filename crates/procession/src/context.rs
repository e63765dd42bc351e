//! Contexts, which fix a start method.

use crate::error::{Error, Result};
use crate::function::{Callable, must_be_bare};
use crate::pool::{Pool, PoolBuilder};
use crate::process::{Missing, Process};
use crate::start_method::StartMethod;

/// Starts processes and pools by one method, whatever the default is.
///
/// # Examples
///
/// ```
/// use procession::{Context, StartMethod};
///
/// # procession::init();
/// let context = Context::new(StartMethod::Spawn)?;
/// let child = context.process(|x: i32| x + 1).args(1).start()?;
/// assert_eq!(child.join()?, 2);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    method: StartMethod,
}

impl Context {
    /// Makes a context that uses `method`.
    ///
    /// # Errors
    /// `is_invalid` for [`StartMethod::Fork`]; see [`set_start_method`](crate::set_start_method).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Context, StartMethod};
    /// assert!(Context::new(StartMethod::Spawn).is_ok());
    /// assert!(Context::new(StartMethod::Fork).unwrap_err().is_invalid());
    /// ```
    pub fn new(method: StartMethod) -> Result<Self> {
        if method == StartMethod::Fork {
            return Err(Error::invalid(
                "a context cannot use fork in Rust: choose it per process with \
                 `unsafe { process.start_by_fork() }`",
            ));
        }
        Ok(Self { method })
    }

    /// Prepares a process; see [`Process::new`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Context, StartMethod};
    /// # procession::init();
    /// let context = Context::new(StartMethod::Spawn)?;
    /// let child = context.process(|| 6 * 7).name("Ada").start()?;
    /// assert_eq!(child.start_method(), StartMethod::Spawn);
    /// assert_eq!(child.join()?, 42);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn process<F: Callable<M>, M>(self, function: F) -> Process<F, M, Missing> {
        const { must_be_bare::<F>() };
        Process::new(function).start_method(self.method)
    }

    /// Starts a pool of `workers`; see [`Pool::new`].
    ///
    /// # Errors
    /// As [`Pool::new`].
    ///
    /// # Examples
    ///
    /// ```
    /// use procession::{Context, StartMethod};
    ///
    /// # procession::init();
    /// let pool = Context::new(StartMethod::Spawn)?.pool(1)?;
    /// assert_eq!(pool.apply(|| 1 + 1, ())?, 2);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn pool(self, workers: usize) -> Result<Pool> {
        PoolBuilder::new()
            .workers(workers)
            .start_method(self.method)
            .start()
    }

    /// Returns the context's start method.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Context, StartMethod};
    /// let context = Context::new(StartMethod::ForkServer)?;
    /// assert_eq!(context.start_method(), StartMethod::ForkServer);
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn start_method(self) -> StartMethod {
        self.method
    }
}
