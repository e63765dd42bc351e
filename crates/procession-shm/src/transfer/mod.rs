//! Handles on their way in a message: what keeps an object alive until somebody has it.

pub(crate) mod carrier;
pub mod context;
pub mod loans;
