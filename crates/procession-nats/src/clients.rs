//! What a node knows of clients: who lives, who has been silent for too long, and who is gone.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::memory::Memory;

/// Three times how long until it is tried again to remove what is left of a client.
const AGAIN: Duration = Duration::from_secs(3);

/// How long a client that lives takes to say so when it is asked.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What a node knows of all clients.
pub struct Clients {
    known: HashMap<String, Known>,
    /// Those that have left, or were counted as dead.
    gone: Memory<String>,
    /// Those of whom everything is still to be removed.
    unburied: HashSet<String>,
    /// Since when nothing can have been missed of what clients say.
    listening_since: Instant,
    /// When the node has heard itself through the server.
    echoed_at: Instant,
}

/// A client that is not gone.
struct Known {
    /// When it was last heard; before that, when it was first heard of.
    at: Instant,
    lease: Duration,
    is_heard: bool,
    had_tasks: bool,
    /// Its tasks that wait until it is heard.
    waiting: Vec<u64>,
}

/// How a client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was heard.
    Lives,
    /// It was never heard.
    Unheard,
    /// It has left, or counts as dead.
    Gone,
}

/// Who removes what is left of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Burial {
    /// Every node, for it has not done so itself.
    ByAll,
    /// Those alone that had tasks of it.
    ByItself,
}

impl Clients {
    /// Begins with nobody.
    pub fn new(now: Instant) -> Self {
        Self {
            known: HashMap::new(),
            gone: Memory::new(),
            unburied: HashSet::new(),
            listening_since: now,
            echoed_at: now,
        }
    }

    /// Notes that something was missed, or may have been.
    pub fn begin_anew(&mut self, now: Instant) {
        self.listening_since = now;
    }

    /// Notes that a client lives; returns its tasks that have waited for that, or `None` if it is gone.
    pub fn hear(&mut self, client: &str, lease: Duration, now: Instant) -> Option<Vec<u64>> {
        let known = self.find(client, lease, now)?;
        (known.at, known.lease, known.is_heard) = (now, lease, true);
        Some(std::mem::take(&mut known.waiting))
    }

    /// Notes that there is a client, and returns it; `None` if it is gone.
    fn find(&mut self, client: &str, lease: Duration, now: Instant) -> Option<&mut Known> {
        if self.has_lost(client) {
            return None;
        }
        // Almost always it is known.
        if !self.known.contains_key(client) {
            let known = Known {
                at: now,
                lease,
                is_heard: false,
                had_tasks: false,
                waiting: Vec::new(),
            };
            self.known.insert(client.to_owned(), known);
        }
        self.known.get_mut(client)
    }

    /// Notes that the server keeps something of a client.
    pub fn note(&mut self, client: &str, lease: Duration, now: Instant) {
        self.find(client, lease, now);
    }

    /// Notes a task of a client.
    pub fn note_task(&mut self, client: &str, lease: Duration, now: Instant) -> Standing {
        match self.find(client, lease, now) {
            None => Standing::Gone,
            Some(known) => {
                known.had_tasks = true;
                if known.is_heard {
                    Standing::Lives
                } else {
                    Standing::Unheard
                }
            }
        }
    }

    /// Lets a task wait until its client is heard; tells whether it is the first.
    pub fn wait(&mut self, client: &str, key: u64) -> bool {
        let Some(known) = self.known.get_mut(client) else {
            return false;
        };
        known.waiting.push(key);
        known.waiting.len() == 1
    }

    /// How many tasks wait for clients that have not answered at once.
    pub fn waiting(&self, now: Instant) -> usize {
        let is_late = |known: &&Known| now - known.at > AT_ONCE;
        let late = self.known.values().filter(is_late);
        late.map(|known| known.waiting.len()).sum()
    }

    /// Takes all tasks that wait.
    pub fn take_waiting(&mut self) -> Vec<u64> {
        let all = self.known.values_mut();
        all.flat_map(|known| std::mem::take(&mut known.waiting))
            .collect()
    }

    /// How often the node has to hear itself; `None` if there is nothing to do then.
    pub fn period(&self) -> Option<Duration> {
        let again = (!self.unburied.is_empty()).then_some(AGAIN);
        let lease = self.shortest().into_iter().chain(again).min();
        lease.map(|lease| lease / 3)
    }

    fn shortest(&self) -> Option<Duration> {
        self.known.values().map(|known| known.lease).min()
    }

