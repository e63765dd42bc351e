//! How handles of shared objects travel: as 16 bytes in any message.
//!
//! Serialising lends the object (it stays alive until the receiver attaches);
//! deserialising attaches to it.

use procession_engine::arena::Handle;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
struct Numbers(u64, u64);

/// Writes a handle that was lent for this message.
pub fn serialize<S: Serializer>(lent: Handle, serializer: S) -> Result<S::Ok, S::Error> {
    Numbers(lent.offset, lent.serial).serialize(serializer)
}

/// Reads a handle and attaches with it.
pub fn deserialize<'de, D, T, E>(
    deserializer: D,
    attach: impl FnOnce(Handle) -> Result<T, E>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    E: std::fmt::Display,
{
    let Numbers(offset, serial) = Numbers::deserialize(deserializer)?;
    attach(Handle { offset, serial }).map_err(D::Error::custom)
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
