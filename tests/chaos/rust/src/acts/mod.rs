//! What the tormented program does, one file for each kind of thing it uses.

mod locks;
mod nests;
mod pipes;
mod pools;
mod queues;

use serde::{Deserialize, Serialize};

use crate::actors::Until;
use crate::chance::Chance;
use crate::ledger;

/// One kind of thing to use.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Act {
    Locks,
    Nests,
    Pipes,
    Pools,
    Queues,
}

impl Act {
    /// Finds an act by its name.
    pub fn named(name: &str) -> Self {
        let all = [
            Self::Locks,
            Self::Nests,
            Self::Pipes,
            Self::Pools,
            Self::Queues,
        ];
        let found = all.into_iter().find(|act| act.name() == name);
        found.unwrap_or_else(|| panic!("there is no act {name}"))
    }

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Locks => "locks",
            Self::Nests => "nests",
            Self::Pipes => "pipes",
            Self::Pools => "pools",
            Self::Queues => "queues",
        }
    }
}

/// Plays an act, round after round, in a process of its own.
pub fn play((act, number, seed, until): (Act, u64, u64, Until)) {
    let mut chance = Chance::new(seed);
    let mut round = 0;
    while !until.has_come() {
        round += 1;
        let tag = format!("{}.{number}.{round}", act.name());
        let played = match act {
            Act::Locks => locks::play(&tag, &mut chance, until),
            Act::Nests => nests::play(&tag, &mut chance),
            Act::Pipes => pipes::play(&tag, &mut chance, until),
            Act::Pools => pools::play(&tag, &mut chance, until),
            Act::Queues => queues::play(&tag, &mut chance, until),
        };
        if let Err(error) = played {
            ledger::note("crashed", &tag, 0, "");
            panic!("{tag}: {error}");
        }
    }
}
