//! Turns values into bytes, and refuses values that would not come back.
//!
//! Numbers are written as they lie in memory, the lowest byte first; lengths before what they count, in
//! one byte where they are small ([`LONG`]).
//!
//! The bytes do not describe themselves: a reader knows from the type alone what comes next.
//! So a type whose Serialize and Deserialize do not agree is read as something else, silently. This
//! file refuses faults that show when a value is written: fields that are left out of it, lengths
//! that are not kept. For faults that show only when it is read, this file writes the number of
//! fields before each struct and a [`Mark`] beside each variant, and `read.rs` compares them.

use serde_core::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::Encoded;
use super::fault::{ADVICE, Fault};
use super::mark::{Kind, Mark};

type Result<T = ()> = std::result::Result<T, Fault>;

/// Comes before a length of this and more, which takes eight bytes; a smaller one is one byte.
pub const LONG: u8 = u8::MAX;

impl Encoded {
    /// Writes how many bytes, items or parts follow.
    #[inline]
    fn len_first(&mut self, len: usize) -> Result {
        if len < usize::from(LONG) {
            return Ok(self.push(len as u8)?);
        }
        self.push(LONG)?;
        Ok(self.extend(&(len as u64).to_le_bytes())?)
    }

    #[inline]
    fn variant(&mut self, index: u32, name: &'static str, kind: Kind) -> Result {
        self.len_first(index as usize)?;
        Ok(self.extend(&Mark::of(name, kind).bytes())?)
    }

    /// Begins a value that has as many parts as its type says.
    #[inline]
    fn parts(&mut self, name: &'static str, len: usize) -> PartsWriter<'_> {
        PartsWriter {
            output: self,
            name,
            left: len,
        }
    }

    /// As [`parts`](Self::parts), and writes how many there are.
    #[inline]
    fn counted(&mut self, name: &'static str, len: usize) -> Result<PartsWriter<'_>> {
        self.len_first(len)?;
        Ok(self.parts(name, len))
    }
}

macro_rules! numbers {
    ($($method:ident($type:ty)),* $(,)?) => {
        $(#[inline]
        fn $method(self, number: $type) -> Result {
            Ok(self.extend(&number.to_le_bytes())?)
        })*
    };
}

impl<'a> Serializer for &'a mut Encoded {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = PartsWriter<'a>;
    type SerializeTuple = PartsWriter<'a>;
    type SerializeTupleStruct = PartsWriter<'a>;
    type SerializeTupleVariant = PartsWriter<'a>;
    type SerializeMap = PartsWriter<'a>;
    type SerializeStruct = PartsWriter<'a>;
    type SerializeStructVariant = PartsWriter<'a>;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    numbers!(
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_i128(i128),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_u128(u128),
        serialize_f32(f32),
        serialize_f64(f64),
    );

    #[inline]
    fn serialize_u8(self, byte: u8) -> Result {
        Ok(self.push(byte)?)
    }

    #[inline]
    fn serialize_i8(self, number: i8) -> Result {
        self.serialize_u8(number as u8)
    }

    #[inline]
    fn serialize_bool(self, is: bool) -> Result {
        self.serialize_u8(is.into())
    }

    #[inline]
    fn serialize_char(self, letter: char) -> Result {
        self.serialize_u32(letter.into())
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Result {
        self.serialize_bytes(text.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, bytes: &[u8]) -> Result {
        self.len_first(bytes.len())?;
        Ok(self.extend(bytes)?)
    }

    #[inline]
    fn serialize_none(self) -> Result {
        self.serialize_u8(0)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result {
        self.push(1)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _name: &'static str) -> Result {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        _name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result {
        self.variant(index, variant, Kind::Unit)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result {
        self.variant(index, variant, Kind::Newtype)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<PartsWriter<'a>> {
        match len {
            Some(len) => self.counted("a sequence", len),
            None => Err(Fault::told(format!(
                "a sequence does not say how many items it has (collect it first); {ADVICE}"
            ))),
        }
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<PartsWriter<'a>> {
        Ok(self.parts("a tuple", len))
    }

    #[inline]
    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<PartsWriter<'a>> {
        self.counted(name, len)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<PartsWriter<'a>> {
        self.variant(index, variant, Kind::Tuple)?;
        self.counted(variant, len)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<PartsWriter<'a>> {
        match len {
            Some(len) => self.counted("a map", len),
            None => Err(Fault::told(format!(
                "a map does not say how many entries it has, as with `#[serde(flatten)]`; {ADVICE}"
            ))),
        }
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<PartsWriter<'a>> {
        self.counted(name, len)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<PartsWriter<'a>> {
        self.variant(index, variant, Kind::Struct)?;
        self.counted(variant, len)
    }
}

/// A value that consists of parts, as many as were announced.
pub struct PartsWriter<'a> {
    output: &'a mut Encoded,
    name: &'static str,
    /// How many parts are to come; wraps if there are too many.
    left: usize,
}

impl PartsWriter<'_> {
    #[inline]
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.left = self.left.wrapping_sub(1);
        value.serialize(&mut *self.output)
    }

    #[inline]
    fn all(self) -> Result {
        match self.left {
            0 => Ok(()),
            _ => Err(self.miscounted()),
        }
    }

    #[cold]
    fn miscounted(self) -> Fault {
        let (left, name) = (self.left as isize, self.name);
        let (count, verb) = (left.unsigned_abs(), if left > 0 { "fewer" } else { "more" });
        Fault::told(format!(
            "the Serialize of {name} wrote {count} {verb} parts than it had announced; {ADVICE}"
        ))
    }

    #[cold]
    fn skipped(&self, key: &'static str) -> Fault {
        let name = self.name;
        Fault::told(format!(
            "`{key}` of {name} is left out of this value, as with \
             `#[serde(skip_serializing_if = ..)]`, and the reader could not know that; {ADVICE}"
        ))
    }
}

macro_rules! parts {
    ($($trait:ident::$method:ident),* $(,)?) => {
        $(impl $trait for PartsWriter<'_> {
            type Ok = ();
            type Error = Fault;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
                self.part(value)
            }

            #[inline]
            fn end(self) -> Result {
                self.all()
            }
        })*
    };
}

parts!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
);

macro_rules! named_parts {
    ($($trait:ident),* $(,)?) => {
        $(impl $trait for PartsWriter<'_> {
            type Ok = ();
            type Error = Fault;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                _key: &'static str,
                value: &T,
            ) -> Result {
                self.part(value)
            }

            #[inline]
            fn skip_field(&mut self, key: &'static str) -> Result {
                Err(self.skipped(key))
            }

            #[inline]
            fn end(self) -> Result {
                self.all()
            }
        })*
    };
}

named_parts!(SerializeStruct, SerializeStructVariant);

impl SerializeMap for PartsWriter<'_> {
    type Ok = ();
    type Error = Fault;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result {
        self.part(key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        value.serialize(&mut *self.output)
    }

    #[inline]
    fn end(self) -> Result {
        self.all()
    }
}
