//! A trace that is being written, and the thread that writes it.
//!
//! The thread has a table of descriptors of its own: the program can neither close the file
//! nor pass it on, and no signal for the program reaches the thread.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use procession_engine::observe::queue_counts;
use procession_engine::shm::{Family, Stamp};
use procession_engine::sys::fd::own_table;
use procession_engine::sys::process::liveness::boot_time;
use procession_engine::sys::signals::masked_thread::MaskedThread;
use procession_engine::sys::wait::time::Deadline;
use procession_engine::trace::{Tracer, TracerBell, forget_ring};
use procession_engine::{Error, ErrorKind, Result};

use crate::json_file::JsonFile;
use crate::story::Story;

/// How often the thread collects; it also does when a ring is half full.
const PERIOD: Duration = Duration::from_millis(20);

/// Writes a trace until it is ended or dropped.
#[derive(Debug)]
pub struct Trace {
    me: Stamp,
    path: PathBuf,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    thread: MaskedThread,
    stop: Arc<AtomicBool>,
    bell: TracerBell,
    /// Whether the file was opened, then whether all was written.
    told: Receiver<Result<()>>,
}

impl Trace {
    /// Begins to trace the family of this process into a file, which is made anew. In its
    /// name, `{pid}` stands for the id of this process.
    ///
    /// # Errors
    /// `Invalid` when a process of the family writes a trace already; when the file cannot be
    /// made, or there can be no other thread.
    pub fn begin(path: &Path) -> Result<Self> {
        let path = full_path(path)?;
        let tracer = Tracer::begin()?;
        let (me, bell) = (tracer.family().me(), tracer.bell());
        let stop = Arc::<AtomicBool>::default();
        let (tell, told) = channel();
        let (theirs, file) = (Arc::clone(&stop), path.clone());
        let thread = MaskedThread::start("trace", move || {
            if let Some(json) = open(&file, &tell) {
                let written = write(tracer, json, &theirs);
                // Fails if nobody waits for the answer.
                let _ = tell.send(written.map_err(|error| cannot_write(&file, error)));
            }
        })?;
        match told.recv() {
            Ok(Ok(())) => Ok(Self {
                me,
                path,
                running: Some(Running {
                    thread,
                    stop,
                    bell,
                    told,
                }),
            }),
            Ok(Err(error)) => {
                thread.join();
                Err(error)
            }
            Err(_) => Err(panicked()),
        }
    }

    /// Returns the full name of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends the trace, and waits until the file has all of it. In a forked copy of the process
    /// that has begun it, and the second time, it does nothing.
    ///
    /// # Errors
    /// When the file could not be written; the trace has ended then, too.
    pub fn end(&mut self) -> Result<()> {
        let Some(running) = self.running.take() else {
            return Ok(());
        };
        if Family::existing().map(Family::me) != Some(self.me) {
            running.thread.forget();
            return Ok(());
        }
        // Release: the thread sees what was told before.
        running.stop.store(true, Ordering::Release);
        running.bell.ring();
        let written = running.told.recv();
        running.thread.join();
        drop(running.bell);
        forget_ring();
        written.map_err(|_| panicked())?
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // A caller that wants to know whether the file could be written calls `end`.
        let _ = self.end();
    }
}

fn full_path(path: &Path) -> Result<PathBuf> {
    let named = path.as_os_str().to_str().map(|text| {
        let pid = std::process::id().to_string();
        PathBuf::from(text.replace("{pid}", &pid))
    });
    let path = named.unwrap_or_else(|| path.to_owned());
    std::path::absolute(&path).map_err(|error| cannot_write(&path, error))
}

fn cannot_write(path: &Path, error: io::Error) -> Error {
    // Not `Error::os`: a full disk is no lack of memory.
    let message = format!("cannot write a trace to {}: {error}", path.display());
    let told = Error::new(ErrorKind::Os, message);
    match error.raw_os_error() {
        Some(number) => told.with_errno(number),
        None => told,
    }
}

fn panicked() -> Error {
    Error::new(ErrorKind::Dead, "the thread that writes the trace panicked")
}

/// Opens the file in the calling thread, and tells whether that went well.
fn open(path: &Path, tell: &Sender<Result<()>>) -> Option<JsonFile> {
    let opened = own_table::leave()
        .and_then(|()| JsonFile::create(path).map_err(|error| cannot_write(path, error)));
    let (file, told) = match opened {
        Ok(file) => (Some(file), Ok(())),
        Err(error) => (None, Err(error)),
    };
    tell.send(told).ok().and(file)
}

fn write(mut tracer: Tracer, mut file: JsonFile, stop: &AtomicBool) -> io::Result<()> {
    let mut story = Story::new(tracer.began());
    round(&mut tracer, &mut story, &mut file)?;
    // Acquire pairs with the Release in `end`.
    while !stop.load(Ordering::Acquire) {
        tracer.wait(Deadline::after(PERIOD));
        round(&mut tracer, &mut story, &mut file)?;
    }
    // Two more rounds, for what was told before the end. Processes that have died are found missing
    // in the first, and what they told last is read in the second.
    round(&mut tracer, &mut story, &mut file)?;
    tracer.end();
    round(&mut tracer, &mut story, &mut file)?;
    story.end(boot_time(), &mut file)?;
    file.finish()
}

/// Collects once, and writes what it has found.
fn round(tracer: &mut Tracer, story: &mut Story, file: &mut JsonFile) -> io::Result<()> {
    for event in tracer.collect() {
        story.tell(event, file)?;
    }
    // After the collection: a process that started before it is among these members, or has ended.
    story.look_at(tracer.members(), boot_time(), file)?;
    story.count(&queue_counts(tracer.family()), boot_time(), file)?;
    file.flush()
}
