//! Turns bytes into values, or into an error if the type reads anything else than what was
//! written; see `write.rs`.

use std::str;

use serde_core::Deserialize;
use serde_core::de::value::{StrDeserializer, U32Deserializer};
use serde_core::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::fault::{ADVICE, Fault};
use super::mark::{Kind, Mark};
use super::write::LONG;

type Result<T> = std::result::Result<T, Fault>;

/// Reads a value, and returns the bytes that follow it.
pub fn read<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<(T, &'de [u8])> {
    let mut reader = Reader {
        rest: bytes,
        most: bytes.len(),
    };
    let value = T::deserialize(&mut reader)?;
    Ok((value, reader.rest))
}

struct Reader<'de> {
    /// The bytes that have not been read.
    rest: &'de [u8],
    /// The most items to reserve memory for: there cannot be more than bytes.
    most: usize,
}

impl<'de> Reader<'de> {
    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk().ok_or_else(missing)?;
        self.rest = rest;
        Ok(*array)
    }

    #[inline]
    fn byte(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    /// Reads how many bytes, items or parts follow.
    #[inline]
    fn len(&mut self) -> Result<usize> {
        match self.byte()? {
            LONG => self.array().map(|len| u64::from_le_bytes(len) as usize),
            len => Ok(len.into()),
        }
    }

    /// Reads bytes that come after their length.
    #[inline]
    fn bytes(&mut self) -> Result<&'de [u8]> {
        let len = self.len()?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or_else(missing)?;
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    fn text(&mut self) -> Result<&'de str> {
        str::from_utf8(self.bytes()?).map_err(|_| unlike("a text", "UTF-8"))
    }

    /// Has the visitor visit `len` parts, and no fewer.
    #[inline]
    fn parts<V: Visitor<'de>>(&mut self, len: usize, visitor: V) -> Result<V::Value> {
        let mut parts = PartsReader {
            reader: self,
            left: len,
        };
        let value = visitor.visit_seq(&mut parts)?;
        match parts.left {
            0 => Ok(value),
            left => Err(unread(left)),
        }
    }

    /// Has the visitor visit as many parts as were written, neither fewer nor more.
    #[inline]
    fn counted<V: Visitor<'de>>(&mut self, name: &'static str, visitor: V) -> Result<V::Value> {
        let len = self.len()?;
        let mut fields = Fields {
            reader: self,
            name,
            left: len,
            len,
        };
        let value = visitor.visit_seq(&mut fields)?;
        match fields.left {
            0 => Ok(value),
            left => Err(fields.unread(left)),
        }
    }
}

#[cold]
fn unread(left: usize) -> Fault {
    Fault::told(format!(
        "the type's Deserialize left {left} items unread that its Serialize wrote; {ADVICE}"
    ))
}

#[cold]
fn missing() -> Fault {
    Fault::told(format!(
        "missing bytes: the type's Deserialize reads more than its Serialize wrote, as with \
         `#[serde(skip_serializing)]`, `serialize_with` or an implementation by hand; {ADVICE}"
    ))
}

#[cold]
fn unlike(what: &str, form: &str) -> Fault {
    Fault::told(format!(
        "the bytes of {what} are not {form}: the type's Deserialize reads something else than its \
         Serialize wrote; {ADVICE}"
    ))
}

#[cold]
fn untold() -> Fault {
    Fault::told(format!(
        "the type reads whatever comes, as with `#[serde(untagged)]`, `#[serde(tag = ..)]` and \
         `#[serde(flatten)]`, and these bytes do not say what they are; {ADVICE}"
    ))
}

macro_rules! numbers {
    ($($method:ident($type:ty) $visit:ident),* $(,)?) => {
        $(#[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            visitor.$visit(<$type>::from_le_bytes(self.array()?))
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Fault;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    numbers!(
        deserialize_i8(i8) visit_i8,
        deserialize_i16(i16) visit_i16,
        deserialize_i32(i32) visit_i32,
        deserialize_i64(i64) visit_i64,
        deserialize_i128(i128) visit_i128,
        deserialize_u8(u8) visit_u8,
        deserialize_u16(u16) visit_u16,
        deserialize_u32(u32) visit_u32,
        deserialize_u64(u64) visit_u64,
        deserialize_u128(u128) visit_u128,
        deserialize_f32(f32) visit_f32,
        deserialize_f64(f64) visit_f64,
    );

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            _ => Err(unlike("a bool", "0 or 1")),
        }
    }

    #[inline]
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let letter = u32::from_le_bytes(self.array()?);
        match char::from_u32(letter) {
            Some(letter) => visitor.visit_char(letter),
            None => Err(unlike("a char", "a Unicode scalar value")),
        }
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_str(self.text()?)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_bytes(self.bytes()?)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value> {
        Err(untold())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value> {
        Err(untold())
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value> {
        Err(untold())
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.byte()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self),
            _ => Err(unlike("an Option", "0 or 1 and a value")),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let len = self.len()?;
        self.parts(len, visitor)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.parts(len, visitor)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.counted(name, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let left = self.len()?;
        let mut parts = PartsReader { reader: self, left };
        let value = visitor.visit_map(&mut parts)?;
        match parts.left {
            0 => Ok(value),
            left => Err(unread(left)),
        }
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.counted(name, visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let index =
            u32::try_from(self.len()?).map_err(|_| unlike("an enum", "the index of a variant"))?;
        let mark = Mark::from_bytes(self.array()?);
        visitor.visit_enum(Variant {
            reader: self,
            name,
            variants,
            index,
            mark,
        })
    }
}

/// The parts of a value that names their number itself, or has as many as its type
/// says.
struct PartsReader<'a, 'de> {
    reader: &'a mut Reader<'de>,
    left: usize,
}

impl<'de> PartsReader<'_, 'de> {
    #[inline]
    fn hint(&self) -> Option<usize> {
        Some(self.left.min(self.reader.most))
    }
}

impl<'de> SeqAccess<'de> for &mut PartsReader<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}

impl<'de> MapAccess<'de> for &mut PartsReader<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        self.next_element_seed(seed)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        seed.deserialize(&mut *self.reader)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}