    /// Notes that the node has heard, now, what it sent itself through the server then. Returns the clients
    /// that were silent for their lease, while this node would have heard them.
    pub fn note_echo(&mut self, sent_at: Instant, now: Instant) -> Vec<String> {
        let gap = now - self.echoed_at;
        self.echoed_at = now;
        let Some(shortest) = self.shortest() else {
            return Vec::new();
        };
        if gap > shortest * 2 / 3 {
            // The server, or this node, stood still.
            self.listening_since = now;
            return Vec::new();
        }
        let since = self.listening_since;
        let is_silent =
            |known: &Known| sent_at.saturating_duration_since(known.at.max(since)) > known.lease;
        let silent = self.known.iter().filter(|(_, known)| is_silent(known));
        silent.map(|(client, _)| client.clone()).collect()
    }

    /// Notes that a client is gone; returns its tasks that waited, or `None` if that is nothing new.
    pub fn bury(&mut self, client: &str, burial: Burial) -> Option<Vec<u64>> {
        if self.has_lost(client) {
            return None;
        }
        self.gone.add(client.to_owned());
        let known = self.known.remove(client);
        if burial == Burial::ByAll || known.as_ref().is_some_and(|known| known.had_tasks) {
            self.unburied.insert(client.to_owned());
        }
        Some(known.map(|known| known.waiting).unwrap_or_default())
    }

    /// Tells whether a client has left, or counts as dead.
    pub fn has_lost(&self, client: &str) -> bool {
        self.gone.has(client)
    }

    /// Notes that something of a gone client may be left.
    pub fn unbury(&mut self, client: String) {
        self.unburied.insert(client);
    }

    /// Takes those of whom everything can be removed now.
    pub fn take_unburied(&mut self, has_tasks_here: impl Fn(&str) -> bool) -> Vec<String> {
        let ready = |client: &String| !has_tasks_here(client);
        self.unburied.extract_if(ready).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    fn after(begin: Instant, seconds: u64) -> Instant {
        begin + Duration::from_secs(seconds)
    }

    /// Hears itself every ten seconds, and returns who is silent at last.
    fn echoes(clients: &mut Clients, begin: Instant, seconds: std::ops::Range<u64>) -> Vec<String> {
        let mut silent = Vec::new();
        for second in seconds.step_by(10) {
            let now = after(begin, second);
            silent = clients.note_echo(now, now);
        }
        silent
    }

    #[test]
    fn who_is_silent_for_a_lease_is_found() {
        let begin = Instant::now();
        let mut clients = Clients::new(begin);
        assert_eq!(clients.hear("ada", LEASE, begin), Some(vec![]));
        clients.hear("bob", LEASE, begin);
        assert!(echoes(&mut clients, begin, 10..31).is_empty());
        clients.hear("bob", LEASE, after(begin, 31));
        assert_eq!(echoes(&mut clients, begin, 40..41), ["ada"]);
        assert_eq!(clients.bury("ada", Burial::ByAll), Some(vec![]));
        assert_eq!(clients.bury("ada", Burial::ByAll), None);
        assert_eq!(clients.hear("ada", LEASE, after(begin, 41)), None);
        assert_eq!(clients.note_task("ada", LEASE, begin), Standing::Gone);
        assert!(clients.take_unburied(|_| true).is_empty());
        assert_eq!(clients.take_unburied(|_| false), ["ada"]);
    }

    #[test]
    fn silence_counts_while_the_node_hears_itself() {
        let begin = Instant::now();
        let mut clients = Clients::new(begin);
        clients.hear("ada", LEASE, begin);
        assert!(echoes(&mut clients, begin, 10..21).is_empty());
        // The server was away.
        assert!(echoes(&mut clients, begin, 60..61).is_empty());
        assert!(echoes(&mut clients, begin, 70..91).is_empty());
        assert_eq!(echoes(&mut clients, begin, 100..101), ["ada"]);
        clients.begin_anew(after(begin, 100));
        assert!(echoes(&mut clients, begin, 110..131).is_empty());
    }

    #[test]
    fn tasks_wait_until_their_client_is_heard() {
        let begin = Instant::now();
        let mut clients = Clients::new(begin);
        assert_eq!(clients.note_task("ada", LEASE, begin), Standing::Unheard);
        assert!(clients.wait("ada", 7));
        assert_eq!(clients.period(), Some(LEASE / 3));
        assert_eq!(clients.waiting(begin), 0);
        assert_eq!(clients.waiting(after(begin, 2)), 1);
        assert_eq!(clients.hear("ada", LEASE, begin), Some(vec![7]));
        assert_eq!(clients.note_task("ada", LEASE, begin), Standing::Lives);
        assert_eq!(clients.waiting(after(begin, 2)), 0);
        // It leaves nothing itself, but for what this node may add yet.
        clients.bury("ada", Burial::ByItself);
        clients.hear("bob", LEASE, begin);
        clients.bury("bob", Burial::ByItself);
        assert_eq!(clients.take_unburied(|_| false), ["ada"]);
    }
}
