//! One received message.

use std::fmt;

use procession_shm::transfer::loans;
use procession_shm::{Block, HandleSource};

/// Bytes that a message holds without memory of its own.
const SHORT: usize = 110;

/// Owns what was received and derefs to its bytes.
///
/// A large one is read where the sender wrote it; its block goes back to the
/// arena when the message is dropped.
pub struct Message(Bytes);

enum Bytes {
    Short(u8, [u8; SHORT]),
    Long(Vec<u8>),
    Apart(Block, usize),
}

impl Message {
    pub(crate) fn copied(bytes: &[u8]) -> Self {
        if bytes.len() > SHORT {
            return Self(Bytes::Long(bytes.to_vec()));
        }
        let mut short = [0; SHORT];
        short[..bytes.len()].copy_from_slice(bytes);
        Self(Bytes::Short(bytes.len() as u8, short))
    }

    pub(crate) fn owned(bytes: Vec<u8>) -> Self {
        Self(Bytes::Long(bytes))
    }

    /// Another process wrote the length, so it is bounded by the block's size.
    pub(crate) fn apart(block: Block, len: u64) -> Self {
        let len = len.min(block.capacity());
        Self(Bytes::Apart(block, len as usize))
    }

    /// Returns the arena block that the message lies in, and how many of the block's bytes are the
    /// message. A message that lies in no block is returned as the error.
    ///
    /// # Errors
    /// The message itself, when its bytes are this process's own.
    pub fn into_block(self) -> Result<(Block, usize), Self> {
        match self.0 {
            Bytes::Apart(block, len) => Ok((block, len)),
            other => Err(Self(other)),
        }
    }

    /// Calls `read` with the bytes. `read` may attach to the objects whose handles are in the
    /// bytes; the objects that it has not attached to when it fails are released.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read<T, E>(
        &self,
        read: impl FnOnce(&[u8], &HandleSource) -> Result<T, E>,
    ) -> Result<T, E> {
        match &self.0 {
            Bytes::Apart(block, len) => {
                loans::reading(block, |source| read(&block[..*len], source))
            }
            Bytes::Short(..) | Bytes::Long(_) => read(self, &HandleSource::UNTRACKED),
        }
    }

    /// Returns the bytes as a vector. They are copied if they lie in the arena or are few.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        match self.0 {
            Bytes::Long(bytes) => bytes,
            other => Self(other).to_vec(),
        }
    }
}

impl std::ops::Deref for Message {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Short(len, bytes) => &bytes[..usize::from(*len)],
            Bytes::Long(bytes) => bytes,
            Bytes::Apart(block, len) => &block[..*len],
        }
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({} bytes)", self.len())
    }
}
