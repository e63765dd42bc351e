//! Processes that an act keeps running: whoever is killed is started again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use procession::{Child, Error, Result, StartMethod, Waitable, wait};
use serde::{Deserialize, Serialize};

use crate::chance::Chance;

/// How processes are started.
pub const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

/// After which what must happen has not happened.
pub const WATCHDOG: Duration = Duration::from_secs(60);

/// A time of the wall's clock, the same for all.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Until(f64);

impl Until {
    /// Returns the time so many seconds after the epoch.
    pub fn at(seconds: f64) -> Self {
        Self(seconds)
    }

    /// Returns a time some tenths of a second from now, but not after this.
    pub fn or_after_tenths(self, tenths: u64) -> Self {
        Self(self.0.min(now() + tenths as f64 / 10.0))
    }

    /// Tells whether it is over.
    pub fn has_come(self) -> bool {
        now() >= self.0
    }

    /// Returns how long it is until then.
    pub fn left(self) -> Duration {
        Duration::from_secs_f64((self.0 - now()).max(0.0))
    }
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// Lets some time pass, as work would.
#[expect(
    clippy::disallowed_methods,
    reason = "nothing tells of what is waited for"
)]
pub fn pass(time: Duration) {
    std::thread::sleep(time);
}

/// Returns some start method.
pub fn any_method(chance: &mut Chance) -> StartMethod {
    chance.of(&METHODS)
}

/// Starts a process, though its fork server may be killed all the time.
pub fn started<R>(mut start: impl FnMut() -> Result<Child<R>>) -> Result<Child<R>> {
    loop {
        match start() {
            // It was killed ten times in a row.
            Err(error) if is_lost_server(&error) => {}
            result => return result,
        }
    }
}

fn is_lost_server(error: &Error) -> bool {
    error.to_string().contains("fork server")
}

/// Waits for a process, which may have been killed.
pub fn leave(mut child: Child<()>) {
    match child.join_timeout(WATCHDOG) {
        Ok(()) => {}
        Err(error) if error.is_signal() => {}
        Err(error) => panic!("process {}: {error}", child.pid()),
    }
}

/// What starts an actor, given a seed.
pub type Role<'a> = Box<dyn Fn(u64) -> Result<Child<()>> + 'a>;

/// Some processes, started anew when they are killed until the curtain falls.
pub struct Actors<'a> {
    roles: Vec<Role<'a>>,
    cast: Vec<Child<()>>,
}

impl<'a> Actors<'a> {
    /// Starts one for each role.
    pub fn new(roles: Vec<Role<'a>>, chance: &mut Chance) -> Result<Self> {
        let mut cast = Vec::new();
        for role in &roles {
            cast.push(started(|| role(chance.next()))?);
        }
        Ok(Self { roles, cast })
    }

    /// Replaces whoever ends, until a time.
    pub fn run(&mut self, until: Until, chance: &mut Chance) -> Result<()> {
        while !until.has_come() {
            let children: Vec<&dyn Waitable> = self
                .cast
                .iter()
                .map(|child| child as &dyn Waitable)
                .collect();
            for place in wait(&children, Some(until.left()))? {
                let next = started(|| (self.roles[place])(chance.next()))?;
                leave(std::mem::replace(&mut self.cast[place], next));
            }
        }
        Ok(())
    }

    /// Tells whether all have ended.
    pub fn have_ended(&self) -> bool {
        let ended = |child: &Child<()>| !child.is_alive().unwrap_or(false);
        self.cast.iter().all(ended)
    }

    /// Waits until all have ended.
    pub fn bow(self) {
        self.cast.into_iter().for_each(leave);
    }
}
