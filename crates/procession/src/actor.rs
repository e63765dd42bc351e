//! An object that lives in a process of its own.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::function::{CapturesNothing, must_be_bare};
use crate::method::{self, Method};
use crate::pool::{AsyncResult, Pool, PoolBuilder};

/// An object in a process of its own, whose methods are called from here.
///
/// Calls run one after another, in the order in which they were made. Each call is typed as its
/// method is. The object itself never crosses, so it may be of any type.
///
/// If the process dies, the call that it was running fails (`is_died`), and the calls after it find
/// a new object in a new process, made by the same function of the same arguments. A panic fails
/// its call, and the next call finds a new object, too, as the old one may be half changed.
/// Dropping the actor ends its process at once; [`stop`](Self::stop) lets it finish first.
///
/// An actor may have the limits of a pool: [`PoolBuilder::actor`] makes one with a memory limit,
/// chosen processors or an environment.
///
/// # Examples
///
/// ```
/// use procession::Actor;
///
/// struct Counter {
///     count: u64,
/// }
///
/// impl Counter {
///     fn starting_at(count: u64) -> Self {
///         Self { count }
///     }
///
///     fn add(&mut self, number: u64) -> u64 {
///         self.count += number;
///         self.count
///     }
///
///     fn count(&self) -> u64 {
///         self.count
///     }
/// }
///
/// # procession::init();
/// let counter = Actor::new(Counter::starting_at, 40)?;
/// assert_eq!(counter.call(Counter::add, 2)?, 42);
/// let later = counter.call_async(Counter::count, ())?;
/// assert_eq!(later.get()?, 42);
/// counter.stop()?;
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Actor<S> {
    pool: Pool,
    object: PhantomData<fn(S) -> S>,
}

