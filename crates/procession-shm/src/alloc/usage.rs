//! How much of the arena is in use, for finding leaks.

/// Counts what is in use in the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Blocks, objects among them.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects.
    pub objects: u64,
}
