//! Turns values into postcard's bytes, and refuses values that would not come back.
//!
//! Postcard's format does not describe itself: a reader knows from the type alone what comes next.
//! So a type whose Serialize and Deserialize do not agree is read as something else, silently. This
//! file refuses faults that show when a value is written: fields that are left out of it, lengths
//! that are not kept. For faults that show only when it is read, this file writes the number of
//! fields before each struct and a [`Mark`] beside each variant, and `read.rs` compares them.

use serde_core::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::fault::{ADVICE, Fault};
use super::form::{Output, Varint, write_bytes};
use super::mark::{Kind, Mark};

type Result<T = ()> = std::result::Result<T, Fault>;

/// Writes a value into `output`.
pub fn write<T: Serialize + ?Sized, O: Output>(value: &T, output: &mut O) -> Result {
    value.serialize(&mut Writer { output })
}

struct Writer<'o, O> {
    output: &'o mut O,
}

impl<'o, O: Output> Writer<'o, O> {
    #[inline]
    fn variant(&mut self, index: u32, name: &'static str, kind: Kind) -> Result {
        index.write(self.output)?;
        self.output.extend(&Mark::of(name, kind).bytes())
    }

    /// Begins a value that has as many parts as its type says.
    #[inline]
    fn parts(&mut self, name: &'static str, len: usize) -> PartsWriter<'_, 'o, O> {
        PartsWriter {
            writer: self,
            name,
            left: len,
        }
    }

    /// As [`parts`](Self::parts), and writes how many there are.
    #[inline]
    fn counted(&mut self, name: &'static str, len: usize) -> Result<PartsWriter<'_, 'o, O>> {
        (len as u64).write(self.output)?;
        Ok(self.parts(name, len))
    }
}

macro_rules! varints {
    ($($method:ident($type:ty)),* $(,)?) => {
        $(#[inline]
        fn $method(self, value: $type) -> Result {
            value.write(self.output)
        })*
    };
}

impl<'a, 'o, O: Output> Serializer for &'a mut Writer<'o, O> {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = PartsWriter<'a, 'o, O>;
    type SerializeTuple = PartsWriter<'a, 'o, O>;
    type SerializeTupleStruct = PartsWriter<'a, 'o, O>;
    type SerializeTupleVariant = PartsWriter<'a, 'o, O>;
    type SerializeMap = PartsWriter<'a, 'o, O>;
    type SerializeStruct = PartsWriter<'a, 'o, O>;
    type SerializeStructVariant = PartsWriter<'a, 'o, O>;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result {
        self.output.push(u8::from(value))
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> Result {
        self.output.push(value)
    }

    #[inline]
    fn serialize_i8(self, value: i8) -> Result {
        self.output.push(value as u8)
    }

    varints!(
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_i128(i128),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_u128(u128),
    );

    #[inline]
    fn serialize_f32(self, value: f32) -> Result {
        self.output.extend(&value.to_le_bytes())
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result {
        self.output.extend(&value.to_le_bytes())
    }

    #[inline]
    fn serialize_char(self, value: char) -> Result {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result {
        write_bytes(value.as_bytes(), self.output)
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result {
        write_bytes(value, self.output)
    }

    #[inline]
    fn serialize_none(self) -> Result {
        self.output.push(0)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result {
        self.output.push(1)?;
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
    fn serialize_seq(self, len: Option<usize>) -> Result<PartsWriter<'a, 'o, O>> {
        match len {
            Some(len) => self.counted("a sequence", len),
            None => Err(Fault::told(format!(
                "a sequence does not say how many items it has (collect it first); {ADVICE}"
            ))),
        }
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<PartsWriter<'a, 'o, O>> {
        Ok(self.parts("a tuple", len))
    }

    #[inline]
    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<PartsWriter<'a, 'o, O>> {
        self.counted(name, len)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<PartsWriter<'a, 'o, O>> {
        self.variant(index, variant, Kind::Tuple)?;
        self.counted(variant, len)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<PartsWriter<'a, 'o, O>> {
        match len {
            Some(len) => self.counted("a map", len),
            None => Err(Fault::told(format!(
                "a map does not say how many entries it has, as with `#[serde(flatten)]`; {ADVICE}"
            ))),
        }
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<PartsWriter<'a, 'o, O>> {
        self.counted(name, len)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<PartsWriter<'a, 'o, O>> {
        self.variant(index, variant, Kind::Struct)?;
        self.counted(variant, len)
    }
}

/// A value that consists of parts, as many as were announced.
struct PartsWriter<'a, 'o, O> {
    writer: &'a mut Writer<'o, O>,
    name: &'static str,
    /// How many parts are to come; wraps if there are too many.
    left: usize,
}

impl<O: Output> PartsWriter<'_, '_, O> {
    #[inline]
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.left = self.left.wrapping_sub(1);
        value.serialize(&mut *self.writer)
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
        $(impl<O: Output> $trait for PartsWriter<'_, '_, O> {
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
        $(impl<O: Output> $trait for PartsWriter<'_, '_, O> {
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

impl<O: Output> SerializeMap for PartsWriter<'_, '_, O> {
    type Ok = ();
    type Error = Fault;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result {
        self.part(key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        value.serialize(&mut *self.writer)
    }

    #[inline]
    fn end(self) -> Result {
        self.all()
    }
}
