//! Has a struct cross as the tuple of its fields.
//!
//! A few lines in place of serde's derived ones, for which each program that uses this crate would
//! have to build `syn`: a third of what a small one takes to build.

/// Implements serde's two traits for a struct. The last field may be there with a feature only.
macro_rules! tuple_form {
    ($type:ident { $($field:ident),+ }) => {
        impl serde_core::Serialize for $type {
            fn serialize<S: serde_core::Serializer>(
                &self,
                serializer: S,
            ) -> ::std::result::Result<S::Ok, S::Error> {
                ($(&self.$field,)+).serialize(serializer)
            }
        }

        impl<'de> serde_core::Deserialize<'de> for $type {
            fn deserialize<D: serde_core::Deserializer<'de>>(
                deserializer: D,
            ) -> ::std::result::Result<Self, D::Error> {
                let ($($field,)+) = serde_core::Deserialize::deserialize(deserializer)?;
                Ok(Self { $($field),+ })
            }
        }
    };
    ($type:ident { $($field:ident),+ } and with $features:tt $last:ident) => {
        #[cfg $features]
        tuple_form!($type { $($field,)+ $last });
        #[cfg(not $features)]
        tuple_form!($type { $($field),+ });
    };
}

pub(crate) use tuple_form;
