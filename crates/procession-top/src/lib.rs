//! Shows the processes, pools and queues of programs that use procession.
//!
//! `ps` tells of them once, as text, JSON or OpenMetrics; `top` shows them in a terminal until it is
//! left. Both read what the families have in shared memory, and change nothing there.
//!
//! Leaves out how that is read: `procession_engine::observe` does it.

mod look;
mod metrics;
mod tree;

mod report;
mod stack;

mod app;
mod draw;
mod terminal;

pub use look::{Look, Source, Watcher};
pub use metrics::{Labels, Metric, MetricKind, Sample, Value, metrics, openmetrics};
pub use report::{json, text};
pub use terminal::top;
