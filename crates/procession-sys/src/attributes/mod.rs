//! What a process is: its environment, privileges, processors, and all else that it passes on.

pub mod affinity;
pub mod environment;
pub mod execution_context;
pub mod namespaces;
pub mod prctl;
pub mod privileges;
pub mod thread;
