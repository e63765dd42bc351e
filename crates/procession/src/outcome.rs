//! The outcome of a process or task: its result, its panic, or the reason why there is
//! neither.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::atomic::{AtomicBool, Ordering};

use procession_engine::ErrorKind;
use procession_engine::sys::fd::stderr;
use serde_core::de::{DeserializeOwned, Error as _};
use serde_core::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::{self, Encoded, tuple_form};
use crate::current::{self, current_process};
use crate::error::{Error, PanicInfo, Result};
use crate::remote_error::RemoteError;

/// Comes before the result's bytes.
enum Outcome {
    /// The result follows.
    Done,
    Panicked(PanicInfo),
    /// The function did not come to run, or its result could not cross.
    Failed(Failure),
}

struct Failure {
    message: String,
    why: Why,
    errno: Option<i32>,
}

tuple_form!(Failure {
    message,
    why,
    errno
});

/// The kind of a failure in another process, as its caller can ask for it.
#[derive(Clone, Copy)]
enum Why {
    /// Arguments or result could not be turned into bytes or back.
    Codec,
    OutOfMemory,
    Invalid,
    Limit,
    Stale,
    Unsupported,
    Other,
}

/// As the panic or the failure, if there is one.
impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let unhappy = match self {
            Self::Done => None,
            Self::Panicked(info) => Some(Ok(info)),
            Self::Failed(failure) => Some(Err(failure)),
        };
        unhappy.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Outcome {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let unhappy = Option::<std::result::Result<_, _>>::deserialize(deserializer)?;
        Ok(unhappy.map_or(Self::Done, |kind| {
            kind.map_or_else(Self::Failed, Self::Panicked)
        }))
    }
}

/// As its number.
impl Serialize for Why {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        (*self as u8).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Why {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        let why = Self::ALL.get(usize::from(number));
        why.copied()
            .ok_or_else(|| D::Error::custom(format!("there is no failure of kind {number}")))
    }
}

/// Tells how a function ended, without its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It returned.
    Returned,
    /// It panicked, or its arguments or result could not cross.
    Failed,
}

/// Makes a call; returns the bytes to send to the caller's process, and how the call ended.
pub fn run(
    call: impl FnOnce() -> Result<Encoded>,
    process: &str,
    voice: PanicOutput,
) -> (Encoded, Ending) {
    watch_panics();
    VOICE.set(Some(voice));
    let outcome = panic::catch_unwind(AssertUnwindSafe(call));
    VOICE.set(None);
    let failure = match outcome {
        Ok(Ok(reply)) => return (reply, Ending::Returned),
        Ok(Err(error)) => Outcome::failed(&error),
        Err(payload) => Outcome::Panicked(panic_info(payload.as_ref(), process)),
    };
    (failed(&failure), Ending::Failed)
}

/// Turns a result into bytes to send to the caller's process; `what` names it in the error.
pub fn done<R: Serialize>(result: &R, what: impl Display) -> Result<Encoded> {
    codec::lending(|| codec::encode_after(&Outcome::Done, result, what))
}

/// Turns a failure outside the function into bytes to send to the caller's process.
pub fn refuse(error: &Error) -> Encoded {
    failed(&Outcome::failed(error))
}

/// The outcome of one input of a task that has several.
pub type ItemOutcome<R> = std::result::Result<R, PanicInfo>;

/// Calls a function for one input, within [`run`]. A panic is the outcome of this input alone.
pub fn of_item<R>(call: impl FnOnce() -> R) -> ItemOutcome<R> {
    panic::catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        let process = current_process().name().to_owned();
        panic_info(payload.as_ref(), &process)
    })
}

impl Outcome {
    fn failed(error: &Error) -> Self {
        Self::Failed(Failure {
            message: error.to_string(),
            why: Why::of(error),
            errno: error.os_error(),
        })
    }
}

impl Why {
    /// Each at the place of its number.
    const ALL: [Self; 7] = [
        Self::Codec,
        Self::OutOfMemory,
        Self::Invalid,
        Self::Limit,
        Self::Stale,
        Self::Unsupported,
        Self::Other,
    ];

    fn of(error: &Error) -> Self {
        if error.is_out_of_memory() {
            return Self::OutOfMemory;
        }
        match error.engine_kind() {
            None => Self::Codec,
            Some(ErrorKind::Invalid) => Self::Invalid,
            Some(ErrorKind::Limit) => Self::Limit,
            Some(ErrorKind::Stale) => Self::Stale,
            Some(ErrorKind::Unsupported) => Self::Unsupported,
            Some(_) => Self::Other,
        }
    }

