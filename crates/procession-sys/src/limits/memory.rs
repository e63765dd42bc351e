//! How much memory there is for this process.

use std::fs;

use crate::limits::cgroup::{Cgroup, Directory};

/// Returns the bytes of memory that the processes of this control group may use
/// together; `None` where the system does not tell. Where there is no limit, the number
/// may be larger than any machine's memory.
#[must_use]
pub fn group_limit() -> Option<u64> {
    let limits = Cgroup::of_self().directories("memory");
    limits
        .iter()
        .filter_map(|directory| {
            let path = match directory {
                Directory::V1(path) => path.join("memory.limit_in_bytes"),
                Directory::V2(path) => path.join("memory.max"),
            };
            // No limit is `max`, too, in version 2.
            fs::read_to_string(path).ok()?.trim().parse().ok()
        })
        .min()
}

/// Returns the bytes of memory that the machine has.
#[must_use]
pub fn total_memory() -> Option<u64> {
    parse_total(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn parse_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_in_bytes() {
        let text = "MemTotal:        2048 kB\nMemFree:  1 kB\n";
        assert_eq!(parse_total(text), Some(2 << 20));
        assert_eq!(parse_total("MemFree: 1 kB"), None);
    }
}
