//! What stands in front of each task and each result in a ring.
//!
//! A record is a head word (the number of bytes below, flags above), further
//! words as the flags say, and the bytes, filled up to a whole word. What the
//! bytes mean is the faces' business.

use crate::error::{Error, ErrorKind, Result};
use crate::pool::ring::{Ring, padded};

/// The longest task or result that travels in the ring itself; longer ones
/// travel in a block. Found by trial on a two-core machine: above it the
/// block's cost is small beside the copy's.
pub const INLINE: usize = 2048;

const SKIP: u64 = 1 << 40;
const IN_BLOCK: u64 = 1 << 41;
const OF_JOB: u64 = 1 << 42;
const CLAIMED: u64 = 1 << 43;
const READY: u64 = 1 << 44;
const FAILED: u64 = 1 << 45;
const KEPT: u64 = 1 << 46;
const CODE_SHIFT: u32 = 32;
const LENGTH: u64 = (1 << CODE_SHIFT) - 1;

/// Says where the bytes of a task or a result lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In the ring: the position. In a block: its offset.
    pub at: u64,
    /// How many bytes.
    pub len: u64,
    /// Whether they are in a block of their own.
    pub in_block: bool,
}

/// Names a job's prologue: what its tasks have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobName {
    /// A number that no other job of the family has.
    pub id: u64,
    /// The offset of its block, whose first word is the length.
    pub offset: u64,
}

/// A task as it lies in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskRecord {
    /// Its bytes.
    pub place: Place,
    /// Whose task it is, if it is of a job.
    pub job: Option<JobName>,
    /// Whether its block stays the pool's, which may need it again.
    pub kept: bool,
}

/// What a worker has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The result of its oldest task, with the face's code.
    Reply(u8),
    /// The worker has set itself up.
    Ready,
    /// The worker could not set itself up, and ends.
    Failed,
}

/// A result as it lies in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyRecord {
    /// What it says.
    pub kind: Kind,
    /// Its bytes.
    pub place: Place,
    /// How long the task took, in nanoseconds.
    pub elapsed: u64,
    /// Whether the worker has made the task's block its own.
    pub claimed: bool,
}

/// Bytes as a sender has them.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// To be copied into the ring; [`INLINE`] at the most.
    Inline(&'a [&'a [u8]]),
    /// In a block: offset and length.
    Block(u64, u64),
    /// In a block that stays the pool's.
    Kept(u64, u64),
}

impl Content<'_> {
    fn inline_len(self) -> u64 {
        match self {
            Self::Inline(parts) => parts.iter().map(|part| part.len() as u64).sum(),
            Self::Block(..) | Self::Kept(..) => 0,
        }
    }

    /// Bytes of ring that the content takes, with its words.
    fn extent(self) -> u64 {
        match self {
            Self::Inline(_) => padded(self.inline_len()),
            Self::Block(..) | Self::Kept(..) => 16,
        }
    }

    /// Returns where the bytes will be found, if they are written at `at`.
    fn place(self, at: u64) -> Place {
        match self {
            Self::Inline(_) => Place {
                at,
                len: self.inline_len(),
                in_block: false,
            },
            Self::Block(at, len) | Self::Kept(at, len) => Place {
                at,
                len,
                in_block: true,
            },
        }
    }

    /// Writes the content; returns what the head word has to say of it.
    fn write(self, ring: Ring, at: u64) -> u64 {
        match self {
            Self::Inline(parts) => {
                ring.write(at, parts);
                self.inline_len()
            }
            Self::Block(offset, len) | Self::Kept(offset, len) => {
                ring.set_word(at, offset);
                ring.set_word(at + 8, len);
                match self {
                    Self::Kept(..) => IN_BLOCK | KEPT,
                    _ => IN_BLOCK,
                }
            }
        }
    }
}

/// Writes a task at `position` if it ends no further than `limit`; returns where
/// its bytes lie and the position after it.
pub fn write_task(
    ring: Ring,
    position: u64,
    limit: u64,
    job: Option<JobName>,
    content: Content<'_>,
) -> Option<(Place, u64)> {
    let words = 8 + 16 * u64::from(job.is_some());
    let (at, end) = begin(ring, position, limit, words + content.extent())?;
    let place = content.place(at + words);
    let mut head = content.write(ring, at + words);
    if let Some(job) = job {
        head |= OF_JOB;
        ring.set_word(at + 8, job.id);
        ring.set_word(at + 16, job.offset);
    }
    ring.set_word(at, head);
    Some((place, end))
}

