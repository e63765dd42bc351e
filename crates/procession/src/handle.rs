//! How handles of shared objects travel: as 16 bytes in any message.
//!
//! Serialising lends the object (it stays alive until the receiver attaches);
//! deserialising attaches to it. Postcard's errors have no room for why that
//! failed, so the reason is kept aside for `codec.rs`.

use std::cell::Cell;

use procession_engine::shm::Handle;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;

/// Offset and serial.
type HandleParts = (u64, u64);

thread_local! {
    /// Why the latest handle could not be attached to.
    static REFUSAL: Cell<Option<Error>> = const { Cell::new(None) };
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
    attach: impl FnOnce(Handle) -> Result<T, E>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    E: Into<Error>,
{
    let (offset, serial) = HandleParts::deserialize(deserializer)?;
    attach(Handle { offset, serial }).map_err(|error| refuse(error.into()))
}

/// Keeps the reason aside, for a reader that loses it.
pub fn refuse<E: serde::de::Error>(error: Error) -> E {
    let told = E::custom(&error);
    REFUSAL.set(Some(error));
    told
}

/// Implements serde's two traits for a type with `lend` and `attach`.
macro_rules! travels {
    ([$($generic:tt)*] $type:ty) => {
        impl<$($generic)*> serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(
                &self,
                serializer: S,
            ) -> std::result::Result<S::Ok, S::Error> {
                $crate::handle::serialize(self.lend(), serializer)
            }
        }

        impl<'de, $($generic)*> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(
                deserializer: D,
            ) -> std::result::Result<Self, D::Error> {
                $crate::handle::deserialize(deserializer, Self::attach)
            }
        }
    };
}

pub(crate) use travels;