/// The fields of a struct, of which as many are read as were written.
///
/// One more is an error and not the end: `#[serde(default)]` would make up for the last
/// fields, although it may be the first that was not written.
struct Fields<'a, 'de> {
    reader: &'a mut Reader<'de>,
    name: &'static str,
    left: usize,
    len: usize,
}

impl Fields<'_, '_> {
    #[cold]
    fn unread(&self, left: usize) -> Fault {
        let Self { name, len, .. } = self;
        Fault::told(format!(
            "leftover bytes: {name} was written with {len} fields, of which its Deserialize left \
             {left} unread, as with `#[serde(skip_deserializing)]`; skip a field on both sides \
             (`#[serde(skip)]`), or wrap the value in procession::SelfDescribing (feature self-describing)"
        ))
    }

    #[cold]
    fn missing(&self) -> Fault {
        let Self { name, len, .. } = self;
        Fault::told(format!(
            "missing bytes: {name} was written with {len} fields, and its Deserialize reads more, \
             as with `#[serde(skip_serializing)]` and `skip_serializing_if`; skip a field on both sides \
             (`#[serde(skip)]`), or wrap the value in procession::SelfDescribing (feature self-describing)"
        ))
    }
}

impl<'de> SeqAccess<'de> for &mut Fields<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if self.left == 0 {
            return Err(self.missing());
        }
        self.left -= 1;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(self.reader.most))
    }
}

/// The variant of an enum.
struct Variant<'a, 'de> {
    reader: &'a mut Reader<'de>,
    name: &'static str,
    variants: &'static [&'static str],
    index: u32,
    mark: Mark,
}

impl Variant<'_, '_> {
    /// Finds the variant by its mark, if the reader numbers variants differently from the writer.
    #[cold]
    fn find(&self) -> Result<Found> {
        if self.variants.is_empty() {
            return Ok(Found::At(self.index));
        }
        let mut found = self.variants.iter().filter(|name| self.mark.is_of(name));
        match (found.next(), found.next()) {
            (Some(name), None) => Ok(Found::Called(name)),
            _ => Err(Fault::told(format!(
                "{} was written as its variant {}, which its Deserialize does not know by that \
                 name, as with `#[serde(skip_deserializing)]` and with names that \
                 `#[serde(rename(..))]` makes different for the two; {ADVICE}",
                self.name, self.index
            ))),
        }
    }

    #[inline]
    fn expect(&self, kind: Kind) -> Result<()> {
        if self.mark.kind() == kind {
            return Ok(());
        }
        Err(self.unlike(kind))
    }

    #[cold]
    fn unlike(&self, kind: Kind) -> Fault {
        Fault::told(format!(
            "variant {} of {} was written as one {} and is read as one {}, as where its field is \
             skipped on one side only; {ADVICE}",
            self.index,
            self.name,
            self.mark.kind().name(),
            kind.name()
        ))
    }
}

/// The form in which a variant is passed to its reader.
enum Found {
    At(u32),
    Called(&'static str),
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Fault;
    type Variant = Self;

    #[inline]
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self)> {
        let name = self.variants.get(self.index as usize);
        let found = match name {
            Some(name) if self.mark.is_of(name) => Found::At(self.index),
            _ => self.find()?,
        };
        let value = match found {
            Found::At(index) => {
                let index: U32Deserializer<Fault> = index.into_deserializer();
                seed.deserialize(index)?
            }
            Found::Called(name) => {
                let name: StrDeserializer<'_, Fault> = name.into_deserializer();
                seed.deserialize(name)?
            }
        };
        Ok((value, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn unit_variant(self) -> Result<()> {
        self.expect(Kind::Unit)
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        self.expect(Kind::Newtype)?;
        seed.deserialize(self.reader)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value> {
        self.expect(Kind::Tuple)?;
        self.reader.counted(self.name, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.expect(Kind::Struct)?;
        self.reader.counted(self.name, visitor)
    }
}
