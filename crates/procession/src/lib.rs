//! procession.
mod codec;
mod error;
mod function;
pub use error::{Error, PanicInfo, Result};
pub use function::Callable;
