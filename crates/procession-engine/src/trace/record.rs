//! The records in a ring: eight words each.
//!
//! ```text
//! kind | when | a | b | text, or four more words
//! ```

use procession_shm::{ObjectKind, SharedBody, SharedObject, Stamp};

/// Words of a record.
pub(crate) const WORDS: usize = 8;

/// A record as it lies in a ring.
pub(crate) type RawRecord = [u64; WORDS];

/// Bytes of text in one record.
const TEXT: usize = 32;

/// The longest name of a function, in bytes; it takes several records.
const LONGEST: usize = 4 * TEXT;

const STARTED: u64 = 1;
const ENDED: u64 = 2;
const NAME: u64 = 3;
const TASK: u64 = 4;
const WAIT_BEGINS: u64 = 5;
const WAIT_ENDS: u64 = 6;
const QUEUE_ENDED: u64 = 7;

/// Names an object for a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ObjectId {
    kind: u32,
    serial: u64,
}

impl ObjectId {
    pub fn of<B: SharedBody>(object: &SharedObject<B>) -> Self {
        Self {
            kind: B::KIND as u32,
            serial: object.handle().serial,
        }
    }

    /// Returns the word for its kind, and its number.
    pub fn parts(self) -> (&'static str, u64) {
        let kind = ObjectKind::from_raw(self.kind);
        (kind.map_or("object", ObjectKind::name), self.serial)
    }
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TraceRecord {
    /// The process that writes the record has started.
    Started { name: String },
    /// Another process has ended.
    Ended { member: Stamp, pid: u32, code: i32 },
    /// A part of the name that a number stands for.
    Name {
        number: u64,
        begins: bool,
        text: Vec<u8>,
    },
    /// A task was done, or several short ones of a function, one after the other.
    Task {
        took: u64,
        name: u64,
        failed: bool,
        count: u64,
    },
    /// The thread waits.
    WaitBegins(ObjectId),
    /// The thread waits no more.
    WaitEnds(ObjectId),
    /// A queue was destroyed; so many items were ever put in and taken out.
    QueueEnded { serial: u64, put: u64, got: u64 },
}

impl TraceRecord {
    /// Returns the record as it lies in a ring.
    pub fn encode(&self, at: u64) -> RawRecord {
        let head = |kind, a, b| [kind, at, a, b, 0, 0, 0, 0];
        match self {
            Self::Started { name } => with_text(head(STARTED, 0, 0), name.as_bytes()),
            Self::Ended { member, pid, code } => head(
                ENDED,
                u64::from(member.raw()) << 32 | u64::from(*pid),
                i64::from(*code) as u64,
            ),
            Self::Name {
                number,
                begins,
                text,
            } => with_text(head(NAME, *number, u64::from(*begins)), text),
            Self::Task {
                took,
                name,
                failed,
                count,
            } => {
                let mut words = head(TASK, *took, *name);
                words[4] = u64::from(*failed);
                words[5] = *count;
                words
            }
            Self::QueueEnded { serial, put, got } => {
                let mut words = head(QUEUE_ENDED, *serial, *put);
                words[4] = *got;
                words
            }
            Self::WaitBegins(object) => head(WAIT_BEGINS, object.kind.into(), object.serial),
            Self::WaitEnds(object) => head(WAIT_ENDS, object.kind.into(), object.serial),
        }
    }

    /// Returns a record and when it was written; `None` if the words are not a record.
    pub fn decode(words: RawRecord) -> Option<(u64, Self)> {
        let [kind, at, a, b, failed, count, ..] = words;
        let object = || ObjectId {
            kind: a as u32,
            serial: b,
        };
        let record = match kind {
            STARTED => Self::Started {
                name: String::from_utf8_lossy(&text(words)).into_owned(),
            },
            ENDED => Self::Ended {
                member: Stamp::from_raw((a >> 32) as u32),
                pid: a as u32,
                code: b as i32,
            },
            NAME => Self::Name {
                number: a,
                begins: b != 0,
                text: text(words),
            },
            TASK => Self::Task {
                took: a,
                name: b,
                failed: failed != 0,
                count,
            },
            WAIT_BEGINS => Self::WaitBegins(object()),
            WAIT_ENDS => Self::WaitEnds(object()),
            QUEUE_ENDED => Self::QueueEnded {
                serial: a,
                put: b,
                got: words[4],
            },
            _ => return None,
        };
        Some((at, record))
    }
}

/// Cuts a name into parts for which a record has room.
pub(crate) fn parts_of_name(number: u64, name: &str) -> impl Iterator<Item = TraceRecord> {
    let bytes = name.as_bytes();
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    bytes
        .chunks(TEXT)
        .enumerate()
        .map(move |(at, part)| TraceRecord::Name {
            number,
            begins: at == 0,
            text: part.to_vec(),
        })
}

fn with_text(mut words: RawRecord, text: &[u8]) -> RawRecord {
    let mut bytes = [0; TEXT];
    let len = text.len().min(TEXT);
    bytes[..len].copy_from_slice(&text[..len]);
    for (word, chunk) in words[4..].iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
    }
    words
}

fn text(words: RawRecord) -> Vec<u8> {
    words[4..]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .take_while(|&byte| byte != 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let object = ObjectId {
            kind: ObjectKind::Lock as u32,
            serial: 7,
        };
        let records = [
            TraceRecord::Started {
                name: "x".repeat(TEXT),
            },
            TraceRecord::Ended {
                member: Stamp::new(3, 4),
                pid: 5,
                code: -9,
            },
            TraceRecord::Name {
                number: u64::MAX,
                begins: true,
                text: b"module.function".to_vec(),
            },
            TraceRecord::Task {
                took: 1,
                name: 2,
                failed: true,
                count: 3,
            },
            TraceRecord::WaitBegins(object),
            TraceRecord::WaitEnds(object),
            TraceRecord::QueueEnded {
                serial: 1,
                put: 3,
                got: 2,
            },
        ];
        for record in records {
            assert_eq!(TraceRecord::decode(record.encode(9)), Some((9, record)));
        }
        assert_eq!(TraceRecord::decode([0; WORDS]), None);
    }

    #[test]
    fn a_long_name_takes_several_records_and_is_cut() {
        let name = "n".repeat(LONGEST + 1);
        let parts: Vec<_> = parts_of_name(1, &name).collect();
        let text: Vec<u8> = parts
            .iter()
            .flat_map(|part| match part {
                TraceRecord::Name { text, .. } => text.clone(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(text, name.as_bytes()[..LONGEST]);
        let begins =
            |record: &TraceRecord| matches!(record, TraceRecord::Name { begins: true, .. });
        assert_eq!(parts.iter().filter(|part| begins(part)).count(), 1);
    }
}
