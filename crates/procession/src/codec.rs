//! Values to bytes and back, by serde's traits.
//!
//! `codec/write.rs` has the form of the bytes, and makes sure with `codec/read.rs` that a value is
//! read as it was written; this file says where its bytes lie.

mod fault;
mod mark;
mod read;
mod tuple_form;
mod write;

use std::any::type_name;
use std::cell::Cell;
use std::fmt::{self, Display};
use std::ops::Deref;

use procession_engine as engine;
use procession_engine::process::Payload;
use procession_engine::shm::{Block, HandleSource, Loans};
use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::handle;

pub use fault::Fault;
pub(crate) use tuple_form::tuple_form;

/// Turns a value into bytes; `what` names it in the error.
pub fn encode<T: Serialize + ?Sized>(value: &T, what: impl Display) -> Result<Encoded> {
    let mut encoded = Encoded::default();
    encoded.few = SPARE.take();
    encoded.append(value, &what)?;
    Ok(encoded)
}

/// Encodes and decodes something, in a process whose copies will.
pub fn rehearse() {
    let encoded = collecting(|| encode(&0, "a rehearsal"));
    let decoded = encoded.and_then(|(bytes, _)| decode::<i32>(&bytes, "a rehearsal"));
    debug_assert!(matches!(decoded, Ok(0)), "{decoded:?}");
}

/// Calls `encode`, which encodes a message, and puts the loans of its handles into the message's
/// block: if nobody reads the message, they are given back.
pub fn lending(encode: impl FnOnce() -> Result<Encoded>) -> Result<Encoded> {
    let (mut encoded, loans) = collecting(encode)?;
    if !loans.is_empty() {
        encoded.many = Some(match encoded.many.take() {
            Some((block, len)) => (loans.attach_to_message(block, len as u64)?, len),
            None => {
                let len = encoded.few.len();
                (
                    loans.into_message(procession_engine::family()?, &[&encoded.few], len)?,
                    len,
                )
            }
        });
        encoded.rides = true;
    }
    Ok(encoded)
}

/// Calls `encode`, which encodes a message; returns the message and the loans of its handles.
pub fn collecting(encode: impl FnOnce() -> Result<Encoded>) -> Result<(Encoded, Loans)> {
    let (encoded, loans) = handle::collecting(encode);
    Ok((encoded?, loans))
}

/// As [`encode`], with `value` after `first` in one piece of memory.
pub fn encode_after<A: Serialize, T: Serialize + ?Sized>(
    first: &A,
    value: &T,
    what: impl Display,
) -> Result<Encoded> {
    let mut encoded = encode(first, "what comes before a value")?;
    encoded.append(value, &what)?;
    Ok(encoded)
}

/// Turns bytes back into the value; `what` names it in the error.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], what: impl Display) -> Result<T> {
    let (value, rest) = decode_first(bytes, &what)?;
    match rest.len() {
        0 => Ok(value),
        left => {
            let fault = Fault::told(format!(
                "leftover bytes ({left} of {}): the type's Deserialize reads less than its \
                 Serialize wrote, as with an implementation by hand",
                bytes.len()
            ));
            Err(unread::<T>(fault, &what))
        }
    }
}

/// As [`decode`], for a message whose objects `source` keeps alive.
pub fn decode_from<T: DeserializeOwned>(
    source: &HandleSource,
    bytes: &[u8],
    what: impl Display,
) -> Result<T> {
    handle::reading(source, || decode(bytes, what))
}

/// As [`decode`], and returns the bytes that follow the value.
pub fn decode_first<T: DeserializeOwned>(bytes: &[u8], what: impl Display) -> Result<(T, &[u8])> {
    handle::take_refusal();
    read::read(bytes).map_err(|fault| unread::<T>(fault, &what))
}

/// Says why bytes could not be read: they are wrong, or have a handle of an object that is gone.
#[cold]
fn unread<T>(fault: Fault, what: &dyn Display) -> Error {
    let cannot = || cannot("deserialise", what, type_name::<T>());
    handle::take_refusal().unwrap_or_else(|| Error::codec(cannot(), fault))
}

fn cannot(verb: &str, what: &dyn Display, kind: &str) -> String {
    format!("cannot {verb} {what} ({kind})")
}

/// Bytes that stay in this process's memory; more go straight to the arena,
/// from where the other process reads them. Small enough to stay in a cache,
/// large enough to make the way into a block rare.
const FEW: usize = 32 * 1024;