/// Reads the task at `position`; returns it and the position after it.
///
/// # Errors
/// `Invalid` when it is none that [`write_task`] has written.
pub fn read_task(ring: Ring, position: u64) -> Result<(TaskRecord, u64)> {
    let (at, head) = arrive(ring, position)?;
    let mut next = at + 8;
    let mut job = None;
    if head & OF_JOB != 0 {
        job = Some(JobName {
            id: word(ring, at + 8)?,
            offset: word(ring, at + 16)?,
        });
        next += 16;
    }
    let (place, end) = read_place(ring, next, head)?;
    let kept = head & KEPT != 0;
    Ok((TaskRecord { place, job, kept }, end))
}

/// Writes a result at `position` if it ends no further than `limit`; returns
/// the position after it.
pub fn write_reply(
    ring: Ring,
    position: u64,
    limit: u64,
    (kind, elapsed, claimed): (Kind, u64, bool),
    content: Content<'_>,
) -> Option<u64> {
    let (at, end) = begin(ring, position, limit, 16 + content.extent())?;
    let mut head = content.write(ring, at + 16);
    head |= match kind {
        Kind::Reply(code) => u64::from(code) << CODE_SHIFT,
        Kind::Ready => READY,
        Kind::Failed => FAILED,
    };
    if claimed {
        head |= CLAIMED;
    }
    ring.set_word(at + 8, elapsed);
    ring.set_word(at, head);
    Some(end)
}

/// Reads the result at `position`; returns it and the position after it.
///
/// # Errors
/// `Invalid` when it is none that [`write_reply`] has written.
pub fn read_reply(ring: Ring, position: u64) -> Result<(ReplyRecord, u64)> {
    let (at, head) = arrive(ring, position)?;
    let kind = if head & READY != 0 {
        Kind::Ready
    } else if head & FAILED != 0 {
        Kind::Failed
    } else {
        Kind::Reply((head >> CODE_SHIFT) as u8)
    };
    let (place, end) = read_place(ring, at + 16, head)?;
    let record = ReplyRecord {
        kind,
        place,
        elapsed: word(ring, at + 8)?,
        claimed: head & CLAIMED != 0,
    };
    Ok((record, end))
}

/// Finds room for `len` bytes in one piece and marks what is skipped for it;
/// returns where they begin and end.
fn begin(ring: Ring, position: u64, limit: u64, len: u64) -> Option<(u64, u64)> {
    let skip = ring.skip(position, len);
    let at = position + skip;
    if at + len > limit {
        return None;
    }
    if skip != 0 {
        ring.set_word(position, SKIP);
    }
    Some((at, at + len))
}

/// Reads the head word of the record at `position`, past what is skipped.
fn arrive(ring: Ring, position: u64) -> Result<(u64, u64)> {
    let head = word(ring, position)?;
    if head & SKIP == 0 {
        return Ok((position, head));
    }
    let at = position + ring.capacity() - position % ring.capacity();
    Ok((at, word(ring, at)?))
}

fn read_place(ring: Ring, at: u64, head: u64) -> Result<(Place, u64)> {
    if head & IN_BLOCK != 0 {
        let place = Place {
            at: word(ring, at)?,
            len: word(ring, at + 8)?,
            in_block: true,
        };
        return Ok((place, at + 16));
    }
    let len = head & LENGTH;
    if len > INLINE as u64 || !ring.holds(at, len) {
        return Err(no_record());
    }
    let place = Place {
        at,
        len,
        in_block: false,
    };
    Ok((place, at + padded(len)))
}

/// Reads a word of a record, wherever another process says that it is.
fn word(ring: Ring, position: u64) -> Result<u64> {
    if ring.holds(position, 8) {
        return Ok(ring.word(position));
    }
    Err(no_record())
}

fn no_record() -> Error {
    Error::new(
        ErrorKind::Invalid,
        "what lies in the ring between a pool and its worker is no record",
    )
}

