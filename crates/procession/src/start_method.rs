//! Start methods, and the default for processes that name none.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};

use serde_core::de::Error as _;
use serde_core::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// How a process comes into being.
///
/// # Examples
///
/// ```
/// use procession::{Process, StartMethod};
///
/// # procession::init();
/// let child = Process::new(|| 42).start_method(StartMethod::Spawn).start()?;
/// assert_eq!(child.join()?, 42);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartMethod {
    /// A copy of the calling process, by `fork`.
    ///
    /// Fast for small processes, and unsafe in one with several threads: the
    /// child has only the calling thread, and a lock that another thread held
    /// stays locked in it for ever. Hence only [`Process::start_by_fork`],
    /// which is `unsafe`, uses it.
    ///
    /// [`Process::start_by_fork`]: crate::Process::start_by_fork
    Fork,
    /// A fresh image of the program, by `exec`.
    Spawn,
    /// A fork of a small server that was spawned once; it keeps processes
    /// ready, so this is the fastest way whatever the caller's size.
    ForkServer,
}

/// The process-wide default, as set by [`set_start_method`].
static DEFAULT: AtomicU8 = AtomicU8::new(UNSET);
const UNSET: u8 = 0;

impl StartMethod {
    /// All start methods, the default first.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::StartMethod;
    /// assert_eq!(StartMethod::ALL.map(StartMethod::name), ["forkserver", "spawn", "fork"]);
    /// ```
    pub const ALL: [Self; 3] = [Self::ForkServer, Self::Spawn, Self::Fork];

    /// Returns the method's name in `multiprocessing`: fork, spawn, forkserver.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession::StartMethod;
    ///
    /// assert_eq!(StartMethod::ForkServer.name(), "forkserver");
    /// ```
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Spawn => "spawn",
            Self::ForkServer => "forkserver",
        }
    }

    /// Returns the method of a name.
    ///
    /// # Errors
    /// `is_invalid` when there is no such method.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession::StartMethod;
    ///
    /// assert_eq!(StartMethod::from_name("spawn")?, StartMethod::Spawn);
    /// assert!(StartMethod::from_name("teleport").is_err());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn from_name(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|method| method.name() == name)
            .ok_or_else(|| {
                Error::invalid(format!(
                    "there is no start method {name:?}; there are fork, spawn and forkserver"
                ))
            })
    }

    fn number(self) -> u8 {
        match self {
            Self::Fork => 1,
            Self::Spawn => 2,
            Self::ForkServer => 3,
        }
    }
}

impl fmt::Display for StartMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// As its name.
impl Serialize for StartMethod {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.name().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for StartMethod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name).map_err(D::Error::custom)
    }
}

impl FromStr for StartMethod {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::from_name(name)
    }
}

/// Sets the start method of all processes and pools that do not name one, in
/// this process and those it starts from now on.
///
/// # Errors
/// `is_invalid` for [`StartMethod::Fork`], which must be chosen explicitly
/// each time, with `unsafe`.
///
/// # Examples
///
/// ```
/// use procession::{Process, StartMethod, set_start_method, start_method};
///
/// # procession::init();
/// assert_eq!(start_method(), StartMethod::ForkServer);
/// set_start_method(StartMethod::Spawn)?;
/// let child = Process::new(start_method).start()?;
/// assert_eq!(child.join()?, StartMethod::Spawn);
/// # Ok::<(), procession::Error>(())
/// ```
pub fn set_start_method(method: StartMethod) -> Result<()> {
    if method == StartMethod::Fork {
        return Err(Error::invalid(
            "fork cannot be the default in Rust: choose it per process with \
             `unsafe { process.start_by_fork() }`",
        ));
    }
    DEFAULT.store(method.number(), Ordering::Relaxed);
    Ok(())
}

/// Returns the start method of processes and pools that do not name one.
///
/// # Examples
///
/// ```
/// use procession::{StartMethod, set_start_method, start_method};
///
/// assert_eq!(start_method(), StartMethod::ForkServer);
/// set_start_method(StartMethod::Spawn)?;
/// assert_eq!(start_method(), StartMethod::Spawn);
/// # Ok::<(), procession::Error>(())
/// ```
#[must_use]
pub fn start_method() -> StartMethod {
    let number = DEFAULT.load(Ordering::Relaxed);
    StartMethod::ALL
        .into_iter()
        .find(|method| method.number() == number)
        .unwrap_or(StartMethod::ForkServer)
}

/// Takes over the default of the process that started this one.
pub(crate) fn inherit(method: StartMethod) {
    DEFAULT.store(method.number(), Ordering::Relaxed);
}
