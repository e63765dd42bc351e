//! Any iterator, run through a pool: calls in the manner of rayon.

use std::fmt;
use std::time::Duration;

use procession_engine::pool::ResultOrder;
use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use crate::function::{Callable, CapturesNothing, must_be_bare};
use crate::pool::calls::Calls;
use crate::pool::imap::Imap;
use crate::pool::pool::Pool;

/// Has the items of anything that can be iterated over be inputs of a pool.
///
/// # Examples
///
/// ```
/// use procession::{IntoParProcesses, Pool, Result};
///
/// # procession::init();
/// let pool = Pool::new(2)?;
/// let squares: Vec<_> = (1..=4).into_par_processes(&pool).map(|n: u64| n * n).collect::<Result<_>>()?;
/// assert_eq!(squares, [1, 4, 9, 16]);
/// # Ok::<(), procession::Error>(())
/// ```
pub trait IntoParProcesses: IntoIterator + Sized {
    /// Returns the items as inputs of `pool`. Nothing runs before there is a function, and its
    /// results are asked for.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{IntoParProcesses, Pool, Result};
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// let lengths = "a bc def".split(' ').map(str::to_owned).into_par_processes(&pool);
    /// let longest = lengths.map(|word: String| word.len()).collect::<Result<Vec<_>>>()?;
    /// assert_eq!(longest, [1, 2, 3]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    fn into_par_processes(self, pool: &Pool) -> ParProcesses<'_, Self::IntoIter> {
        ParProcesses {
            calls: pool.calls(),
            inputs: self.into_iter(),
            order: ResultOrder::OfTasks,
        }
    }
}

impl<I: IntoIterator> IntoParProcesses for I {}

/// Inputs of a pool, and how its workers are to go through them.
///
/// What `map`, `map_with` and `map_init` return is an iterator of results; it takes inputs as
/// they are needed, and no more than a bounded number ahead, so they may be endless.
///
/// # Examples
///
/// ```
/// use procession::{IntoParProcesses, Pool};
///
/// # procession::init();
/// let pool = Pool::new(2)?;
/// let halves = (0_u32..).into_par_processes(&pool).chunk_size(10).map(|n: u32| n / 2);
/// let first: Vec<u32> = halves.take(5).collect::<Result<_, _>>()?;
/// assert_eq!(first, [0, 0, 1, 1, 2]);
/// # Ok::<(), procession::Error>(())
/// ```
#[must_use = "nothing runs before there is a function"]
pub struct ParProcesses<'a, I> {
    calls: Calls<'a>,
    inputs: I,
    order: ResultOrder,
}

impl<'a, I: Iterator> ParProcesses<'a, I> {
    /// Runs a function on each input.
    ///
    /// # Errors
    /// The iterator's items are results, each with its own error.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{IntoParProcesses, Pool};
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// let mut lengths = ["one", "three"].map(str::to_owned).into_par_processes(&pool).map(
    ///     |word: String| word.len(),
    /// );
    /// assert_eq!(lengths.next().transpose()?, Some(3));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn map<F, M>(self, function: F) -> Imap<'a, I, F::Output>
    where
        F: Callable<M, Input = I::Item>,
    {
        const { must_be_bare::<F>() };
        self.calls.imap_in(self.order, function, self.inputs)
    }

    /// Runs a function on each input, with a context that crosses once; see
    /// [`Pool::map_with`].
    ///
    /// # Errors
    /// As [`map`](Self::map).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{IntoParProcesses, Pool, Result};
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// let factor = 3;
    /// let products = (1..=3).into_par_processes(&pool).map_with(&factor, |factor, n: u32| factor * n);
    /// assert_eq!(products.collect::<Result<Vec<_>>>()?, [3, 6, 9]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn map_with<C, F, R>(self, context: &C, function: F) -> Imap<'a, I, R>
    where
        C: Serialize + DeserializeOwned + 'static,
        F: Fn(&C, I::Item) -> R + CapturesNothing,
        I::Item: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        const { must_be_bare::<F>() };
        let terms = self.calls.terms();
        let job = terms.job_with(context, function);
        let what = std::any::type_name::<F>();
        Imap::new(terms, job, what, self.inputs, self.order)
    }

    /// Runs a function on each input, with what `init` makes in each worker; see
    /// [`Pool::map_init`].
    ///
    /// # Errors
    /// As [`map`](Self::map).
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{IntoParProcesses, Pool, Result};
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let number_it = |lines: &mut u32, text: String| {
    ///     *lines += 1;
    ///     format!("{lines} {text}")
    /// };
    /// let words = ["a", "b"].map(str::to_owned).into_par_processes(&pool);
    /// let numbered = words.map_init(|| 0, number_it).collect::<Result<Vec<_>>>()?;
    /// assert_eq!(numbered, ["1 a", "2 b"]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn map_init<N, S, F, R>(self, init: N, function: F) -> Imap<'a, I, R>
    where
        N: Fn() -> S + CapturesNothing,
        S: 'static,
        F: Fn(&mut S, I::Item) -> R + CapturesNothing,
        I::Item: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        const { must_be_bare::<N>() };
        const { must_be_bare::<F>() };
        let terms = self.calls.terms();
        let job = terms.job_init(init, function);
        let what = std::any::type_name::<F>();
        Imap::new(terms, job, what, self.inputs, self.order)
    }

    /// Returns results in the order in which they arrive, rather than in the order of the inputs.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{IntoParProcesses, Pool, Result};
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// let squares = (1..=4).into_par_processes(&pool).unordered().map(|n: u32| n * n);
    /// assert_eq!(squares.sum::<Result<u32>>()?, 30);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn unordered(mut self) -> Self {
        self.order = ResultOrder::OfArrivals;
        self
    }

    /// Makes one task of so many inputs, as [`Pool::chunk_size`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{IntoParProcesses, Pool, Result};
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// let halves = (0..1000).into_par_processes(&pool).chunk_size(100).map(|n: u32| n / 2);
    /// assert_eq!(halves.sum::<Result<u32>>()?, 249_500);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn chunk_size(mut self, inputs: usize) -> Self {
        self.calls = self.calls.chunk_size(inputs);
        self
    }

    /// Limits how long each task may take once it runs, as [`Pool::timeout`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::{IntoParProcesses, Pool, Result};
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// let careful = (1..=3).into_par_processes(&pool).timeout(Duration::from_secs(60)).retries(1);
    /// assert_eq!(careful.map(|n: u32| n + 1).collect::<Result<Vec<_>>>()?, [2, 3, 4]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.calls = self.calls.timeout(limit);
        self
    }

    /// Runs each task again up to `times` times when its worker has died in it, as
    /// [`Pool::retries`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{IntoParProcesses, Pool};
    /// # procession::init();
    /// let pool = Pool::new(1)?;
    /// let abort = |_: u32| -> u32 { std::process::abort() };
    /// let mut results = [1].into_par_processes(&pool).retries(2).map(abort);
    /// assert_eq!(results.next().unwrap().unwrap_err().tries(), Some(3));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn retries(mut self, times: u32) -> Self {
        self.calls = self.calls.retries(times);
        self
    }
}

impl<I> fmt::Debug for ParProcesses<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParProcesses")
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}
