//! A file in Chrome's trace event format: in JSON, an object with an array of events, one on each line.
//!
//! The object is closed after whatever was written, and what comes next is written over its
//! end: the file can be read at any time, and if the process that writes it is killed. What
//! has no places to write at, a pipe, is closed when the trace ends.

use std::borrow::Cow;
use std::fmt::Display;
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
    fn write(&self, text: &mut Vec<u8>) {
        let mut event = Object::begin(text);
        event.string("name", &self.name);
        event.string("ph", self.ph);
        event.string("cat", self.cat);
        event.value("ts", self.ts);
        event.optional("dur", self.dur);
        event.value("pid", self.pid);
        event.value("tid", self.tid);
        event.optional_string("s", self.s);
        self.args.write(event.key("args"));
        event.end();
    }
}

impl Args<'_> {
    fn write(&self, text: &mut Vec<u8>) {
        let mut args = Object::begin(text);
        args.optional_string("name", self.name.as_deref());
        args.optional("exitcode", self.exitcode);
        args.optional_string("ended", self.ended.as_deref());
        args.optional_string("unfinished", self.unfinished);
        args.optional("failed", self.failed);
        args.optional("tasks", self.tasks);
        args.optional_string("object", self.object);
        args.optional("number", self.number);
        args.optional("items", self.items);
        args.optional("put", self.put);
        args.optional("got", self.got);
        args.optional("dropped", self.dropped);
        args.end();
    }
}

/// An object in JSON, one member after another.
struct Object<'a> {
    text: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    fn begin(text: &'a mut Vec<u8>) -> Self {
        text.push(b'{');
        Self {
            text,
            is_empty: true,
        }
    }

    /// Writes a member's key, which nothing is to be escaped in; its value is to be written next.
    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.is_empty {
            self.text.push(b',');
        }
        self.is_empty = false;
        self.text.push(b'"');
        self.text.extend_from_slice(key.as_bytes());
        self.text.extend_from_slice(b"\":");
        self.text
    }

    /// Writes a member whose value is a finite number or a bool, which JSON has as Rust does.
    fn value(&mut self, key: &str, value: impl Display) {
        // Memory takes all bytes.
        let _ = write!(self.key(key), "{value}");
    }

    fn string(&mut self, key: &str, string: &str) {
        let text = self.key(key);
        text.push(b'"');
        for byte in string.bytes() {
            match byte {
                b'"' | b'\\' => text.extend_from_slice(&[b'\\', byte]),
                0..0x20 => {
                    // As above.
                    let _ = write!(text, "\\u{byte:04x}");
                }
                _ => text.push(byte),
            }
        }
        text.push(b'"');
    }

    fn optional(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.value(key, value);
        }
    }

    fn optional_string(&mut self, key: &str, string: Option<&str>) {
        if let Some(string) = string {
            self.string(key, string);
        }
    }

    fn end(self) {
        self.text.push(b'}');
    }
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

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::{Args, Event};

    #[derive(Debug, PartialEq, Deserialize)]
    struct Read<'a> {
        #[serde(borrow)]
        name: serde_json_core::str::EscapedStr<'a>,
        ph: &'a str,
        ts: f64,
        dur: Option<f64>,
        pid: u32,
        args: ReadArgs,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct ReadArgs {
        exitcode: Option<i32>,
        failed: Option<bool>,
        items: Option<u64>,
    }

    #[test]
    fn an_event_is_json_whatever_its_name() {
        let every: String = (0..0x80_u8)
            .map(char::from)
            .chain("äß\u{2028}😀".chars())
            .collect();
        let event = Event {
            name: every.as_str().into(),
            ph: "X",
            ts: 1_234_567_890.125,
            dur: Some(1e-3),
            pid: u32::MAX,
            args: Args {
                exitcode: Some(-9),
                failed: Some(true),
                items: Some(u64::MAX),
                ..Args::default()
            },
            ..Event::default()
        };
        let mut text = Vec::new();
        event.write(&mut text);
        let (read, len) = serde_json_core::from_slice::<Read<'_>>(&text).unwrap();
        assert_eq!(len, text.len());
        let mut name = String::new();
        for fragment in read.name.fragments() {
            match fragment.unwrap() {
                serde_json_core::str::EscapedStringFragment::NotEscaped(part) => {
                    name.push_str(part)
                }
                serde_json_core::str::EscapedStringFragment::Escaped(char) => name.push(char),
            }
        }
        assert_eq!(name, every);
        assert_eq!(
            (read.ph, read.ts, read.dur, read.pid),
            ("X", event.ts, event.dur, u32::MAX)
        );
        let args = ReadArgs {
            exitcode: Some(-9),
            failed: Some(true),
            items: Some(u64::MAX),
        };
        assert_eq!(read.args, args);
    }
}
