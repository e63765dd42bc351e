//! The format of tasks and replies in a ring.
//!
//! A record is a head word (the number of bytes in the low half, flags in the high half),
//! more words if the flags say so, and the bytes, padded to a whole word. Only the faces know
//! what the bytes mean.

use crate::pool::shm::ring::{Ring, WritableRange, padded};
use procession_sys::error::{Error, ErrorKind, Result};

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
const NAMED: u64 = 1 << 47;
const CODE_SHIFT: u32 = 32;
const LENGTH: u64 = (1 << CODE_SHIFT) - 1;

/// Locates the bytes of a task or a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteLocation {
    /// The position in the ring, or the offset of the block.
    pub at: u64,
    /// How many bytes there are.
    pub len: u64,
    /// Whether the bytes are in a block.
    pub in_block: bool,
}

/// Names a job's prologue, the bytes that its tasks have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobName {
    /// A number that no other job of the family has.
    pub id: u64,
    /// The offset of the prologue's block, whose first word is the length.
    pub offset: u64,
}

/// A task as it is stored in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskRecord {
    /// Where its bytes are.
    pub place: ByteLocation,
    /// The job that it belongs to, if any.
    pub job: Option<JobName>,
    /// Whether the pool keeps its block, for another try; a worker cannot claim it.
    pub kept: bool,
    /// The number by which a trace knows the name of its function; 0 where there is no trace.
    pub name: u64,
}

/// The kinds of reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// The result of its oldest task, with the face's code.
    Reply(u8),
    /// The worker has set itself up.
    Ready,
    /// The worker could not set itself up, and ends.
    Failed,
}

/// A reply as it is stored in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyRecord {
    /// Its kind.
    pub kind: ReplyKind,
    /// Where its bytes are.
    pub place: ByteLocation,
    /// How long the task took, in nanoseconds.
    pub elapsed: u64,
    /// Whether the worker has claimed the task's block.
    pub claimed: bool,
}

/// The bytes of a record, in one of the forms in which a sender may have them.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// Parts to be copied into the ring; [`INLINE`] bytes at the most.
    Inline(&'a [&'a [u8]]),
    /// In a block: offset and length.
    Block(u64, u64),
    /// In a block that the pool keeps: offset and length.
    Kept(u64, u64),
}

impl Content<'_> {
    fn inline_len(self) -> u64 {
        match self {
            Self::Inline(parts) => parts.iter().map(|part| part.len() as u64).sum(),
            Self::Block(..) | Self::Kept(..) => 0,
        }
    }

    /// Returns how many bytes the content takes in the ring.
    fn extent(self) -> u64 {
        match self {
            Self::Inline(_) => padded(self.inline_len()),
            Self::Block(..) | Self::Kept(..) => 16,
        }
    }

    /// Returns where the bytes will be found, if they are written at `at`.
    fn place(self, at: u64) -> ByteLocation {
        match self {
            Self::Inline(_) => ByteLocation {
                at,
                len: self.inline_len(),
                in_block: false,
            },
            Self::Block(at, len) | Self::Kept(at, len) => ByteLocation {
                at,
                len,
                in_block: true,
            },
        }
    }

    /// Writes the content; returns the bits that it needs in the head word.
    fn write(self, range: &mut WritableRange, at: u64) -> u64 {
        match self {
            Self::Inline(parts) => {
                range.write(at, parts);
                self.inline_len()
            }
            Self::Block(offset, len) | Self::Kept(offset, len) => {
                range.set_word(at, offset);
                range.set_word(at + 8, len);
                match self {
                    Self::Kept(..) => IN_BLOCK | KEPT,
                    _ => IN_BLOCK,
                }
            }
        }
    }
}

/// Writes a task at the beginning of a range, if there is room; returns where its bytes are
/// and the position after it.
pub fn write_task(
    mut range: WritableRange,
    job: Option<JobName>,
    name: u64,
    content: Content<'_>,
) -> Option<(ByteLocation, u64)> {
    let words = 8 + 16 * u64::from(job.is_some()) + 8 * u64::from(name != 0);
    let (at, end) = begin(&mut range, words + content.extent())?;
    let place = content.place(at + words);
    let mut head = content.write(&mut range, at + words);
    if let Some(job) = job {
        head |= OF_JOB;
        range.set_word(at + 8, job.id);
        range.set_word(at + 16, job.offset);
    }
    if name != 0 {
        head |= NAMED;
        range.set_word(at + words - 8, name);
    }
    range.set_word(at, head);
    Some((place, end))
}

