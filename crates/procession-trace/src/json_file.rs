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

/// An event of the format. Times are in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Event<'a> {
    pub name: Cow<'a, str>,
    /// B and E for the two ends of something, X for both at once, i for an instant, C for
    /// counts, M for what something is called.
    pub ph: &'static str,
    pub cat: &'static str,
    pub ts: f64,
    pub dur: Option<f64>,
    pub pid: u32,
    pub tid: u32,
    /// Of an instant: t if it is the thread's, p if it is the process's.
    pub s: Option<&'static str>,
    pub args: Args<'a>,
}

/// The further arguments of an event.
#[derive(Debug, Default)]
pub(crate) struct Args<'a> {
    pub name: Option<Cow<'a, str>>,
    pub exitcode: Option<i32>,
    pub ended: Option<Cow<'a, str>>,
    /// Why the slice ends at another time than its event.
    pub unfinished: Option<&'static str>,
    pub failed: Option<bool>,
    /// How many short tasks of a function a slice stands for.
    pub tasks: Option<u64>,
    pub object: Option<&'static str>,
    pub number: Option<u64>,
    pub items: Option<u64>,
    pub put: Option<u64>,
    pub got: Option<u64>,
    pub dropped: Option<u64>,
}

impl Event<'_> {
    fn write(&self, text: &mut String) {
        let mut event = write_json::object(text);
        event
            .string("name", &self.name)
            .string("ph", self.ph)
            .string("cat", self.cat)
            .number("ts", self.ts);
        if let Some(dur) = self.dur {
            event.number("dur", dur);
        }
        event
            .number("pid", f64::from(self.pid))
            .number("tid", f64::from(self.tid));
        if let Some(s) = self.s {
            event.string("s", s);
        }
        self.args.write(&mut event.object("args"));
    }
}

impl Args<'_> {
    fn write(&self, args: &mut write_json::Object<'_>) {
        let strings = [
            ("name", self.name.as_deref()),
            ("ended", self.ended.as_deref()),
            ("unfinished", self.unfinished),
            ("object", self.object),
        ];
        for (key, value) in strings {
            if let Some(value) = value {
                args.string(key, value);
            }
        }
        if let Some(failed) = self.failed {
            args.bool("failed", failed);
        }
        // As numbers of JSON are read everywhere: exact up to 2^53.
        let count = |count: Option<u64>| count.map(|count| count as f64);
        let numbers = [
            ("exitcode", self.exitcode.map(f64::from)),
            ("tasks", count(self.tasks)),
            ("number", count(self.number)),
            ("items", count(self.items)),
            ("put", count(self.put)),
            ("got", count(self.got)),
            ("dropped", count(self.dropped)),
        ];
        for (key, value) in numbers {
            if let Some(value) = value {
                args.number(key, value);
            }
        }
    }
}

/// The file, and what goes into it next.
#[derive(Debug)]
pub(crate) struct JsonFile {
    file: File,
    /// Where the next event is written, unless the file is a pipe.
    place: Option<u64>,
    text: String,
    is_empty: bool,
}

/// Bytes that are written at once.
const BATCH: usize = 1 << 20;

const OPENING: &str = "{\"traceEvents\":[\n";

/// Shorter than any event, so that the next one leaves nothing of it.
const CLOSING: &str = "\n]}\n";

impl JsonFile {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut file = File::create(path)?;
        let mut this = Self {
            place: file.stream_position().ok(),
            file,
            text: OPENING.to_owned(),
            is_empty: true,
        };
        this.flush()?;
        Ok(this)
    }

    pub(crate) fn add(&mut self, event: &Event<'_>) -> io::Result<()> {
        if !self.is_empty {
            self.text.push_str(",\n");
        }
        self.is_empty = false;
        event.write(&mut self.text);
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
            self.text.push_str(CLOSING);
            self.file.write_all_at(self.text.as_bytes(), *place)?;
            *place += len as u64;
        } else {
            self.file.write_all(self.text.as_bytes())?;
        }
        self.text.clear();
        Ok(())
    }

    /// Closes the object.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.place.is_none() {
            self.text.push_str(CLOSING);
        }
        self.flush()
    }
}
