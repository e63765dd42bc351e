//! Numbers in a row, which cross by one copy.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;
use serde_core::de::Visitor;
use serde_core::{Deserialize, Deserializer, Serialize, Serializer};

/// A `Vec` of plain old data that crosses in one piece.
///
/// Serde looks at each item of a `Vec`. For bytes, numbers, and structs of these that are
/// `bytemuck::Pod`, one copy on either side does: for a million of `f64` that is some ten times
/// quicker. It costs nothing to wrap a `Vec`, or to unwrap it.
///
/// # Examples
///
/// ```
/// use procession::{PodVec, Process};
///
/// # procession::init();
/// let halve = |mut numbers: PodVec<f64>| {
///     numbers.iter_mut().for_each(|number| *number /= 2.0);
///     numbers
/// };
/// let child = Process::new(halve).args(PodVec(vec![1.0; 100_000])).start()?;
/// assert_eq!(child.join()?.into_inner(), vec![0.5; 100_000]);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodVec<T>(pub Vec<T>);

impl<T> PodVec<T> {
    /// Returns the `Vec`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{PodVec, Process};
    /// # procession::init();
    /// let child = Process::new(|| PodVec(vec![0.5; 3])).start()?;
    /// let numbers: Vec<f64> = child.join()?.into_inner();
    /// assert_eq!(numbers, [0.5, 0.5, 0.5]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn into_inner(self) -> Vec<T> {
        self.0
    }
}

impl<T> Default for PodVec<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> From<Vec<T>> for PodVec<T> {
    fn from(items: Vec<T>) -> Self {
        Self(items)
    }
}

impl<T> Deref for PodVec<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T> DerefMut for PodVec<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.0
    }
}

impl<T: Pod> Serialize for PodVec<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytemuck::cast_slice(&self.0))
    }
}

impl<'de, T: Pod> Deserialize<'de> for PodVec<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Bits(PhantomData))
    }
}

/// Takes the bytes of whole items, wherever they lie.
struct Bits<T>(PhantomData<T>);

impl<T: Pod> Visitor<'_> for Bits<T> {
    type Value = PodVec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the bytes of several {}", std::any::type_name::<T>())
    }

    fn visit_bytes<E: serde_core::de::Error>(self, bytes: &[u8]) -> Result<PodVec<T>, E> {
        let size = size_of::<T>();
        if size == 0 || !bytes.len().is_multiple_of(size) {
            let kind = std::any::type_name::<T>();
            let len = bytes.len();
            return Err(E::custom(format_args!(
                "{len} bytes are no whole number of {kind}, of {size} bytes each"
            )));
        }
        let mut items = vec![T::zeroed(); bytes.len() / size];
        bytemuck::cast_slice_mut(&mut items).copy_from_slice(bytes);
        Ok(PodVec(items))
    }
}

#[cfg(test)]
mod tests {
    use super::PodVec;
    use crate::codec;

    #[test]
    fn bytes_that_are_no_whole_items_are_refused() {
        let bytes = codec::encode(&PodVec(vec![1_u8; 9]), "nine").unwrap();
        let error = codec::decode::<PodVec<u64>>(&bytes, "them").unwrap_err();
        assert!(
            error.to_string().contains("no whole number of u64"),
            "{error}"
        );
    }
}
