//! The trace of a family: each process tells what it does, and one of them collects it.
//!
//! `README.md` beside this file has the protocol. Leaves out what a trace looks like in a
//! file: that is for the crate `procession-trace`.

mod record;
mod recorder;
mod ring;
mod tracer;

pub use recorder::forget_ring;
#[cfg(fuzzing)]
pub use recorder::write_raw;
pub use tracer::{TraceEvent, TracedMember, Tracer, TracerBell, What};

pub(crate) use record::ObjectId;
pub(crate) use recorder::{
    all_tasks_done, name_function, process_ended, process_started, queue_ended, task_begins,
    task_done, wait_begins, wait_ends,
};
pub(crate) use ring::TraceLayout;

use procession_shm::member::table::Member;
use procession_sys::procfs::status::program_name;

/// Returns the name of a member. The first process of a family was given none, and gets the name of
/// its program.
fn process_name(member: &Member, pid: u32) -> String {
    match member.name() {
        name if name.is_empty() => program_name(pid).unwrap_or_default(),
        name => name,
    }
}
