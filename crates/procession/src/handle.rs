//! How handles of shared objects travel: as 16 bytes in any message.
//!
//! Serialising lends the object (it stays alive until the receiver attaches);
//! deserialising attaches to it. Errors of serde are texts, so why that failed is kept aside
//! for `codec.rs`.

use std::cell::Cell;

use procession_engine::shm::{Handle, HandleSource, Loans, TransferContext};
use serde_core::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;

/// Offset and serial.
type HandleParts = (u64, u64);

thread_local! {
    /// The messages that this thread is writing and reading: serde has no argument for them.
    static CONTEXT: TransferContext = const { TransferContext::new() };

    /// Whether what this thread reads comes from another machine.
    static IS_FROM_AFAR: Cell<bool> = const { Cell::new(false) };

    /// Why the latest handle could not be attached to.
    static REFUSAL: Cell<Option<Error>> = const { Cell::new(None) };
}

/// Runs `write`, which serialises a message; returns its result and the loans of the message's
/// handles.
pub fn collecting<T>(write: impl FnOnce() -> T) -> (T, Loans) {
    CONTEXT.with(|context| context.collect(write))
}

/// Runs `read`, which deserialises a message whose objects `source` keeps alive.
pub fn reading<T>(source: &HandleSource, read: impl FnOnce() -> T) -> T {
    CONTEXT.with(|context| context.read(source, read))
}

/// Calls `lend`, which lends objects to the message that is being serialised.
pub fn lend<T>(lend: impl FnOnce(&mut Loans) -> T) -> T {
    CONTEXT.with(|context| context.lend(lend))
}

/// Runs `read`, which deserialises what another machine has sent: a handle in it would be that of
/// some object of this one, and is refused.
pub fn from_afar<T>(read: impl FnOnce() -> T) -> T {
    /// Ends it also where the program's own code panics.
    struct Afar;
    impl Drop for Afar {
        fn drop(&mut self) {
            IS_FROM_AFAR.set(false);
        }
    }
    IS_FROM_AFAR.set(true);
    let _afar = Afar;
    read()
}

/// Refuses a handle that comes from another machine.
pub fn must_be_near<E: serde_core::de::Error>() -> Result<(), E> {
    if !IS_FROM_AFAR.get() {
        return Ok(());
    }
    Err(refuse(Error::invalid(
        "a result has a queue, a lock or another object that lies in the memory of the machine that \
         it comes from: return values instead",
    )))
}

/// Calls `attach`, which attaches to objects of the message that is being deserialised.
pub fn attach<T>(attach: impl FnOnce(&HandleSource) -> T) -> T {
    CONTEXT.with(|context| context.attach(attach))
}

/// Returns why the latest handle could not be attached to, once.
pub fn take_refusal() -> Option<Error> {
    REFUSAL.take()
}

/// Writes a handle that was lent for this message.
pub fn serialize<S: Serializer>(lent: Handle, serializer: S) -> Result<S::Ok, S::Error> {
    (lent.offset, lent.serial).serialize(serializer)
}

/// Reads a handle and attaches with it.
pub fn deserialize<'de, D, T, E>(
    deserializer: D,
    attach_to: impl FnOnce(Handle, &HandleSource) -> Result<T, E>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    E: Into<Error>,
{
    let (offset, serial) = HandleParts::deserialize(deserializer)?;
    must_be_near()?;
    attach(|source| attach_to(Handle { offset, serial }, source))
        .map_err(|error| refuse(error.into()))
}

/// Keeps the reason aside, for a reader that loses it.
pub fn refuse<E: serde_core::de::Error>(error: Error) -> E {
    let told = E::custom(&error);
    REFUSAL.set(Some(error));
    told
}

/// Implements serde's two traits for a type with `lend` and `attach`.
macro_rules! travels {
    ([$($generic:tt)*] $type:ty) => {
        impl<$($generic)*> serde_core::Serialize for $type {
            fn serialize<S: serde_core::Serializer>(
                &self,
                serializer: S,
            ) -> std::result::Result<S::Ok, S::Error> {
                let lent = $crate::handle::lend(|loans| self.lend(loans));
                $crate::handle::serialize(lent, serializer)
            }
        }

        impl<'de, $($generic)*> serde_core::Deserialize<'de> for $type {
            fn deserialize<D: serde_core::Deserializer<'de>>(
                deserializer: D,
            ) -> std::result::Result<Self, D::Error> {
                $crate::handle::deserialize(deserializer, Self::attach)
            }
        }
    };
}

pub(crate) use travels;
