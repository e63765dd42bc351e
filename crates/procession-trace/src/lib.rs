//! Writes what the processes of a family do into a file for Perfetto and Chrome.
//!
//! The engine has what each process tells ([`procession_engine::trace`]); here is what becomes
//! of it: `trace.rs` has the thread that collects it, `story.rs` makes events of the trace
//! format of it, `json_file.rs` writes these.

mod json_file;
mod story;
mod trace;

pub use trace::Trace;
