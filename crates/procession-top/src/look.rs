//! What is seen in one look, and what has changed since the one before.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use procession_engine::Result;
use procession_engine::observe::{self, FamilyView, Observer};

/// Which families are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// All of this user.
    All,
    /// That of a process.
    Process(u32),
}

/// All that was seen at one moment.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// The families, the oldest first.
    pub families: Vec<FamilyView>,
    /// How many families run another build of procession, so that they cannot be looked at.
    pub other_builds: usize,
    /// By process: the part of a processor's time that it had since the look before.
    pub cpu_parts: HashMap<u32, f64>,
    /// By process of a worker: the tasks that it has begun per second since then.
    pub task_rates: HashMap<u32, f64>,
}

/// Looks again and again. A family stays mapped until its last process has ended.
#[derive(Debug)]
pub struct Watcher {
    source: Source,
    observers: Vec<Observer>,
    before: Option<(Instant, Counts)>,
}

#[derive(Debug, Default)]
struct Counts {
    cpu: HashMap<u32, Duration>,
    begun: HashMap<u32, u32>,
}

impl Look {
    /// Looks once.
    ///
    /// # Errors
    /// When the process belongs to no family, or may not be looked at.
    pub fn once(source: Source) -> Result<Self> {
        Watcher::new(source).look()
    }

    /// Looks once at the family of this process; nothing is seen while it has none.
    #[must_use]
    pub fn own() -> Self {
        Self {
            families: observe::own_family().into_iter().collect(),
            ..Self::default()
        }
    }
}

impl Watcher {
    /// Makes one that has not looked yet.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self {
            source,
            observers: Vec::new(),
            before: None,
        }
    }

    /// Looks now. Families that have ended are left out.
    ///
    /// # Errors
    /// At the first look, as [`Look::once`]; later, when there is no /proc that shows processes.
    pub fn look(&mut self) -> Result<Look> {
        let mut other_builds = 0;
        match self.source {
            Source::Process(pid) if self.observers.is_empty() => {
                self.observers.push(Observer::of_process(pid)?);
            }
            Source::Process(_) => {}
            Source::All => {
                let (found, others) = Observer::all()?;
                other_builds = others;
                // A family that is mapped already is not mapped again.
                for observer in found {
                    if !self.observers.iter().any(|known| known.is_same(&observer)) {
                        self.observers.push(observer);
                    }
                }
            }
        }
        let mut families: Vec<FamilyView> = Vec::new();
        self.observers.retain(|observer| {
            let family = observer.look();
            let lives = !family.members.is_empty();
            if lives {
                families.push(family);
            }
            lives || matches!(self.source, Source::Process(_))
        });
        families.sort_by_key(|family| std::cmp::Reverse(family.members[0].age));
        let mut look = Look {
            families,
            other_builds,
            ..Look::default()
        };
        self.compare(&mut look);
        Ok(look)
    }

    fn compare(&mut self, look: &mut Look) {
        let now = Instant::now();
        let mut counts = Counts::default();
        for family in &look.families {
            for member in &family.members {
                counts.cpu.insert(member.pid, member.cpu);
            }
            for worker in family.pools.iter().flat_map(|pool| &pool.workers) {
                counts.begun.insert(worker.pid, worker.begun);
            }
        }
        if let Some((then, before)) = &self.before {
            let seconds = now.duration_since(*then).as_secs_f64().max(1e-3);
            for (pid, cpu) in &counts.cpu {
                if let Some(earlier) = before.cpu.get(pid) {
                    let part = cpu.saturating_sub(*earlier).as_secs_f64() / seconds;
                    look.cpu_parts.insert(*pid, part);
                }
            }
            for (pid, begun) in &counts.begun {
                if let Some(earlier) = before.begun.get(pid) {
                    let rate = f64::from(begun.wrapping_sub(*earlier)) / seconds;
                    look.task_rates.insert(*pid, rate);
                }
            }
        }
        self.before = Some((now, counts));
    }
}
