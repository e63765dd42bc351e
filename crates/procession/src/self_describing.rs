//! A value that crosses as CBOR, and so says itself what is in it.

mod check;

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use serde_core::de::{DeserializeOwned, Visitor};
use serde_core::{Deserialize, Deserializer, Serialize, Serializer};

use crate::handle;

/// Makes a value cross that only a form which describes itself can carry; with the feature
/// `self-describing`.
///
/// Values cross in a compact form that their types alone can read. Types with
/// `#[serde(flatten)]`, `untagged`, `tag`, or `skip_serializing_if` need a form that says what
/// is in it; sent bare they are refused. In this wrapper they cross, as argument, result or
/// message, alone or inside others. The form is CBOR, with the names of all fields: it costs
/// some times as much, so wrap what needs it.
///
/// `Some(None)` and `Some(())` inside are refused: there they would be `None`.
///
/// # Examples
///
/// ```
/// use procession::{SelfDescribing, Process};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Item {
///     #[serde(skip_serializing_if = "Option::is_none")]
///     tag: Option<String>,
///     data: Vec<u8>,
/// }
///
/// fn length(item: SelfDescribing<Item>) -> usize {
///     item.data.len()
/// }
///
/// # procession::init();
/// let item = Item { tag: None, data: vec![0, 7] };
/// assert_eq!(Process::new(length).args(SelfDescribing(item)).start()?.join()?, 2);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SelfDescribing<T>(pub T);

impl<T> SelfDescribing<T> {
    /// Returns the value.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::SelfDescribing;
    /// assert_eq!(SelfDescribing(42).into_inner(), 42);
    /// ```
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> From<T> for SelfDescribing<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> Deref for SelfDescribing<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for SelfDescribing<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Serialize> Serialize for SelfDescribing<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde_core::ser::Error;
        // The loans of this pass are dropped: it only checks.
        let (checked, _lent) = handle::collecting(|| check::check(&self.0));
        checked.map_err(S::Error::custom)?;
        let mut bytes = Vec::new();
        ciborium::into_writer(&self.0, &mut bytes).map_err(S::Error::custom)?;
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for SelfDescribing<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Bytes(PhantomData))
    }
}

/// Takes the bytes.
struct Bytes<T>(PhantomData<T>);

impl<T: DeserializeOwned> Visitor<'_> for Bytes<T> {
    type Value = SelfDescribing<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the CBOR of {}", std::any::type_name::<T>())
    }

    fn visit_bytes<E: serde_core::de::Error>(self, bytes: &[u8]) -> Result<SelfDescribing<T>, E> {
        ciborium::from_reader(bytes)
            .map(SelfDescribing)
            .map_err(E::custom)
    }
}