impl<S: 'static> Actor<S> {
    /// Starts a process, in which `init` makes the object of `arguments`.
    ///
    /// # Errors
    /// As [`PoolBuilder::actor`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Actor;
    /// # procession::init();
    /// let list = Actor::new(|first: u32| vec![first], 1)?;
    /// list.call(|list: &mut Vec<u32>, number: u32| list.push(number), 2)?;
    /// assert_eq!(list.call(|list: &Vec<u32>| list.len(), ())?, 2);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn new<N, A>(init: N, arguments: A) -> Result<Self>
    where
        N: Fn(A) -> S + CapturesNothing,
        A: Serialize + DeserializeOwned + Send + 'static,
    {
        const { must_be_bare::<N>() };
        Pool::builder().actor(init, arguments)
    }

    /// Calls a method, and returns its result.
    ///
    /// # Errors
    /// `is_panic` when it panicked, `is_died` when the process died in it, `is_codec` when
    /// arguments or result do not cross. If `init` panicked, each call fails with that.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Actor;
    /// # procession::init();
    /// let text = Actor::new(|text: String| text, "tea".to_owned())?;
    /// assert_eq!(text.call(|text: &String| text.len(), ())?, 3);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn call<F: Method<S, M>, M>(&self, method: F, arguments: F::Input) -> Result<F::Output> {
        const { must_be_bare::<F>() };
        self.request(method, arguments, None)?.get()
    }

    /// Calls a method, and returns at once with a handle on its result, which can be waited for
    /// and awaited.
    ///
    /// # Errors
    /// As [`call`](Self::call), for errors that are found before the method runs.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Actor;
    /// # procession::init();
    /// let text = Actor::new(|text: String| text, "tea".to_owned())?;
    /// let length = text.call_async(|text: &String| text.len(), ())?;
    /// assert_eq!(length.get()?, 3);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn call_async<F: Method<S, M>, M>(
        &self,
        method: F,
        arguments: F::Input,
    ) -> Result<AsyncResult<F::Output>> {
        const { must_be_bare::<F>() };
        let result = self.request(method, arguments, None)?;
        self.pool.deliver_in_background()?;
        Ok(result)
    }

    /// As [`call`](Self::call), with a limit: a call that takes longer once it runs is ended
    /// with the process, and fails with `is_timeout`.
    ///
    /// # Errors
    /// As [`call`](Self::call), and `is_timeout`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use procession::{Actor, Event};
    /// # procession::init();
    /// let patient = Actor::new(|never: Event| never, Event::new()?)?;
    /// let wait = |never: &mut Event| never.wait().is_ok();
    /// let late = patient.call_timeout(wait, (), Duration::from_millis(50)).unwrap_err();
    /// assert!(late.is_timeout());
    /// // In a new process.
    /// assert!(!patient.call(Event::is_set, ())?);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn call_timeout<F: Method<S, M>, M>(
        &self,
        method: F,
        arguments: F::Input,
        limit: Duration,
    ) -> Result<F::Output> {
        const { must_be_bare::<F>() };
        self.request(method, arguments, Some(limit))?.get()
    }

    /// Waits until the process has done the calls that were made, has dropped the object, and has
    /// ended.
    ///
    /// # Errors
    /// When the process has died, or dropping the object has panicked.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Actor, Queue};
    /// # procession::init();
    /// struct Tidy(Queue<String>);
    ///
    /// impl Drop for Tidy {
    ///     fn drop(&mut self) {
    ///         self.0.put("tidied up".to_owned()).unwrap();
    ///     }
    /// }
    ///
    /// let told = Queue::new()?;
    /// Actor::new(Tidy, told.clone())?.stop()?;
    /// assert_eq!(told.try_get()?, "tidied up");
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn stop(self) -> Result<()> {
        let ending = self
            .pool
            .request(method::ending()?, "the end of an actor", &(), None)?;
        self.pool.close();
        let ended: Result<()> = ending.get();
        self.pool.join()?;
        ended
    }

    /// Returns the id of its process; `None` while a new one is being started.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Actor;
    /// # procession::init();
    /// let actor = Actor::new(|(): ()| (), ())?;
    /// let pid = actor.call(|(): &mut ()| std::process::id(), ())?;
    /// assert_eq!(actor.pid(), Some(pid));
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.pool.workers().first().map(|worker| worker.pid)
    }

    fn request<F: Method<S, M>, M>(
        &self,
        method: F,
        arguments: F::Input,
        limit: Option<Duration>,
    ) -> Result<AsyncResult<F::Output>> {
        let entry = method::calling(method)?;
        let what = std::any::type_name::<F>();
        self.pool.request(entry, what, &arguments, limit)
    }
}

impl PoolBuilder {
    /// Starts an [`Actor`]: a pool of one worker, which has the one object that `init` makes of
    /// `arguments`.
    ///
    /// # Errors
    /// As [`start`](Self::start), and `is_invalid` when several workers were asked for, an
    /// initializer, or what replaces workers: `tasks_per_worker`, `max_memory_per_worker`,
    /// `idle_timeout`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Pool;
    /// # procession::init();
    /// let env = |_| [("MODE", "careful")];
    /// let actor = Pool::builder().env(env).actor(|(): ()| Vec::<u8>::new(), ())?;
    /// actor.call(Vec::push, 1)?;
    /// assert_eq!(actor.call(|_: &mut Vec<u8>| std::env::var("MODE").ok(), ())?.as_deref(), Some("careful"));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn actor<N, A, S>(self, init: N, arguments: A) -> Result<Actor<S>>
    where
        N: Fn(A) -> S + CapturesNothing,
        A: Serialize + DeserializeOwned + Send + 'static,
        S: 'static,
    {
        const { must_be_bare::<N>() };
        if self.replaces_workers() {
            return Err(Error::invalid(
                "an actor is one object in one process: do without workers(), initializer(), \
                 tasks_per_worker(), max_memory_per_worker() and idle_timeout()",
            ));
        }
        let what = std::any::type_name::<N>();
        let pool = self
            .workers(1)
            .set_up_by(method::made_by(init)?, what, &arguments)
            .start()?;
        Ok(Actor {
            pool,
            object: PhantomData,
        })
    }
}

impl<S> fmt::Debug for Actor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actor")
            .field("object", &std::any::type_name::<S>())
            .field("pool", &self.pool)
            .finish()
    }
}