/// Reads the task at `position`; returns it and the position after it.
///
/// # Errors
/// `Invalid` when no record of [`write_task`] is there.
pub fn read_task(ring: Ring, position: u64) -> Result<(TaskRecord, u64)> {
    let (at, head) = read_head(ring, position)?;
    let mut next = at + 8;
    let mut job = None;
    if head & OF_JOB != 0 {
        job = Some(JobName {
            id: word(ring, at + 8)?,
            offset: word(ring, at + 16)?,
        });
        next += 16;
    }
    let mut name = 0;
    if head & NAMED != 0 {
        name = word(ring, next)?;
        next += 8;
    }
    let (place, end) = read_place(ring, next, head)?;
    let kept = head & KEPT != 0;
    let record = TaskRecord {
        place,
        job,
        kept,
        name,
    };
    Ok((record, end))
}

/// Writes a reply at the beginning of a range, if there is room; returns the position after
/// it.
pub fn write_reply(
    mut range: WritableRange,
    (kind, elapsed, claimed): (ReplyKind, u64, bool),
    content: Content<'_>,
) -> Option<u64> {
    let (at, end) = begin(&mut range, 16 + content.extent())?;
    let mut head = content.write(&mut range, at + 16);
    head |= match kind {
        ReplyKind::Reply(code) => u64::from(code) << CODE_SHIFT,
        ReplyKind::Ready => READY,
        ReplyKind::Failed => FAILED,
    };
    if claimed {
        head |= CLAIMED;
    }
    range.set_word(at + 8, elapsed);
    range.set_word(at, head);
    Some(end)
}

