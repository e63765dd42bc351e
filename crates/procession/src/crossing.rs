//! Serde's two traits for types of this crate, as its derive makes them.
//!
//! The derive is not used, as it has every program build a parser of all of Rust (syn), which takes longer than
//! this crate. Programs that derive for types of their own have it anyway, and it makes no difference
//! to them.

use std::fmt;
use std::marker::PhantomData;

use serde_core::de::{Deserialize, DeserializeSeed, Deserializer, Error, Visitor};
use serde_core::forward_to_deserialize_any;

/// Implements the traits for a struct that only processes of one program tell each other: it
/// crosses as the tuple of its fields.
macro_rules! crosses_as_tuple {
    ($type:ident { $($field:ident),+ $(,)? }) => {
        impl serde_core::Serialize for $type {
            fn serialize<S: serde_core::Serializer>(
                &self,
                serializer: S,
            ) -> std::result::Result<S::Ok, S::Error> {
                ($(&self.$field,)+).serialize(serializer)
            }
        }

        impl<'de> serde_core::Deserialize<'de> for $type {
            fn deserialize<D: serde_core::Deserializer<'de>>(
                deserializer: D,
            ) -> std::result::Result<Self, D::Error> {
                let ($($field,)+) = serde_core::Deserialize::deserialize(deserializer)?;
                Ok(Self { $($field),+ })
            }
        }
    };
}

/// Implements the traits for a type that only processes of one program tell each other: it
/// crosses as another type, into which the one expression turns a reference to it, and from which the
/// other makes it.
macro_rules! crosses_as {
    ([$($generic:ident)?] $type:ty, $form:ty, |$own:ident| $borrowed:expr, $back:expr) => {
        impl$(<$generic: serde_core::Serialize>)? serde_core::Serialize for $type {
            fn serialize<S: serde_core::Serializer>(
                &self,
                serializer: S,
            ) -> std::result::Result<S::Ok, S::Error> {
                let $own = self;
                serde_core::Serialize::serialize(&$borrowed, serializer)
            }
        }

        impl<'de, $($generic: serde_core::Deserialize<'de>)?> serde_core::Deserialize<'de> for $type {
            fn deserialize<D: serde_core::Deserializer<'de>>(
                deserializer: D,
            ) -> std::result::Result<Self, D::Error> {
                <$form as serde_core::Deserialize>::deserialize(deserializer).map($back)
            }
        }
    };
}

/// Implements the traits for a public struct: any form of serde has it, with the names of its
/// fields where it has names.
macro_rules! crosses_by_name {
    ($type:ident { $($field:ident),+ $(,)? }) => {
        impl serde_core::Serialize for $type {
            fn serialize<S: serde_core::Serializer>(
                &self,
                serializer: S,
            ) -> std::result::Result<S::Ok, S::Error> {
                use serde_core::ser::SerializeStruct;

                const LEN: usize = [$(stringify!($field)),+].len();
                let mut fields = serializer.serialize_struct(stringify!($type), LEN)?;
                $(fields.serialize_field(stringify!($field), &self.$field)?;)+
                fields.end()
            }
        }

        impl<'de> serde_core::Deserialize<'de> for $type {
            fn deserialize<D: serde_core::Deserializer<'de>>(
                deserializer: D,
            ) -> std::result::Result<Self, D::Error> {
                use serde_core::de::Error;

                const FIELDS: &[&str] = &[$(stringify!($field)),+];

                struct Fields;

                impl<'de> serde_core::de::Visitor<'de> for Fields {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("struct ", stringify!($type)))
                    }

                    fn visit_seq<A: serde_core::de::SeqAccess<'de>>(
                        self,
                        mut parts: A,
                    ) -> std::result::Result<$type, A::Error> {
                        let mut len = 0;
                        $(
                            let $field = parts
                                .next_element()?
                                .ok_or_else(|| A::Error::invalid_length(len, &self))?;
                            len += 1;
                        )+
                        debug_assert_eq!(len, FIELDS.len());
                        Ok($type { $($field),+ })
                    }

                    fn visit_map<A: serde_core::de::MapAccess<'de>>(
                        self,
                        mut entries: A,
                    ) -> std::result::Result<$type, A::Error> {
                        $(let mut $field = None;)+
                        let names = $crate::crossing::NameOf(FIELDS);
                        while let Some(index) = entries.next_key_seed(names)? {
                            match index.map(|index| FIELDS[index]) {
                                $(Some(stringify!($field)) => {
                                    if $field.is_some() {
                                        return Err(A::Error::duplicate_field(stringify!($field)));
                                    }
                                    $field = Some(entries.next_value()?);
                                })+
                                _ => {
                                    entries.next_value::<serde_core::de::IgnoredAny>()?;
                                }
                            }
                        }
                        Ok($type {
                            $($field: match $field {
                                Some(value) => value,
                                None => $crate::crossing::missing(stringify!($field))?,
                            }),+
                        })
                    }
                }

                deserializer.deserialize_struct(stringify!($type), FIELDS, Fields)
            }
        }
    };
}

