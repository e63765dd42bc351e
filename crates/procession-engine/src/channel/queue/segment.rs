//! Records in segments: how a queue's items lie in the arena.
//!
//! A segment is a plain block. Records follow one another in it, each a header
//! of eight bytes and what its kind asks for, padded to eight. The last one
//! says where the next segment is. Only the places of the queue's two ends say how far
//! a segment is written; the bytes beyond may be anything.
//!
//! # Safety
//! Readers and writers give places inside a block that the queue holds, behind
//! its guards; the functions here only turn them into addresses.

#![expect(unsafe_code, reason = "copies to and from arena memory")]

use procession_shm::Family;

/// Bytes up to which a message lies in the segment itself. Found by trial:
/// copying this much under the guard costs less than a block of its own.
pub const INLINE: usize = 1024;

/// Bytes of a record's header: kind in the upper half, length in the lower.
const HEADER: u64 = 8;

/// Bytes of the record that names the next segment; kept free at the end of
/// every segment.
pub const NEXT: u64 = HEADER + 8;

/// Bytes of the record of a message that lies in a block of its own.
pub const APART: u64 = HEADER + 16;

/// Sizes of segments in bytes: the first of a queue, the usual ones, and those
/// of a queue with a long backlog.
pub const SIZES: [u64; 3] = [4 << 10, 16 << 10, 64 << 10];

/// The backlog in items from which on the largest segments are used.
const LONG_BACKLOG: u64 = 256;

const KIND_INLINE: u64 = 1;
const KIND_APART: u64 = 2;
const KIND_NEXT: u64 = 3;

/// What a record holds.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    /// A message of at most [`INLINE`] bytes.
    Inline(&'a [u8]),
    /// A message in a block of its own.
    Apart {
        /// The block.
        offset: u64,
        /// Bytes of it that are the message.
        len: u64,
    },
    /// The segment goes on elsewhere.
    Next(u64),
    /// Nothing that a queue writes.
    Unknown,
}

/// Returns the bytes that a message of `len` bytes takes in a segment.
pub fn inline_size(len: usize) -> u64 {
    HEADER + (len as u64).next_multiple_of(8)
}

/// Returns how large a new segment is to be at a given backlog.
pub fn size_for(backlog: u64) -> u64 {
    if backlog >= LONG_BACKLOG {
        SIZES[2]
    } else {
        SIZES[1]
    }
}

/// Writes the parts, `len` bytes together, as one message at `at`.
pub fn write_inline(family: &Family, at: u64, parts: &[&[u8]], len: usize) {
    put_header(family, at, KIND_INLINE, len as u64);
    copy_parts(family, at + HEADER, parts, len as u64);
}

/// Writes the record of a message in a block of its own.
pub fn write_apart(family: &Family, at: u64, offset: u64, len: u64) {
    put_header(family, at, KIND_APART, 0);
    put_word(family, at + HEADER, offset);
    put_word(family, at + HEADER + 8, len);
}

/// Writes the record that names the next segment.
pub fn write_next(family: &Family, at: u64, segment: u64) {
    put_header(family, at, KIND_NEXT, 0);
    put_word(family, at + HEADER, segment);
}

/// Copies the parts, `len` bytes together, to a place in the arena.
pub fn copy_parts(family: &Family, at: u64, parts: &[&[u8]], len: u64) {
    debug_assert_eq!(parts.iter().map(|part| part.len() as u64).sum::<u64>(), len);
    let mut to = family.pointer(at, len).as_ptr();
    for part in parts {
        // SAFETY: `len` bytes at `at` belong to the caller, who made sure that
        // the parts are no longer together; they are not in the same block.
        unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), to, part.len()) };
        // SAFETY: still inside the same block, or one past it.
        to = unsafe { to.add(part.len()) };
    }
}

/// Reads the record at `at`; its bytes are good while the guard is held.
pub fn read(family: &Family, at: u64) -> Record<'_> {
    let header = word(family, at);
    match header >> 32 {
        KIND_INLINE => {
            let len = (header & 0xffff_ffff).min(INLINE as u64);
            let bytes = family.pointer(at + HEADER, len);
            // SAFETY: a published record, which nobody writes to again; it is
            // in the arena, which is never unmapped.
            Record::Inline(unsafe { std::slice::from_raw_parts(bytes.as_ptr(), len as usize) })
        }
        KIND_APART => Record::Apart {
            offset: word(family, at + HEADER),
            len: word(family, at + HEADER + 8),
        },
        KIND_NEXT => Record::Next(word(family, at + HEADER)),
        _ => Record::Unknown,
    }
}

fn put_header(family: &Family, at: u64, kind: u64, len: u64) {
    put_word(family, at, kind << 32 | len);
}

fn put_word(family: &Family, at: u64, value: u64) {
    let place = family.pointer(at, 8).cast::<u64>();
    // SAFETY: inside a segment, at a multiple of eight.
    unsafe { place.write(value) };
}

fn word(family: &Family, at: u64) -> u64 {
    let place = family.pointer(at, 8).cast::<u64>();
    // SAFETY: as above, and written by `put_word` before it was published.
    unsafe { place.read() }
}