/// Reads the reply at `position`; returns it and the position after it.
///
/// # Errors
/// `Invalid` when no record of [`write_reply`] is there.
pub fn read_reply(ring: Ring, position: u64) -> Result<(ReplyRecord, u64)> {
    let (at, head) = read_head(ring, position)?;
    let kind = if head & READY != 0 {
        ReplyKind::Ready
    } else if head & FAILED != 0 {
        ReplyKind::Failed
    } else {
        ReplyKind::Reply((head >> CODE_SHIFT) as u8)
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

/// Finds room for `len` bytes in one piece, and marks the bytes that are skipped for it;
/// returns where the room begins and ends.
fn begin(range: &mut WritableRange, len: u64) -> Option<(u64, u64)> {
    let position = range.position();
    let skip = range.ring().skip(position, len);
    let at = position + skip;
    if at + len > range.limit() {
        return None;
    }
    if skip != 0 {
        range.set_word(position, SKIP);
    }
    Some((at, at + len))
}

/// Reads the head word of the record at `position`, after any skipped bytes; returns where
/// the record begins, and the word.
fn read_head(ring: Ring, position: u64) -> Result<(u64, u64)> {
    let head = word(ring, position)?;
    if head & SKIP == 0 {
        return Ok((position, head));
    }
    let at = position + ring.capacity() - position % ring.capacity();
    Ok((at, word(ring, at)?))
}

fn read_place(ring: Ring, at: u64, head: u64) -> Result<(ByteLocation, u64)> {
    if head & IN_BLOCK != 0 {
        let place = ByteLocation {
            at: word(ring, at)?,
            len: word(ring, at + 8)?,
            in_block: true,
        };
        return Ok((place, at + 16));
    }
    let len = head & LENGTH;
    if len > INLINE as u64 || !ring.holds(at, len) {
        return Err(no_record(ring, at));
    }
    let place = ByteLocation {
        at,
        len,
        in_block: false,
    };
    Ok((place, at + padded(len)))
}

/// Reads a word of a record. The position may come from the other process, so it is checked.
fn word(ring: Ring, position: u64) -> Result<u64> {
    if ring.holds(position, 8) {
        return Ok(ring.word(position));
    }
    Err(no_record(ring, position))
}

fn no_record(ring: Ring, position: u64) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!(
            "what a pool and its worker share was damaged by a process that wrote outside its own \
             memory: there is no task or result at byte {} of {}",
            position % ring.capacity(),
            ring.capacity()
        ),
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

    fn writable(ring: Ring, position: u64, limit: u64) -> WritableRange {
        // SAFETY: nobody else has the ring, and bytes of it are borrowed by `bytes` only.
        unsafe { ring.writable(position, limit) }
    }

    fn bytes(ring: Ring, place: ByteLocation) -> Vec<u8> {
        // SAFETY: nobody writes meanwhile.
        unsafe { ring.bytes(place.at, place.len) }.to_vec()
    }

    #[test]
    fn tasks_of_all_lengths_come_out_as_they_went_in_round_after_round() {
        with_ring(256, |ring| {
            let mut position = 0;
            for round in 0..500u64 {
                let sent: Vec<u8> = (0..round % 97).map(|i| (i + round) as u8).collect();
                let job = (round % 3 == 0).then_some(JobName {
                    id: round,
                    offset: 7,
                });
                let content = [&sent[..]];
                let range = writable(ring, position, position + 256);
                let (place, end) =
                    write_task(range, job, round % 2, Content::Inline(&content)).unwrap();
                let (task, after) = read_task(ring, position).unwrap();
                assert_eq!(task.place, place);
                assert_eq!(after, end);
                assert_eq!((task.job, task.name), (job, round % 2));
                assert!(!task.place.in_block);
                assert_eq!(bytes(ring, task.place), sent);
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
                    0 => (ReplyKind::Ready, Content::Inline(&[])),
                    1 => (
                        ReplyKind::Reply(round as u8),
                        Content::Inline(&[b"one", b" ", b"two"]),
                    ),
                    _ => (ReplyKind::Failed, Content::Block(round, 1 << 40)),
                };
                let about = (kind, round, round % 2 == 0);
                let range = writable(ring, position, position + 256);
                let end = write_reply(range, about, content).unwrap();
                let (reply, after) = read_reply(ring, position).unwrap();
                assert_eq!(after, end);
                assert_eq!((reply.kind, reply.elapsed, reply.claimed), about);
                match content {
                    Content::Block(at, len) | Content::Kept(at, len) => {
                        let in_block = true;
                        assert_eq!(reply.place, ByteLocation { at, len, in_block });
                    }
                    Content::Inline(parts) => {
                        assert_eq!(bytes(ring, reply.place), parts.concat());
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
            let write = |from, limit| write_task(writable(ring, from, limit), None, 0, content);
            let (_, end) = write(0, 256).unwrap();
            let (_, end) = write(end, 256).unwrap();
            assert_eq!(write(end, 256), None);
            // Without the first record there is room again, past the ring's end.
            assert!(write(end, 112 + 256).is_some());
        });
    }

    #[test]
    #[should_panic(expected = "over its room")]
    fn nothing_is_written_outside_a_range() {
        with_ring(256, |ring| writable(ring, 64, 128).set_word(128, 1));
    }

    #[test]
    fn what_is_no_record_is_told_with_its_place() {
        with_ring(256, |ring| {
            // Longer than anything that lies in the ring itself.
            writable(ring, 0, 256).set_word(16, LENGTH);
            let error = read_task(ring, 256 + 16).unwrap_err().to_string();
            assert!(error.contains("at byte 24 of 256"), "{error}");
        });
    }

    /// Makes words like those of records, valid or not: flags, lengths, offsets.
    fn words() -> impl Strategy<Value = Vec<u64>> {
        let flags = (0..1u64 << 15, 0..3000u64).prop_map(|(flags, len)| flags << 32 | len);
        let word = prop_oneof![any::<u64>(), 0..100u64, flags];
        vec(word, 32)
    }

    proptest! {
        #[test]
        fn any_words_are_records_inside_the_ring_or_an_error(words in words(), at in 0..64u64) {
            with_ring(256, |ring| {
                let mut range = writable(ring, 0, 256);
                for (index, word) in (0..).zip(words) {
                    range.set_word(8 * index, word);
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
