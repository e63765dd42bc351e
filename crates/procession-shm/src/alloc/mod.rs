//! The memory: its layout, its mapping, and its two allocators, of chunks and of small blocks.

pub mod layout;
pub mod limit;
pub mod state_word;

pub mod space;
pub(crate) mod store;

pub(crate) mod chunks;
pub(crate) mod prefault;
pub(crate) mod spans;

pub(crate) mod runs;

pub mod block;
pub mod blocks;
pub mod usage;
