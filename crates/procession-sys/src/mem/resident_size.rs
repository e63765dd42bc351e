//! How much memory this process takes.

use std::fs::File;
use std::io::Read as _;

/// Holds what one look showed, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResidentSize {
    /// Bytes in RAM, without pages that other processes share.
    pub resident: u64,
    /// Private writable memory, in RAM or not: what [`Resource::Data`] limits,
    /// and the stack.
    ///
    /// [`Resource::Data`]: crate::limits::rlimits::Resource::Data
    pub data: u64,
}

impl ResidentSize {
    /// Looks at this process; `None` where there is no `/proc`.
    #[must_use]
    pub fn own() -> Option<Self> {
        // A few numbers; nothing is allocated, because there may be no memory.
        let mut buffer = [0; 256];
        let mut file = File::open("/proc/self/statm").ok()?;
        let len = file.read(&mut buffer).ok()?;
        Self::parse(buffer.get(..len)?)
    }

    fn parse(statm: &[u8]) -> Option<Self> {
        // size resident shared text lib data dt, in pages (proc_pid_statm(5)).
        let mut fields = std::str::from_utf8(statm).ok()?.split_ascii_whitespace();
        let mut bytes = |skipped: usize| {
            let pages: u64 = fields.nth(skipped)?.parse().ok()?;
            Some(pages * rustix::param::page_size() as u64)
        };
        let (resident, shared, data) = (bytes(1)?, bytes(0)?, bytes(2)?);
        Some(Self {
            resident: resident.saturating_sub(shared),
            data,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_taken_from_their_places() {
        let page = rustix::param::page_size() as u64;
        let footprint = ResidentSize::parse(b"1000 300 100 5 0 700 0\n").unwrap();
        assert_eq!(
            (footprint.resident, footprint.data),
            (200 * page, 700 * page)
        );
        assert_eq!(ResidentSize::parse(b"1000 300"), None);
    }

    #[test]
    fn memory_that_is_written_to_counts() {
        const MUCH: usize = 64 << 20;
        let before = ResidentSize::own().unwrap();
        let much = std::hint::black_box(vec![1u8; MUCH]);
        let after = ResidentSize::own().unwrap();
        // Other tests come and go meanwhile.
        assert!(after.resident > before.resident + MUCH as u64 / 2);
        assert!(after.data > before.data + MUCH as u64 / 2);
        drop(much);
    }
}
