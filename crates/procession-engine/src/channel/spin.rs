//! How long it is worth looking before parking, learnt from what happened.
//!
//! On a machine with idle processors a peer often answers within a
//! microsecond, and parking and waking costs fifty. On a busy one whoever
//! spins keeps the peer from running. Each queue learns which it is.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::os::affinity::Affinity;
use crate::primitive::relax;

/// Looks at the most. Found by trial on a two-core machine: about as long as
/// a wake-up takes.
const MOST: u32 = 2000;

/// Looks to try again with after it did not pay.
const PROBE: u32 = 50;

/// Parks between two probes.
const REST: u32 = 32;

/// Remembers whether spinning has paid off; plain numbers, and a lost update
/// does no harm.
#[derive(Debug)]
pub struct Spin {
    most: u32,
    looks: AtomicU32,
    rested: AtomicU32,
}

impl Spin {
    /// Knows nothing yet. Without a second processor it will never spin.
    pub fn new() -> Self {
        let processors = Affinity::current().map_or(1, |usable| usable.count());
        Self {
            most: if processors > 1 { MOST } else { 0 },
            looks: AtomicU32::new(0),
            rested: AtomicU32::new(0),
        }
    }

    /// Calls `look` until it returns true (then true) or it is not worth it.
    pub fn until(&self, look: impl Fn() -> bool) -> bool {
        let Some(looks) = self.budget() else {
            return false;
        };
        for _ in 0..looks {
            if look() {
                // Relaxed here and below: hints of one process to itself.
                self.looks
                    .store((looks * 2).clamp(PROBE, self.most), Ordering::Relaxed);
                return true;
            }
            relax();
        }
        self.looks.store(looks / 2, Ordering::Relaxed);
        false
    }

    fn budget(&self) -> Option<u32> {
        if self.most == 0 {
            return None;
        }
        let looks = self.looks.load(Ordering::Relaxed);
        if looks >= PROBE {
            return Some(looks);
        }
        let rested = self.rested.fetch_add(1, Ordering::Relaxed);
        rested.is_multiple_of(REST).then_some(PROBE)
    }
}