#[cfg(all(test, not(loom)))]
#[expect(unsafe_code, reason = "a ring over a vector")]
mod tests {
    use std::ptr::NonNull;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn with_ring(capacity: u64, test: impl FnOnce(Ring)) {
        let mut memory = vec![0u64; capacity as usize / 8];
        let base = NonNull::new(memory.as_mut_ptr().cast()).unwrap();
        // SAFETY: the vector outlives the test and is touched by it only.
        test(unsafe { Ring::new(base, capacity) });
    }

    #[test]
    fn tasks_of_all_lengths_come_out_as_they_went_in_round_after_round() {
        with_ring(256, |ring| {
            let mut position = 0;
            for round in 0..500u64 {
                let bytes: Vec<u8> = (0..round % 97).map(|i| (i + round) as u8).collect();
                let job = (round % 3 == 0).then_some(JobName {
                    id: round,
                    offset: 7,
                });
                let content = [&bytes[..]];
                let (place, end) = write_task(
                    ring,
                    position,
                    position + 256,
                    job,
                    Content::Inline(&content),
                )
                .unwrap();
                let (task, after) = read_task(ring, position).unwrap();
                assert_eq!(task.place, place);
                assert_eq!(after, end);
                assert_eq!(task.job, job);
                assert!(!task.place.in_block);
                assert_eq!(ring.bytes(task.place.at, task.place.len), bytes);
                position = end;
            }
        });
    }

    #[test]
    fn results_come_out_as_they_went_in() {
        with_ring(256, |ring| {
            let mut position = 0;
            for round in 0..200u64 {
                let (kind, content) = match round % 3 {
                    0 => (Kind::Ready, Content::Inline(&[])),
                    1 => (
                        Kind::Reply(round as u8),
                        Content::Inline(&[b"one", b" ", b"two"]),
                    ),
                    _ => (Kind::Failed, Content::Block(round, 1 << 40)),
                };
                let about = (kind, round, round % 2 == 0);
                let end = write_reply(ring, position, position + 256, about, content).unwrap();
                let (reply, after) = read_reply(ring, position).unwrap();
                assert_eq!(after, end);
                assert_eq!((reply.kind, reply.elapsed, reply.claimed), about);
                match content {
                    Content::Block(at, len) | Content::Kept(at, len) => {
                        let in_block = true;
                        assert_eq!(reply.place, Place { at, len, in_block });
                    }
                    Content::Inline(parts) => {
                        let bytes = ring.bytes(reply.place.at, reply.place.len);
                        assert_eq!(bytes, parts.concat());
                    }
                }
                position = end;
            }
        });
    }

    #[test]
    fn a_record_is_refused_where_the_room_ends() {
        with_ring(256, |ring| {
            let parts: [&[u8]; 1] = [&[0; 100]];
            let content = Content::Inline(&parts);
            let (_, end) = write_task(ring, 0, 256, None, content).unwrap();
            let (_, end) = write_task(ring, end, 256, None, content).unwrap();
            assert_eq!(write_task(ring, end, 256, None, content), None);
            // With the first one gone there is room for it, past the end.
            assert!(write_task(ring, end, 112 + 256, None, content).is_some());
        });
    }
    /// Words as they stand in records, or should not: flags, lengths, offsets.
    fn words() -> impl Strategy<Value = Vec<u64>> {
        let flags = (0..1u64 << 15, 0..3000u64).prop_map(|(flags, len)| flags << 32 | len);
        let word = prop_oneof![any::<u64>(), 0..100u64, flags];
        vec(word, 32)
    }

    proptest! {
        #[test]
        fn any_words_are_records_inside_the_ring_or_an_error(words in words(), at in 0..64u64) {
            with_ring(256, |ring| {
                for (index, word) in (0..).zip(words) {
                    ring.set_word(8 * index, word);
                }
                let position = 8 * at;
                if let Ok((record, end)) = read_task(ring, position) {
                    assert!(end > position && end <= position + 2 * 256);
                    assert!(record.place.in_block || ring.holds(record.place.at, record.place.len));
                }
                if let Ok((record, end)) = read_reply(ring, position) {
                    assert!(end > position && end <= position + 2 * 256);
                    assert!(record.place.in_block || ring.holds(record.place.at, record.place.len));
                }
            });
        }
    }
}
