//! Which clients live, as a node hears it; and what it does for those that do not.

use std::collections::HashSet;
use std::time::Duration;

use async_nats::{Client, Message, Subject, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use procession::distributed::RunningTasks;
use tokio::task::unconstrained;
use tokio::time::Instant;

use super::{Agent, Happened};
use crate::clients::Burial;
use crate::faults::Fault;
use crate::held::{Held, Phase};
use crate::remains;
use crate::wire::{self, ClientNews, RollCall};

/// What the node sends itself through the server, to know that it hears.
pub struct Echo {
    /// Where it is sent.
    pub subject: Subject,
    /// When it is sent next.
    pub due_at: Option<Instant>,
    /// The latest, and when it was sent.
    sent: (u64, Instant),
}

impl Echo {
    pub(super) fn new(client: &Client) -> Self {
        Self {
            subject: client.new_inbox().into(),
            due_at: None,
            sent: (0, Instant::now()),
        }
    }
}

impl Agent {
    /// Hears what is told of a client.
    pub(super) fn note_client(&mut self, message: &Message) {
        let Ok((news, _)) = wire::read::<ClientNews>(&message.payload) else {
            return;
        };
        match news {
            ClientNews::Lives { client, lease } => self.hear_client(&client, lease),
            ClientNews::Leaves(client) => self.bury(&client, Burial::ByItself),
            ClientNews::IsDead(client) => self.bury(&client, Burial::ByAll),
        }
    }

    fn hear_client(&mut self, client: &str, lease: Duration) {
        let heard = self.clients.hear(client, lease, Instant::now());
        for key in heard.unwrap_or_default() {
            self.admit(key);
        }
        self.echo_soon();
    }

    /// Lets a task wait until its client says that it lives.
    pub(super) fn wait_for_client(&mut self, client: String, key: u64) {
        if let Some(held) = self.held.get_mut(key) {
            held.phase = Phase::Waiting;
        }
        if self.clients.wait(&client, key) {
            self.call(Some(client));
        }
        self.echo_soon();
    }

    /// Notes the clients that the server keeps something for.
    pub(super) fn note_clients(&mut self, clients: HashSet<String>) {
        let (lease, now) = (self.post.address.client_lease, Instant::now());
        for client in &clients {
            self.clients.note(client, lease, now);
        }
        self.call(None);
        self.echo_soon();
    }

    /// Notes whether this node stood still for so long that others may have its tasks.
    pub(super) fn note_standstill(&mut self) {
        let lease = self.post.address.lease;
        // It would have said twice meanwhile that it works on them.
        if self.woke_at.elapsed() > lease * 2 / 3 {
            self.late_until = Some(Instant::now() + lease);
        }
    }

    /// Tells whether a task that comes now may have been delivered before this node stood still.
    pub(super) fn is_late(&self) -> bool {
        self.late_until.is_some_and(|until| Instant::now() < until)
    }

    /// Begins to count silence from now on.
    pub(super) fn listen_anew(&mut self) {
        self.clients.begin_anew(Instant::now());
        self.call(None);
        self.echo.due_at = None;
        self.echo_soon();
    }

    pub(super) fn call(&self, client: Option<String>) {
        let post = self.post.clone();
        tokio::spawn(async move {
            post.say(post.names.roll_call(), &RollCall { client }).await;
        });
    }

    /// Sees to it that the node hears itself as often as it has to.
    fn echo_soon(&mut self) {
        let next = self.clients.period().map(|period| Instant::now() + period);
        self.echo.due_at = match (self.echo.due_at, next) {
            (Some(due), Some(next)) => Some(due.min(next)),
            (due, next) => due.or(next),
        };
    }

    pub(super) fn echo_if_due(&mut self) {
        if self.echo.due_at.is_none_or(|due| due > Instant::now()) {
            return;
        }
        self.echo.due_at = None;
        self.echo_soon();
        if self.is_connected {
            self.echo.sent = (self.echo.sent.0 + 1, Instant::now());
            let number = self.echo.sent.0.to_le_bytes().to_vec();
            self.say(self.echo.subject.clone(), Bytes::from(number));
        }
    }

    /// Looks for clients that are silent, now that it is known that the server speaks.
    pub(super) fn note_echo(&mut self, message: &Message, news: &mut Subscriber) {
        let (number, sent_at) = self.echo.sent;
        if message.payload[..] != number.to_le_bytes() {
            return;
        }
        // What the server had sent before is here, and may not have been read yet.
        while let Some(Some(message)) = unconstrained(news.next()).now_or_never() {
            self.note_client(&message);
        }
        for client in self.clients.note_echo(sent_at, Instant::now()) {
            let post = self.post.clone();
            let news = ClientNews::IsDead(client.clone());
            tokio::spawn(async move { post.say(post.names.clients(), &news).await });
            self.bury(&client, Burial::ByAll);
        }
        self.clean_up();
    }

    /// Ends what goes on for a client that is gone.
    fn bury(&mut self, client: &str, burial: Burial) {
        let Some(waiting) = self.clients.bury(client, burial) else {
            return;
        };
        for key in waiting {
            self.let_go(key);
        }
        let is_of_it = |(key, held): (u64, &Held)| (held.task.0 == client).then_some(key);
        let keys: Vec<u64> = self.held.iter().filter_map(is_of_it).collect();
        let mut running = Vec::new();
        for key in keys {
            if let Some(held) = self.held.get_mut(key) {
                held.is_cancelled = true;
                running.extend((held.phase == Phase::Running).then_some(key));
            }
        }
        if !running.is_empty() {
            // It fails in a forked copy alone.
            _ = self.node.cancel(&running, RunningTasks::Killed);
        }
        self.clean_up();
    }

    /// Removes what is left of clients, once this node adds nothing to it any more.
    pub(super) fn clean_up(&mut self) {
        let held = &self.held;
        let has_tasks = |client: &str| held.iter().any(|(_, held)| held.task.0 == client);
        for client in self.clients.take_unburied(has_tasks) {
            self.cleaning += 1;
            let post = self.post.clone();
            self.happening.push(Box::pin(async move {
                let removed = post.undisturbed(remains::remove(&post, &client)).await;
                Happened::Cleaned(client, removed)
            }));
        }
    }

    pub(super) fn note_cleaned(&mut self, client: String, cleaned: Result<(), Fault>) {
        self.cleaning -= 1;
        if cleaned.is_err() {
            // The server is away: it is tried again when the node has heard itself.
            self.clients.unbury(client);
            self.echo_soon();
        }
    }
}