/// Implements the traits for a public enum whose variants have no fields.
macro_rules! crosses_by_variant {
    ($type:ident { $($variant:ident),+ $(,)? }) => {
        impl serde_core::Serialize for $type {
            fn serialize<S: serde_core::Serializer>(
                &self,
                serializer: S,
            ) -> std::result::Result<S::Ok, S::Error> {
                let name = match self {
                    $(Self::$variant => stringify!($variant),)+
                };
                serializer.serialize_unit_variant(stringify!($type), *self as u32, name)
            }
        }

        impl<'de> serde_core::Deserialize<'de> for $type {
            fn deserialize<D: serde_core::Deserializer<'de>>(
                deserializer: D,
            ) -> std::result::Result<Self, D::Error> {
                use serde_core::de::{Error, VariantAccess};

                const VARIANTS: &[&str] = &[$(stringify!($variant)),+];

                struct Variants;

                impl<'de> serde_core::de::Visitor<'de> for Variants {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("enum ", stringify!($type)))
                    }

                    fn visit_enum<A: serde_core::de::EnumAccess<'de>>(
                        self,
                        found: A,
                    ) -> std::result::Result<$type, A::Error> {
                        let names = $crate::crossing::NameOf(VARIANTS);
                        let (index, variant) = found.variant_seed(names)?;
                        variant.unit_variant()?;
                        match index.map(|index| VARIANTS[index]) {
                            $(Some(stringify!($variant)) => Ok($type::$variant),)+
                            _ => Err(A::Error::custom(format_args!(
                                "no such variant of {}, which has {}",
                                stringify!($type),
                                VARIANTS.join(", ")
                            ))),
                        }
                    }
                }

                deserializer.deserialize_enum(stringify!($type), VARIANTS, Variants)
            }
        }
    };
}

pub(crate) use {crosses_as, crosses_as_tuple, crosses_by_name, crosses_by_variant};

/// Reads the name or number of a field or variant; returns its place among these, if it is there.
#[derive(Clone, Copy)]
pub struct NameOf(pub &'static [&'static str]);

impl NameOf {
    fn place(self, name: &[u8]) -> Option<usize> {
        self.0.iter().position(|known| known.as_bytes() == name)
    }
}

impl<'de> DeserializeSeed<'de> for NameOf {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for NameOf {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field or variant")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<usize>, E> {
        let place = usize::try_from(number).ok();
        Ok(place.filter(|place| *place < self.0.len()))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.place(name.as_bytes()))
    }

    fn visit_bytes<E: Error>(self, name: &[u8]) -> Result<Option<usize>, E> {
        Ok(self.place(name))
    }
}

/// Returns what a field is that is not there: None if it may be, else an error.
pub fn missing<'de, T: Deserialize<'de>, E: Error>(field: &'static str) -> Result<T, E> {
    T::deserialize(Absent(field, PhantomData))
}

struct Absent<E>(&'static str, PhantomData<E>);

impl<'de, E: Error> Deserializer<'de> for Absent<E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, E> {
        Err(E::missing_field(self.0))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_none()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Serialize};

    /// What the derive makes, of types of the same names.
    mod derived {
        use super::*;

        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        pub enum StartMethod {
            Fork,
            Spawn,
            ForkServer,
        }

        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        pub struct PanicInfo {
            pub process: String,
            pub message: String,
            pub location: Option<String>,
            pub backtrace: Option<String>,
            pub sources: Vec<String>,
        }
    }

    fn json(value: &impl Serialize) -> String {
        let mut text = [0; 512];
        let len = serde_json_core::to_slice(value, &mut text).unwrap();
        String::from_utf8(text[..len].to_vec()).unwrap()
    }

    fn must_agree<A, B>(ours: &A, theirs: &B)
    where
        A: Serialize + DeserializeOwned + Debug + PartialEq,
        B: Serialize + DeserializeOwned + Debug + PartialEq,
    {
        let text = json(theirs);
        assert_eq!(json(ours), text);
        assert_eq!(serde_json_core::from_str::<A>(&text).unwrap().0, *ours);
        let bytes = crate::codec::encode(theirs, "it").unwrap();
        assert_eq!(*crate::codec::encode(ours, "it").unwrap(), *bytes);
        assert_eq!(crate::codec::decode::<A>(&bytes, "it").unwrap(), *ours);
        assert_eq!(crate::codec::decode::<B>(&bytes, "it").unwrap(), *theirs);
    }

    #[test]
    fn a_start_method_is_as_the_derive_has_it() {
        use crate::StartMethod::{Fork, ForkServer, Spawn};

        must_agree(&Fork, &derived::StartMethod::Fork);
        must_agree(&Spawn, &derived::StartMethod::Spawn);
        must_agree(&ForkServer, &derived::StartMethod::ForkServer);
        assert!(serde_json_core::from_str::<crate::StartMethod>("\"Knife\"").is_err());
    }

    #[test]
    fn a_panic_is_as_the_derive_has_it() {
        for text in [
            r#"{"process":"Ada","message":"no luck","location":"a.rs","backtrace":null,"sources":["b"]}"#,
            r#"{"sources":[],"later":{"x":[1]},"message":"","process":"Ada"}"#,
        ] {
            let (ours, _) = serde_json_core::from_str::<crate::PanicInfo>(text).unwrap();
            let (theirs, _) = serde_json_core::from_str::<derived::PanicInfo>(text).unwrap();
            must_agree(&ours, &theirs);
        }
        for wrong in [
            r#"{"sources":[],"process":"Ada"}"#,
            r#"{"sources":[],"message":"","process":"Ada","process":"Eve"}"#,
        ] {
            assert!(serde_json_core::from_str::<crate::PanicInfo>(wrong).is_err());
            assert!(serde_json_core::from_str::<derived::PanicInfo>(wrong).is_err());
        }
    }
}
