//! Looks through a value for parts that CBOR would silently change.

use std::fmt::Display;

use serde_core::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use crate::codec::Fault;

type Result<T = IsNull> = std::result::Result<T, Fault>;

/// Refuses a value that CBOR would confuse.
pub fn check<T: Serialize + ?Sized>(value: &T) -> Result<()> {
    value.serialize(Check).map(drop)
}

/// Whether it would be a `null`.
#[derive(PartialEq, Eq)]
enum IsNull {
    Yes,
    No,
}

/// Writes nothing.
struct Check;

/// Looks through what has parts.
struct PartsCheck;

macro_rules! harmless {
    ($($method:ident($type:ty)),* $(,)?) => {
        $(fn $method(self, _value: $type) -> Result {
            Ok(IsNull::No)
        })*
    };
}

impl Serializer for Check {
    type Ok = IsNull;
    type Error = Fault;
    type SerializeSeq = PartsCheck;
    type SerializeTuple = PartsCheck;
    type SerializeTupleStruct = PartsCheck;
    type SerializeTupleVariant = PartsCheck;
    type SerializeMap = PartsCheck;
    type SerializeStruct = PartsCheck;
    type SerializeStructVariant = PartsCheck;

    harmless!(
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_i128(i128),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_u128(u128),
        serialize_f32(f32),
        serialize_f64(f64),
        serialize_char(char),
        serialize_str(&str),
        serialize_bytes(&[u8]),
    );

    fn collect_str<T: Display + ?Sized>(self, _value: &T) -> Result {
        Ok(IsNull::No)
    }

    fn serialize_none(self) -> Result {
        Ok(IsNull::Yes)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result {
        if value.serialize(Self)? == IsNull::No {
            return Ok(IsNull::No);
        }
        let kind = std::any::type_name::<T>();
        Err(Fault::told(format!(
            "a form that describes itself cannot tell `None` from a `Some` of nothing, as this one of {kind}"
        )))
    }

    fn serialize_unit(self) -> Result {
        Ok(IsNull::Yes)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result {
        Ok(IsNull::Yes)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
    ) -> Result {
        Ok(IsNull::No)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Result {
        value.serialize(self)?;
        Ok(IsNull::No)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<PartsCheck> {
        Ok(PartsCheck)
    }

    fn serialize_tuple(self, _len: usize) -> Result<PartsCheck> {
        Ok(PartsCheck)
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<PartsCheck> {
        Ok(PartsCheck)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<PartsCheck> {
        Ok(PartsCheck)
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<PartsCheck> {
        Ok(PartsCheck)
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<PartsCheck> {
        Ok(PartsCheck)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<PartsCheck> {
        Ok(PartsCheck)
    }
}

macro_rules! parts {
    ($($trait:ident::$method:ident($($key:ty)?)),* $(,)?) => {
        $(impl $trait for PartsCheck {
            type Ok = IsNull;
            type Error = Fault;

            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $(_key: $key,)?
                value: &T,
            ) -> Result<()> {
                check(value)
            }

            fn end(self) -> Result {
                Ok(IsNull::No)
            }
        })*
    };
}

parts!(
    SerializeSeq::serialize_element(),
    SerializeTuple::serialize_element(),
    SerializeTupleStruct::serialize_field(),
    SerializeTupleVariant::serialize_field(),
    SerializeStruct::serialize_field(&'static str),
    SerializeStructVariant::serialize_field(&'static str),
);

impl SerializeMap for PartsCheck {
    type Ok = IsNull;
    type Error = Fault;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        check(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        check(value)
    }

    fn end(self) -> Result {
        Ok(IsNull::No)
    }
}
