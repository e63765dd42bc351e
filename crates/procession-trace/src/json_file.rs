//! A file in Chrome's trace event format: in JSON, an object with an array of events, one on each line.
//!
//! The object is closed after whatever was written, and what comes next is written over its
//! end: the file can be read at any time, and if the process that writes it is killed. What
//! has no places to write at, a pipe, is closed when the trace ends.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde::Serialize;

/// An event of the format. Times are in microseconds.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Event<'a> {
    pub name: Cow<'a, str>,
    /// B and E for the two ends of something, X for both at once, i for an instant, C for
    /// counts, M for what something is called.
    pub ph: &'static str,
    pub cat: &'static str,
    pub ts: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dur: Option<f64>,
    pub pid: u32,
    pub tid: u32,
    /// Of an instant: t if it is the thread's, p if it is the process's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s: Option<&'static str>,
    pub args: Args<'a>,
}

/// The further arguments of an event.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Args<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exitcode: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Cow<'a, str>>,
    /// Why the slice ends at another time than its event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<bool>,
    /// How many short tasks of a function a slice stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub put: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub got: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
}

/// The file, and what goes into it next.
#[derive(Debug)]
pub(crate) struct JsonFile {
    file: File,
    /// Where the next event is written, unless the file is a pipe.
    place: Option<u64>,
    text: Vec<u8>,
    is_empty: bool,
}

/// Bytes that most events fit in.
const ROOM: usize = 512;

/// Bytes that are written at once.
const BATCH: usize = 1 << 20;

const OPENING: &[u8] = b"{\"traceEvents\":[\n";

/// Shorter than any event, so that the next one leaves nothing of it.
const CLOSING: &[u8] = b"\n]}\n";

impl JsonFile {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut file = File::create(path)?;
        let mut this = Self {
            place: file.stream_position().ok(),
            file,
            text: OPENING.to_vec(),
            is_empty: true,
        };
        this.flush()?;
        Ok(this)
    }

    pub(crate) fn add(&mut self, event: &Event<'_>) -> io::Result<()> {
        if !self.is_empty {
            self.text.extend_from_slice(b",\n");
        }
        self.is_empty = false;
        let (begin, mut room) = (self.text.len(), ROOM);
        loop {
            self.text.resize(begin + room, 0);
            // Fails only if there is too little room.
            if let Ok(len) = serde_json_core::to_slice(event, &mut self.text[begin..]) {
                self.text.truncate(begin + len);
                break;
            }
            room *= 2;
        }
        match self.text.len() {
            0..BATCH => Ok(()),
            _ => self.flush(),
        }
    }

    /// Writes what there is, and leaves a file that can be read.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        if let Some(place) = &mut self.place {
            let len = self.text.len();
            self.text.extend_from_slice(CLOSING);
            self.file.write_all_at(&self.text, *place)?;
            *place += len as u64;
        } else {
            self.file.write_all(&self.text)?;
        }
        self.text.clear();
        Ok(())
    }

    /// Closes the object.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.place.is_none() {
            self.text.extend_from_slice(CLOSING);
        }
        self.flush()
    }
}