    /// Returns an equal error.
    fn error(self, message: String, errno: Option<i32>) -> Error {
        let kind = match self {
            Self::Codec => return Error::refused(message),
            Self::OutOfMemory => ErrorKind::OutOfMemory,
            Self::Invalid => ErrorKind::Invalid,
            Self::Limit => ErrorKind::Limit,
            Self::Stale => ErrorKind::Stale,
            Self::Unsupported => ErrorKind::Unsupported,
            Self::Other => ErrorKind::Os,
        };
        let error = procession_engine::Error::new(kind, message);
        match errno {
            Some(errno) => error.with_errno(errno).into(),
            None => error.into(),
        }
    }
}

fn failed(outcome: &Outcome) -> Encoded {
    // Strings and small enums always serialise. (An empty reply would be read as a failure, too.)
    codec::encode(outcome, "a failure").unwrap_or_default()
}

/// Reads an outcome.
pub fn read<R: DeserializeOwned>(bytes: &[u8], what: impl Display) -> Result<R> {
    let (outcome, rest) = codec::decode_first(bytes, &what)?;
    match outcome {
        Outcome::Done => codec::decode(rest, what),
        Outcome::Panicked(info) => Err(Error::panic(info)),
        Outcome::Failed(failure) => Err(failure.why.error(failure.message, failure.errno)),
    }
}

/// Where the text of a panic goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PanicOutput {
    /// It goes to the caller, and to this process's stderr, as in `multiprocessing`.
    Loud,
    /// It only goes to the caller: somebody waits for a pool's task, and there may be thousands of
    /// them.
    Quiet,
}

/// The details of a panic that the hook saw.
struct Seen {
    location: Option<String>,
    backtrace: Option<String>,
}

thread_local! {
    /// Where the text of a panic goes, for the wrapper that this thread runs, if it runs one.
    static VOICE: Cell<Option<PanicOutput>> = const { Cell::new(None) };

    /// The latest panic of this thread.
    static LATEST: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// Whether locks of the standard library may be taken for ever, as this is a copy by fork of a
/// process with several threads.
static LOCKED: AtomicBool = AtomicBool::new(false);

/// From here on, panics of this process take no lock of the standard library that another thread
/// may have held at the fork: neither that of stderr nor that of walks of the stack. Hooks that
/// were set before are not called either, as most of them end in the standard library's own.
pub fn avoid_locks() {
    // Relaxed: this process has no other thread yet.
    LOCKED.store(true, Ordering::Relaxed);
}

/// Sets a hook that notes each panic of a wrapper, and calls the hook before it for panics whose
/// text is to be printed.
///
/// The hooks have a lock, too, so a process that forks calls this before.
#[expect(
    clippy::disallowed_types,
    reason = "the hook must be set once, and be there when this returns"
)]
pub fn watch_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            let voice = VOICE.get();
            if voice.is_some() {
                LATEST.set(Some(see(info)));
            }
            if voice != Some(PanicOutput::Quiet) {
                if current::is_started() {
                    let own = current_process();
                    let heading = format!("\nin process {} (pid {}):", own.name(), own.pid());
                    // Written in one piece, as several processes may write at a time.
                    stderr::write(heading.as_bytes());
                }
                if LOCKED.load(Ordering::Relaxed) {
                    stderr::write(format!("\n{info}\n").as_bytes());
                } else {
                    before(info);
                }
            }
        }));
    });
}

fn see(info: &PanicHookInfo<'_>) -> Seen {
    Seen {
        location: info.location().map(ToString::to_string),
        backtrace: backtrace(),
    }
}

fn backtrace() -> Option<String> {
    if LOCKED.load(Ordering::Relaxed) {
        return None;
    }
    let backtrace = Backtrace::capture();
    (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string())
}

fn panic_info(payload: &(dyn std::any::Any + Send), process: &str) -> PanicInfo {
    let message = payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned());
    let error = error_of(payload);
    let (message, sources) = match (message, error) {
        (Some(message), _) => (message, Vec::new()),
        (None, Some(error)) => (error.to_string(), error.sources().to_vec()),
        (None, None) => ("a value that is no text".to_owned(), Vec::new()),
    };
    let seen = LATEST.take();
    let (location, backtrace) = seen.map_or((None, None), |seen| (seen.location, seen.backtrace));
    PanicInfo {
        process: process.to_owned(),
        message,
        location,
        backtrace,
        sources,
    }
}

/// Returns the error that a panic carries, if it is one.
fn error_of(payload: &(dyn std::any::Any + Send)) -> Option<RemoteError> {
    type Sent = Box<dyn std::error::Error + Send>;
    type Shared = Box<dyn std::error::Error + Send + Sync>;
    if let Some(error) = payload.downcast_ref::<Shared>() {
        return Some(RemoteError::new(&**error));
    }
    if let Some(error) = payload.downcast_ref::<Sent>() {
        return Some(RemoteError::new(&**error));
    }
    payload.downcast_ref::<RemoteError>().cloned()
}
