//! Members: the processes of a family, how they end, and what is reclaimed from the dead.

pub mod exit;
pub mod stamp;
pub mod table;

pub(crate) mod reclaim;
pub(crate) mod unborn;
