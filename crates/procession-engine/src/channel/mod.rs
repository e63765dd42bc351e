//! Ways for processes to pass messages.
//!
//! `README.md` beside this file tells the protocols and the races they survive. In reading order:
//! the queue, what it is made of, and what it gives out; the duplex, the pipe and the request
//! channel; waiting for any of them.

pub mod queue;

mod parking;

pub mod message;

mod duplex;

pub mod pipe;

mod rpc;

mod select;

pub use duplex::{DuplexEnd, DuplexHandles, duplex};
pub use pipe::pipe;
pub use pipe::shared::{PipeHandle, PipeShared, SendWait};
pub use rpc::{ROOM as LINE_ROOM, RpcChannel, RpcEnd, RpcHandle, RpcReceived};
pub use select::{Waitable, wait};

pub(crate) use duplex::DuplexLayout;
pub(crate) use pipe::shared::PipeLayout;

pub use message::Message;
pub use queue::Queue;
pub use queue::put_error::PutError;

pub(crate) use queue::layout::QueueLayout;
