//! The bytes of what values are made of, in postcard's form: integers of more than one byte in groups
//! of seven bits, the lowest first, signed ones with the sign in the lowest bit; floats in four and
//! eight bytes; texts and bytes behind their length.
//!
//! It is written here, as postcard itself brings syn and six other crates, which took a fifth of
//! the time in which a small program was built. Tests compare the two.

use std::str;

use super::fault::Fault;

type Result<T = ()> = std::result::Result<T, Fault>;

/// Takes bytes, one after another.
pub trait Output {
    fn push(&mut self, byte: u8) -> Result;
    fn extend(&mut self, bytes: &[u8]) -> Result;
}

/// A type of integers that is written in groups of seven bits.
pub trait Varint: Sized {
    fn write<O: Output>(self, output: &mut O) -> Result;
    fn read(input: &mut Unread<'_>) -> Result<Self>;
}

macro_rules! varint {
    ($($unsigned:ident $signed:ident),*) => {
        $(impl Varint for $unsigned {
            #[inline]
            fn write<O: Output>(self, output: &mut O) -> Result {
                if self < 0x80 {
                    return output.push(self as u8);
                }
                let mut groups = [0; Self::BITS.div_ceil(7) as usize];
                let (mut len, mut left) = (0, self);
                while left >= 0x80 {
                    groups[len] = left as u8 | 0x80;
                    len += 1;
                    left >>= 7;
                }
                groups[len] = left as u8;
                output.extend(&groups[..=len])
            }

            #[inline]
            fn read(input: &mut Unread<'_>) -> Result<Self> {
                let mut read = 0;
                let mut shift = 0;
                loop {
                    let byte = input.byte()?;
                    let bits = Self::from(byte & 0x7f);
                    let shifted = bits << shift;
                    if shifted >> shift != bits {
                        return Err(Fault::form(TOO_LARGE));
                    }
                    read |= shifted;
                    if byte < 0x80 {
                        return Ok(read);
                    }
                    shift += 7;
                    if shift >= Self::BITS {
                        return Err(Fault::form(TOO_LARGE));
                    }
                }
            }
        }

        impl Varint for $signed {
            #[inline]
            fn write<O: Output>(self, output: &mut O) -> Result {
                (((self << 1) ^ (self >> (Self::BITS - 1))) as $unsigned).write(output)
            }

            #[inline]
            fn read(input: &mut Unread<'_>) -> Result<Self> {
                let read = $unsigned::read(input)?;
                Ok((read >> 1) as Self ^ -((read & 1) as Self))
            }
        })*
    };
}

varint!(u16 i16, u32 i32, u64 i64, u128 i128);

const TOO_LARGE: &str = "a number is too large for its type";

/// Writes bytes behind their length.
#[inline]
pub fn write_bytes<O: Output>(bytes: &[u8], output: &mut O) -> Result {
    (bytes.len() as u64).write(output)?;
    output.extend(bytes)
}

/// Bytes that are yet to be read.
pub struct Unread<'de>(pub &'de [u8]);

impl<'de> Unread<'de> {
    #[inline]
    pub fn byte(&mut self) -> Result<u8> {
        let (byte, rest) = self.0.split_first().ok_or_else(Fault::missing)?;
        self.0 = rest;
        Ok(*byte)
    }

    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'de [u8]> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(Fault::missing)?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline]
    pub fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(Fault::missing)?;
        self.0 = rest;
        Ok(*taken)
    }

    #[inline]
    pub fn len(&mut self) -> Result<usize> {
        Ok(u64::read(self)? as usize)
    }

    #[inline]
    pub fn bool(&mut self) -> Result<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Fault::form("a bool or an Option is neither 0 nor 1")),
        }
    }

    #[inline]
    pub fn bytes(&mut self) -> Result<&'de [u8]> {
        let len = self.len()?;
        self.take(len)
    }

    #[inline]
    pub fn text(&mut self) -> Result<&'de str> {
        str::from_utf8(self.bytes()?).map_err(|_| Fault::form("a text is not UTF-8"))
    }

    #[inline]
    pub fn char(&mut self) -> Result<char> {
        let mut chars = self.text()?.chars();
        match (chars.next(), chars.next()) {
            (Some(char), None) => Ok(char),
            _ => Err(Fault::form("a char is not one character")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use proptest::prelude::*;
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::super::{decode, encode};

    /// Checks that both write the same, and read what the other has written.
    fn must_agree<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
        let ours = encode(value, "a value").unwrap();
        let theirs = postcard::to_stdvec(value).unwrap();
        assert_eq!(*ours, theirs, "{value:?}");
        assert_eq!(decode::<T>(&theirs, "a value").unwrap(), *value);
    }

    #[test]
    fn the_ends_of_all_numbers_are_as_in_postcard() {
        macro_rules! ends {
            ($($type:ident),*) => {
                $(for value in [$type::MIN, 1 as $type, 127 as $type, $type::MAX / 2, $type::MAX] {
                    must_agree(&value);
                })*
            };
        }
        ends!(
            i8, i16, i32, i64, i128, u8, u16, u32, u64, u128, isize, usize
        );
        for shift in 0..128 {
            must_agree(&(1_u128 << shift));
            must_agree(&((1_u128 << shift) - 1));
            must_agree(&(-1_i128 << shift));
        }
    }

    proptest! {
        #[test]
        fn values_are_as_in_postcard(
            unsigned in any::<(u8, u16, u32, u64, u128)>(),
            signed in any::<(i8, i16, i32, i64, i128)>(),
            others in any::<(bool, char, String, Option<Vec<u32>>, f32, f64)>(),
        ) {
            must_agree(&(unsigned, signed, others));
        }

        /// What one of the two takes for a number, the other takes for the same.
        #[test]
        fn bytes_are_read_as_postcard_reads_them(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 0x7e..0x82_u8, Just(0xff)], 1..21),
        ) {
            macro_rules! same {
                ($($type:ty),*) => {
                    $(prop_assert_eq!(
                        super::super::decode_first::<$type>(&bytes, "a value").ok(),
                        postcard::take_from_bytes::<$type>(&bytes).ok()
                    );)*
                };
            }
            same!(bool, i8, u16, u32, u64, u128, i16, i32, i64, i128, String, Option<u16>);
        }
    }
}
