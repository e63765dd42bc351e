//! What the program must not leave: descriptors, and objects in the arena.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use procession_engine::shm::{Family, ObjectKind};
use procession_engine::standby::prebooted;

use crate::actors::pass;

/// How long the end of a process may take to be seen by others.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many there are of each thing.
#[derive(Default)]
pub struct Leftovers(BTreeMap<String, u64>);

impl Leftovers {
    /// Counts what there is now.
    pub fn look() -> Self {
        let mut counts = BTreeMap::new();
        for entry in fs::read_dir("/proc/self/fd")
            .into_iter()
            .flatten()
            .flatten()
        {
            if let Ok(target) = fs::read_link(entry.path()) {
                let target = target.to_string_lossy().into_owned();
                let kind = target
                    .split('[')
                    .next()
                    .unwrap_or_default()
                    .replace(' ', "_");
                *counts.entry(kind).or_default() += 1;
            }
        }
        if let Some(family) = Family::existing() {
            family.reclaim_all();
            family.for_each_object(|object| {
                let kind = object.kind().map_or("unknown", ObjectKind::name);
                *counts.entry(kind.replace(' ', "_")).or_default() += 1;
            });
        }
        Self(counts)
    }

    /// Waits until no more is there than before; returns what is too much.
    pub fn since(before: &Self) -> Vec<(String, u64)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let _ = procession::active_children();
            prebooted::clear();
            let left: Vec<_> = Self::look()
                .0
                .into_iter()
                .filter(|(what, count)| *count > before.0.get(what).copied().unwrap_or(0))
                .collect();
            if left.is_empty() || Instant::now() > deadline {
                return left;
            }
            pass(Duration::from_millis(50));
        }
    }
}
