//! How many processors there are, and how many of them are ours to use.

use std::fs;

use crate::attributes::affinity::Affinity;
use crate::fork_safe::once::ForkOnce;
use crate::limits::cgroup::{Cgroup, Directory};

/// Returns how many threads of this process can run at once: the processors it
/// may run on, or fewer where its control group gets less time than that
/// (part of a processor counts as one). At least 1.
#[must_use]
pub fn usable_cpus() -> usize {
    let allowed = Affinity::current().map_or(usize::MAX, |set| set.count());
    allowed
        .min(quota(&Cgroup::of_self()).unwrap_or(usize::MAX))
        .min(total_cpus())
        .max(1)
}

/// Returns what [`usable_cpus`] said the first time that this process asked, for hints.
#[must_use]
pub fn usable_cpus_at_first() -> usize {
    static COUNT: ForkOnce<usize> = ForkOnce::new();
    *COUNT.get_or_init(usable_cpus)
}

/// Returns how many processors of the machine are switched on. At least 1.
#[must_use]
pub fn total_cpus() -> usize {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    match count_list(online.trim()) {
        Some(count) if count > 0 => count,
        // Without /sys the kernel knows which ones this thread may use.
        _ => Affinity::current().map_or(1, |set| set.count().max(1)),
    }
}

/// Counts a list such as `0-3,8`.
fn count_list(list: &str) -> Option<usize> {
    list.split(',')
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
            Some(last.checked_sub(first)? + 1)
        })
        .sum()
}

/// Returns the processors' worth of time that a control group gets, rounded
/// up; `None` when nothing limits it.
fn quota(group: &Cgroup) -> Option<usize> {
    group
        .directories("cpu")
        .iter()
        .filter_map(|directory| match directory {
            Directory::V1(path) => {
                let read = |name| fs::read_to_string(path.join(name)).ok();
                whole_cpus(&read("cpu.cfs_quota_us")?, &read("cpu.cfs_period_us")?)
            }
            Directory::V2(path) => {
                let max = fs::read_to_string(path.join("cpu.max")).ok()?;
                let (quota, period) = max.trim().split_once(' ')?;
                whole_cpus(quota, period)
            }
        })
        .min()
}

/// Divides microseconds by microseconds. No limit is `max` or -1: no number.
fn whole_cpus(quota: &str, period: &str) -> Option<usize> {
    let quota: usize = quota.trim().parse().ok()?;
    let period: usize = period.trim().parse().ok()?;
    (period > 0).then(|| quota.div_ceil(period).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_counted() {
        assert_eq!(count_list("0"), Some(1));
        assert_eq!(count_list("0-3,8,10-11"), Some(7));
        assert_eq!(count_list(""), None);
        assert_eq!(count_list("3-0"), None);
    }

    #[test]
    fn part_of_a_processor_counts_as_one() {
        assert_eq!(whole_cpus("150000\n", "100000\n"), Some(2));
        assert_eq!(whole_cpus("200000", "100000"), Some(2));
        assert_eq!(whole_cpus("1000", "100000"), Some(1));
        assert_eq!(whole_cpus("max", "100000"), None);
        assert_eq!(whole_cpus("-1", "100000"), None);
        assert_eq!(whole_cpus("1", "0"), None);
    }

    #[test]
    fn the_strictest_group_on_the_way_up_counts() {
        let place = std::env::temp_dir().join(format!("procession-cpu-{}", std::process::id()));
        let inner = place.join("sys/fs/cgroup/a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::create_dir_all(place.join("proc/self")).unwrap();
        let write = |name: &str, text: &str| fs::write(place.join(name), text).unwrap();
        write("proc/self/cgroup", "0::/a/b\n");
        let mount = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        write("proc/self/mountinfo", mount);
        write("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
        write("sys/fs/cgroup/a/cpu.max", "250000 100000\n");
        let found = quota(&Cgroup::at(&place));
        fs::remove_dir_all(&place).unwrap();
        assert_eq!(found, Some(3));
    }

    #[test]
    fn what_is_usable_is_no_more_than_what_is_there() {
        assert!((1..=total_cpus()).contains(&usable_cpus()));
    }
}
