//! Objects: blocks that several members use, and that live while any of them does.

pub mod body;
pub mod hooks;
pub mod linked_pages;
pub mod shared;
