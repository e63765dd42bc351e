//! Writes what the processes of a family do into a file for Perfetto and Chrome.
//!
//! The engine collects what each process tells ([`procession_engine::trace`]). Here, `trace.rs` has
//! the thread that asks the engine for it, `story.rs` makes events of the trace format, and
//! `json_file.rs` writes them.

mod json_file;
mod story;
mod trace;

pub use trace::Trace;
