//! Preparing and starting a process.

use std::fmt;
use std::marker::PhantomData;

use crate::child::Child;
use crate::error::Result;
use crate::function::{Callable, EntryRef, must_be_bare};
use crate::launch::{self, Launch, Role};
use crate::run::{Run, RunOf, Running};
use crate::start_method::{self, StartMethod};

/// A process that is yet to be started: its function, arguments and name.
///
/// [`start`](Process::start) consumes it, so starting twice does not compile;
/// and a function that takes arguments has no `start` before
/// [`args`](Process::args).
///
/// # Examples
///
/// A function and its argument:
///
/// ```
/// use procession::Process;
///
/// fn doubler(number: u64) -> u64 {
///     number * 2
/// }
///
/// # procession::init();
/// let child = Process::new(doubler).name("Test").args(2).start()?;
/// assert_eq!(child.name(), "Test");
/// assert_eq!(child.join()?, 4);
/// # Ok::<(), procession::Error>(())
/// ```
///
/// Starting twice does not compile:
///
/// ```compile_fail
/// # use procession::Process;
/// let process = Process::new(|| 1);
/// let first = process.start();
/// let second = process.start();
/// ```
///
/// Neither does a closure that captures:
///
/// ```compile_fail
/// # use procession::Process;
/// let factor = std::hint::black_box(3);
/// let child = Process::new(move |x: i32| x * factor).args(2).start();
/// ```
#[must_use = "a process does nothing before it is started"]
pub struct Process<F, M, A = Missing> {
    function: F,
    arguments: A,
    options: Options,
    marker: PhantomData<fn(M)>,
}

#[derive(Debug, Default)]
struct Options {
    name: Option<String>,
    daemon: bool,
    method: Option<StartMethod>,
}

/// The arguments are yet to be given.
///
/// # Examples
///
/// ```
/// use procession::{Process, StartMethod};
///
/// fn double(number: u64) -> u64 {
///     number * 2
/// }
///
/// # procession::init();
/// // Its argument is yet to be given, so it has no `start`.
/// let process = Process::new(double).start_method(StartMethod::Spawn);
/// assert_eq!(process.args(4).start()?.join()?, 8);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Missing;

/// The arguments are given.
///
/// # Examples
///
/// ```
/// use procession::{Callable, Given, Process, Result};
///
/// /// Starts a process under a name, whatever its function.
/// fn named<F: Callable<M>, M>(process: Process<F, M, Given<F, M>>) -> Result<F::Output> {
///     process.name("Ada").start()?.join()
/// }
///
/// # procession::init();
/// assert_eq!(named(Process::new(|n: u64| n * 2).args(4))?, 8);
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Given<F: Callable<M>, M>(F::Input);

impl<F: Callable<M>, M> fmt::Debug for Given<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Given")
    }
}

impl<F: Callable<M>, M> Process<F, M, Missing> {
    /// Prepares a process that runs `function`: an `fn`, or a closure that
    /// captures nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Process;
    /// # procession::init();
    /// let child = Process::new(|| 6 * 7).start()?;
    /// assert_eq!(child.join()?, 42);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn new(function: F) -> Self {
        const { must_be_bare::<F>() };
        Self {
            function,
            arguments: Missing,
            options: Options::default(),
            marker: PhantomData,
        }
    }

    /// Gives the arguments: one as itself, several as a tuple.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Process;
    /// # procession::init();
    /// let greet = |greeting: String, times: usize| greeting.repeat(times);
    /// let child = Process::new(greet).args(("hello ".to_owned(), 2)).start()?;
    /// assert_eq!(child.join()?, "hello hello ");
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn args(self, arguments: F::Input) -> Process<F, M, Given<F, M>> {
        Process {
            function: self.function,
            arguments: Given(arguments),
            options: self.options,
            marker: PhantomData,
        }
    }
}

impl<F: Callable<M, Input = ()>, M> Process<F, M, Missing> {
    /// Starts a process whose function takes no arguments.
    ///
    /// # Errors
    /// As with arguments.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Process;
    /// # procession::init();
    /// let child = Process::new(|| 6 * 7).start()?;
    /// assert_eq!(child.join()?, 42);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn start(self) -> Result<Child<F::Output>> {
        self.args(()).start()
    }
}

impl<F: Callable<M>, M> Process<F, M, Given<F, M>> {
    /// Starts the process.
    ///
    /// # Errors
    /// `is_uninitialised` when `procession::init()` was not called,
    /// `is_codec` when the arguments do not serialise, `is_invalid` for
    /// [`StartMethod::Fork`], and the system's refusal when it has no room for
    /// another process. Nothing is left behind then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Process;
    /// # procession::init();
    /// let child = Process::new(|text: String| text.to_uppercase()).args("hello".to_owned()).start()?;
    /// assert_eq!(child.join()?, "HELLO");
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn start(self) -> Result<Child<F::Output>> {
        let (launch, input) = self.prepared()?;
        let function = std::any::type_name::<F>();
        let started = launch::start(&launch, &input, format_args!("the arguments of {function}"))?;
        Ok(Child::new(started, launch))
    }

    /// Returns what the process is told, and its arguments.
    pub(crate) fn prepared(self) -> Result<(Launch, F::Input)> {
        let launch = Launch {
            role: Role::Task(EntryRef::of(self.function)?),
            name: launch::process_name(self.options.name),
            daemon: self.options.daemon,
            method: self
                .options
                .method
                .unwrap_or_else(start_method::start_method),
            default_method: start_method::start_method(),
            server: None,
            env: Vec::new(),
            #[cfg(any(feature = "log", feature = "tracing"))]
            relay: crate::relay::given(),
        };
        Ok((launch, self.arguments.0))
    }
}

impl<F: Callable<M>, M, A> Process<F, M, A> {
    /// Names the process; by default `Process-1`, `Process-2` and so on.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Process;
    /// # procession::init();
    /// let child = Process::new(|| 1).name("Ada").start()?;
    /// assert_eq!(child.name(), "Ada");
    /// # child.wait()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = Some(name.into());
        self
    }

    /// Makes the process end when this one does, by whatever cause.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Event, Process};
    /// # procession::init();
    /// let process = Process::new(|go: Event| go.wait().is_ok()).daemon(true);
    /// let child = process.args(Event::new()?).start()?;
    /// assert!(child.is_daemon());
    /// // It waits for ever, and ends with this process.
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.options.daemon = daemon;
        self
    }

    /// Chooses how the process is started; by default as
    /// [`set_start_method`](crate::set_start_method) says.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Process, StartMethod};
    /// # procession::init();
    /// let child = Process::new(|| 42).start_method(StartMethod::Spawn).start()?;
    /// assert_eq!(child.start_method(), StartMethod::Spawn);
    /// assert_eq!(child.join()?, 42);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.options.method = Some(method);
        self
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
        Process::new(RunOf::NEW).args(worker)
    }
}

impl<F, M, A> fmt::Debug for Process<F, M, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("function", &std::any::type_name::<F>())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
