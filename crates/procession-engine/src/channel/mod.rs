//! Ways for processes to pass messages.
//!
//! `README.md` beside this file tells the protocols and the races they
//! survive. In reading order: the queue, what it is made of, and what it
//! gives out; the link, the pipe and the line; waiting for any of them.

pub mod queue;

mod body;

mod head;
mod tail;

mod intent;
mod segment;
mod state;

mod parking;
mod spin;

pub mod message;
mod returned;

mod link;

mod pipe;
mod track;
pub mod wire;

mod line;

mod wait;

pub use line::{Line, LineEnd, LineHandle, ROOM as LINE_ROOM, Received};
pub use link::{LinkEnd, LinkHandles, link};
pub use pipe::{PipeEnd, one_way_pipe, pipe};
pub use track::{Track, TrackHandle};
pub use wait::{Waitable, wait};

pub(crate) use link::LINK_HOOKS;
pub(crate) use track::HOOKS as PIPE_HOOKS;

pub use message::Message;
pub use queue::Queue;
pub use returned::Returned;

pub(crate) use body::HOOKS as QUEUE_HOOKS;
