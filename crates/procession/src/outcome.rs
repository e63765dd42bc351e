//! What a process or task brings home: its result, its panic, or why neither.

use std::cell::RefCell;
use std::fmt::Display;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{self, Encoded};
use crate::error::{Error, PanicInfo, Result};
use crate::function::Entry;

/// Comes before the result's bytes.
#[derive(Serialize, Deserialize)]
enum Outcome {
    /// The result follows.
    Done,
    Panicked(PanicInfo),
    /// The arguments or the result could not cross.
    Failed(String),
}

/// Tells how a function ended, without its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It returned.
    Returned,
    /// It panicked, or its arguments or result could not cross.
    Failed,
}

/// Runs an entry; returns the bytes to send home and how it ended.
pub fn run(entry: Entry, input: &[u8], process: &str) -> (Encoded, Ending) {
    watch_panics();
    LAST_PANIC.with_borrow_mut(|last| *last = None);
    let failure = match panic::catch_unwind(AssertUnwindSafe(|| entry(input))) {
        Ok(Ok(reply)) => return (reply, Ending::Returned),
        Ok(Err(error)) => Outcome::Failed(error.to_string()),
        Err(payload) => Outcome::Panicked(panic_info(payload.as_ref(), process)),
    };
    (failed(&failure), Ending::Failed)
}

/// Turns a result into bytes to send home; `what` names it in the error.
pub fn done<R: Serialize>(result: &R, what: impl Display) -> Result<Encoded> {
    codec::encode_after(&Outcome::Done, result, what)
}

/// Turns a failure outside the function into bytes to send home.
pub fn refuse(error: &Error) -> Encoded {
    failed(&Outcome::Failed(error.to_string()))
}

fn failed(outcome: &Outcome) -> Encoded {
    // Strings and small enums always serialise; an empty reply would be read
    // as a failure too.
    codec::encode(outcome, "a failure").unwrap_or_default()
}

/// Reads what came home.
pub fn read<R: DeserializeOwned>(bytes: &[u8], what: impl Display) -> Result<R> {
    let (outcome, rest) = codec::decode_first(bytes, &what)?;
    match outcome {
        Outcome::Done => codec::decode(rest, what),
        Outcome::Panicked(info) => Err(Error::panic(info)),
        Outcome::Failed(message) => Err(Error::refused(message)),
    }
}

thread_local! {
    /// Where the latest panic of this thread happened.
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Notes the place of each panic before the hook that was there runs.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            let place = info.location().map(ToString::to_string);
            LAST_PANIC.with_borrow_mut(|last| *last = place);
            before(info);
        }));
    });
}

fn panic_info(payload: &(dyn std::any::Any + Send), process: &str) -> PanicInfo {
    let message = payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is no text".to_owned());
    PanicInfo {
        process: process.to_owned(),
        message,
        location: LAST_PANIC.with_borrow_mut(Option::take),
    }
}