thread_local! {
    /// The memory of the latest value of few bytes, for the next one.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A value's bytes: few in memory of this process, many in a block of the
/// arena, which can be given away as it is.
#[derive(Default)]
pub struct Encoded {
    /// All the bytes, or those that are still to be moved to the block.
    few: Vec<u8>,
    /// The block and how many of its bytes are written.
    many: Option<(Block, usize)>,
    /// Whether the block carries loans.
    rides: bool,
}

impl Encoded {
    /// Tells whether the value has handles, whose loans are in its block.
    pub fn rides(&self) -> bool {
        self.rides
    }

    /// Returns the block and how many of its bytes count, if they are many.
    pub fn take_block(&mut self) -> Option<(Block, usize)> {
        self.many.take()
    }

    /// Turns the bytes into what crosses with a start or an end.
    pub fn into_payload(mut self) -> Result<Payload> {
        Ok(match self.take_block() {
            Some((block, len)) => Payload::new(block, len),
            None => Payload::copy_of(&self)?,
        })
    }

    fn append<T: Serialize + ?Sized>(&mut self, value: &T, what: &dyn Display) -> Result<()> {
        value
            .serialize(&mut *self)
            .map_err(|fault| match fault.into_engine() {
                Ok(failure) => failure.into(),
                Err(fault) => Error::codec(cannot("serialise", what, type_name::<T>()), fault),
            })?;
        Ok(self.finish()?)
    }

    /// Moves the bytes that wait to the block, which has room for `more` then.
    fn flush(&mut self, more: usize) -> engine::Result<()> {
        let needed = self.few.len() + more;
        let (mut block, mut len) = match self.many.take() {
            None => (procession_engine::family()?.alloc(with_reserve(needed))?, 0),
            Some((block, len)) if len + needed <= block.len() => (block, len),
            Some((block, len)) => {
                let mut larger = procession_engine::family()?
                    .alloc(with_reserve(len + needed).max(2 * block.capacity()))?;
                larger[..len].copy_from_slice(&block[..len]);
                (larger, len)
            }
        };
        block[len..len + self.few.len()].copy_from_slice(&self.few);
        len += self.few.len();
        self.few.clear();
        self.many = Some((block, len));
        Ok(())
    }

    #[inline]
    fn push(&mut self, byte: u8) -> engine::Result<()> {
        if self.few.len() == FEW {
            self.flush(FEW)?;
        }
        self.few.push(byte);
        Ok(())
    }

    #[inline]
    fn extend(&mut self, bytes: &[u8]) -> engine::Result<()> {
        if self.few.len() + bytes.len() > FEW {
            return self.extend_block(bytes);
        }
        self.few.extend_from_slice(bytes);
        Ok(())
    }

    /// As [`extend`](Self::extend), where the bytes that wait would be too many.
    fn extend_block(&mut self, bytes: &[u8]) -> engine::Result<()> {
        self.flush(bytes.len())?;
        match &mut self.many {
            Some((block, len)) if bytes.len() > FEW => {
                block[*len..*len + bytes.len()].copy_from_slice(bytes);
                *len += bytes.len();
            }
            _ => self.few.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn finish(&mut self) -> engine::Result<()> {
        match self.many {
            Some(_) => self.flush(0),
            None => Ok(()),
        }
    }
}

/// Returns how large a block is to be for `len` bytes and some that may follow.
fn with_reserve(len: usize) -> u64 {
    (len + len / 16 + 2 * FEW) as u64
}

impl Deref for Encoded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.many {
            Some((block, len)) => &block[..*len],
            None => &self.few,
        }
    }
}

impl Drop for Encoded {
    fn drop(&mut self) {
        let mut few = std::mem::take(&mut self.few);
        few.clear();
        SPARE.set(few);
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoded({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_same_whether_few_or_many() {
        for len in [0, 1, FEW - 3, FEW - 2, FEW, FEW + 1, 10 * FEW, 1_000_000] {
            let one_by_one: Vec<u32> = (0..len as u32).collect();
            let at_once = "x".repeat(len);
            let value = (7_u8, one_by_one, at_once.clone(), 9_u64, at_once);
            let encoded = encode(&value, "a test").unwrap();
            let numbers = value.1.iter().flat_map(|number| number.to_le_bytes());
            let long = |len: usize| match len {
                0..255 => vec![len as u8],
                _ => [&[255][..], &len.to_le_bytes()].concat(),
            };
            let expected = [
                vec![7],
                [long(len), numbers.collect()].concat(),
                [long(len), value.2.clone().into()].concat(),
                9_u64.to_le_bytes().to_vec(),
                [long(len), value.2.clone().into()].concat(),
            ];
            assert!(*encoded == expected.concat(), "{len}");
            let after = encode_after(&1_u8, &value, "a test").unwrap();
            assert!(after[1..] == *encoded);
            assert!(
                decode::<(u8, Vec<u32>, String, u64, String)>(&encoded, "it").unwrap() == value
            );
        }
    }

    #[test]
    fn many_bytes_lie_in_a_block() {
        let mut encoded = encode(&vec![1_u8; 2 * FEW], "a test").unwrap();
        let (block, len) = encoded.take_block().unwrap();
        assert_eq!(block[len - 2 * FEW..len], [1; 2 * FEW]);
        let few = encode(&vec![1_u8; FEW / 2], "a test").unwrap();
        assert_eq!(few.into_payload().unwrap().len(), FEW / 2 + 9);
    }

    #[test]
    fn what_does_not_serialise_is_named() {
        struct Refuses;
        impl Serialize for Refuses {
            fn serialize<S: serde_core::Serializer>(
                &self,
                _: S,
            ) -> std::result::Result<S::Ok, S::Error> {
                Err(serde_core::ser::Error::custom("no"))
            }
        }
        let error = encode(&Refuses, "a refusal").unwrap_err();
        assert!(
            error.is_codec() && error.to_string().contains("a refusal"),
            "{error}"
        );
    }
}
