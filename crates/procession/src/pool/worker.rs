//! What a worker process does: one task after another, until there are no more.

use procession_engine::pool::{Worker, WorkerLimits};
use procession_engine::shm::{Handle, HandleSource};
use procession_engine::sys::wait::time::Deadline;

use crate::codec::{self, Encoded, tuple_form};
use crate::error::Result;
use crate::function::{EntryRef, Input};
use crate::outcome::{self, Ending, PanicOutput};
use crate::pool::known_jobs::KnownJobs;
#[cfg(feature = "seccomp")]
use crate::pool::syscall_filter::SyscallFilter;
use crate::sync::uninterrupted;

/// What a worker is told at its start.
#[derive(Debug)]
pub struct Setup {
    channel: (u64, u64),
    initializer: Option<(EntryRef, Vec<u8>)>,
    /// Bytes of private memory, bytes in RAM between tasks, processors.
    bounds: (Option<u64>, Option<u64>, Option<Vec<usize>>),
    /// The system calls that it may make from its first task on.
    #[cfg(feature = "seccomp")]
    filter: Option<SyscallFilter>,
}

tuple_form!(Setup { channel, initializer, bounds } and with (feature = "seccomp") filter);

impl Setup {
    pub fn new(
        channel: Handle,
        initializer: Option<(EntryRef, Vec<u8>)>,
        bounds: WorkerLimits,
    ) -> Self {
        Self {
            channel: (channel.offset, channel.serial),
            initializer,
            bounds: (bounds.memory, bounds.resident, bounds.cpus),
            #[cfg(feature = "seccomp")]
            filter: None,
        }
    }

    #[cfg(feature = "seccomp")]
    pub fn with_filter(self, filter: Option<SyscallFilter>) -> Self {
        Self { filter, ..self }
    }
}

/// Works for the pool that `input` names, until it has no more to do.
pub fn work(input: &[u8], name: &str) -> Result<()> {
    let setup: Setup = codec::decode(input, "a worker's set-up")?;
    let (offset, serial) = setup.channel;
    let mut worker = Worker::attach(Handle { offset, serial })?;
    let (memory, resident, cpus) = setup.bounds;
    let bounds = WorkerLimits {
        memory,
        resident,
        cpus,
    };
    if let Err(error) = worker.confine(bounds) {
        return Ok(worker.failed(&outcome::refuse(&error.into()))?);
    }
    worker.begin_setup();
    if let Some((entry, arguments)) = setup.initializer {
        let entry = entry.resolve()?;
        let call = || entry(kept(&arguments));
        let (bytes, ending) = outcome::run(call, name, PanicOutput::Quiet);
        if ending == Ending::Failed {
            return Ok(worker.failed(&bytes)?);
        }
    }
    #[cfg(feature = "seccomp")]
    if let Some(filter) = &setup.filter
        && let Err(error) = filter.apply()
    {
        return Ok(worker.failed(&outcome::refuse(&error))?);
    }
    worker.ready()?;
    let mut jobs = KnownJobs::default();
    while let Some(task) = uninterrupted(|| worker.next(Deadline::NEVER))? {
        let (outcome, ending) = match jobs.find(&worker, &task) {
            Ok((entry, job)) => {
                let input = kept(worker.bytes(&task));
                let input = job.map_or(input, |job| input.of_job(job));
                outcome::run(|| entry(input), name, PanicOutput::Quiet)
            }
            Err(error) => (outcome::refuse(&error), Ending::Failed),
        };
        reply(&mut worker, outcome, ending)?;
    }
    Ok(())
}

/// The pool stays attached to the objects whose handles are in a task, until it knows how the task
/// has ended.
fn kept(bytes: &[u8]) -> Input<'_> {
    Input::new(bytes, &HandleSource::KEPT)
}

fn reply(worker: &mut Worker, mut outcome: Encoded, ending: Ending) -> Result<()> {
    // The outcome says for itself which it is; the pool counts failures.
    let code = u8::from(ending == Ending::Failed);
    if let Some((block, len)) = outcome.take_block() {
        return Ok(worker.reply_block(code, block, len as u64)?);
    }
    if let Err(error) = worker.reply(code, &[&outcome]) {
        // The outcome does not fit into the memory that is left; the reason does.
        worker.reply(1, &[&outcome::refuse(&error.into())])?;
    }
    Ok(())
}
