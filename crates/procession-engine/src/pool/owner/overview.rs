//! What a pool tells of its work: what was counted, and what its workers do now.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::pool::api::stats::{FunctionStats, PoolStats, WorkStats, WorkerStats};
use crate::pool::owner::scheduler::PoolState;
use crate::pool::owner::worker_slot::WorkerSlot;
use procession_sys::process::liveness::boot_time;

impl<T> PoolState<T> {
    /// Returns what the pool has done and does; `names` are those of the labels.
    pub(crate) fn stats(&self, names: &[Arc<str>]) -> PoolStats {
        let tally = &self.tally;
        let (now, boot) = (Instant::now(), boot_time());
        let mut all = WorkStats::default();
        let mut functions = Vec::new();
        for (label, work) in tally.functions.iter().enumerate() {
            add(&mut all, work);
            if let Some(name) = names.get(label)
                && (work.tasks > 0 || work.deaths + work.timeouts + work.cancelled > 0)
            {
                functions.push(FunctionStats {
                    name: name.as_ref().to_owned(),
                    work: work.clone(),
                });
            }
        }
        let mut running = 0;
        let slots = &self.slots;
        let workers = tally.places.iter().enumerate().map(|(index, place)| {
            let index = index as u32;
            let has_place = |slot: &&WorkerSlot<T>| slot.place() == index;
            // One that ends may still be there when the next one starts.
            let slot = slots
                .iter()
                .filter(has_place)
                .min_by_key(|slot| slot.is_ending());
            let task = slot.and_then(|slot| slot.running(boot));
            running += usize::from(task.is_some());
            let present = slot.map_or(Duration::ZERO, |slot| slot.present(now));
            let working = place.work.times.sum() + task.unwrap_or_default();
            WorkerStats {
                index,
                pid: slot.map(|slot| slot.process.pid()),
                starts: place.starts,
                deaths: place.deaths,
                starting: place.starting,
                waiting: (place.present + present).saturating_sub(working),
                running: task,
                queued: slot.map_or(0, WorkerSlot::queued),
                work: place.work.clone(),
            }
        });
        let workers = workers.collect();
        PoolStats {
            age: now - tally.began,
            submitted: self.submitted(),
            waiting: self.outstanding.tasks.saturating_sub(running),
            running,
            work: all,
            workers,
            functions,
        }
    }
}

fn add(sum: &mut WorkStats, more: &WorkStats) {
    sum.tasks += more.tasks;
    sum.calls += more.calls;
    sum.failed += more.failed;
    sum.deaths += more.deaths;
    sum.retries += more.retries;
    sum.timeouts += more.timeouts;
    sum.cancelled += more.cancelled;
    sum.bytes_sent += more.bytes_sent;
    sum.bytes_received += more.bytes_received;
    sum.times.merge(&more.times);
}
