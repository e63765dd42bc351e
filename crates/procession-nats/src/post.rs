//! What both sides do with the server: publish until it is stored, and ask the nodes.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::message::PublishMessage;
use async_nats::{Client, HeaderMap, Message, Subject};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep_until};

use crate::address::Address;
use crate::faults::Fault;
use crate::link::{Link, new_token, room};
use crate::names::Names;
use crate::objects::Objects;
use crate::wire::{self, NodesQuestion, NodesReply, Whose};

/// How long nodes have to say that they are there, and how often they are asked if it is to take longer.
const GATHERING: Duration = Duration::from_millis(250);

/// After which silence, once one has answered, no other is expected.
const QUIET: Duration = Duration::from_millis(100);

/// How long to wait before a message is published again that was not stored.
pub const PAUSE: Duration = Duration::from_millis(100);

/// A way to the server.
pub struct Post {
    /// The connection.
    pub client: Client,
    /// Its JetStream.
    pub jetstream: Context,
    /// What things are called there.
    pub names: Names,
    /// What is too large for a message.
    pub objects: Objects,
    /// What the user wants.
    pub address: Address,
    /// A word that no other connection has.
    pub token: String,
    /// How often the connection was made again.
    pub reconnects: watch::Sender<u64>,
}

impl Post {
    /// Makes a way of a connection.
    pub fn new(link: &Link, address: &Address) -> Self {
        let names = Names::new(&address.name);
        Self {
            objects: Objects::new(link.jetstream.clone(), names.clone(), address.keep),
            client: link.client.clone(),
            jetstream: link.jetstream.clone(),
            names,
            address: address.clone(),
            token: link.token.clone(),
            reconnects: watch::Sender::new(0),
        }
    }

    /// Returns the same way, under another word.
    pub fn renewed(&self) -> Self {
        let (jetstream, names) = (self.jetstream.clone(), self.names.clone());
        Self {
            objects: Objects::new(jetstream, names.clone(), self.address.keep),
            client: self.client.clone(),
            jetstream: self.jetstream.clone(),
            names,
            address: self.address.clone(),
            token: new_token(&self.client),
            reconnects: watch::Sender::new(0),
        }
    }

    /// Returns how many bytes of users fit into a message.
    pub fn room(&self) -> usize {
        room(&self.client)
    }

    /// Does something unless the connection is made again meanwhile: what was asked on the one before is
    /// never answered.
    pub async fn undisturbed<T>(
        &self,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let mut reconnects = self.reconnects.subscribe();
        tokio::select! {
            done = work => done,
            _ = reconnects.changed() => Err(Fault::Disturbed),
        }
    }

    /// Publishes a message, and waits until it is stored; returns its place in the stream.
    pub async fn publish(
        &self,
        subject: String,
        id: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<u64, Fault> {
        let message = PublishMessage::build()
            .payload(payload)
            .headers(headers)
            .message_id(id);
        let stored = self.jetstream.send_publish(subject, message).await?.await?;
        Ok(stored.sequence)
    }

    /// Asks the nodes who they are, and which tasks they hold.
    pub async fn ask_nodes(&self, tasks: Whose) -> Result<Vec<NodesReply>, Fault> {
        self.ask_nodes_for(GATHERING, tasks).await
    }

    /// Asks the nodes, and waits for answers so long.
    pub async fn ask_nodes_for(
        &self,
        patience: Duration,
        tasks: Whose,
    ) -> Result<Vec<NodesReply>, Fault> {
        let question = wire::write(&NodesQuestion { tasks }, &[]).map_err(Fault::Refused)?;
        let enough = |replies: &[Message]| match patience {
            // Nodes that are connected answer together.
            GATHERING if !replies.is_empty() => Some(QUIET),
            _ => None,
        };
        let replies = self.ask(self.names.nodes(), question, patience, enough);
        // One of another version may say something else.
        let read = |message: Message| wire::read(&message.payload).ok();
        let replies = replies.await?.into_iter().filter_map(read);
        Ok(replies.map(|(reply, _)| reply).collect())
    }

    /// Asks whoever listens, now and again, for some may be about to connect; `enough` tells how much longer
    /// to wait after the replies that have come.
    pub async fn ask(
        &self,
        subject: String,
        question: Bytes,
        patience: Duration,
        enough: impl Fn(&[Message]) -> Option<Duration>,
    ) -> Result<Vec<Message>, Fault> {
        let mut until = Instant::now() + patience;
        let mut replies = Vec::new();
        let inbox = Subject::from(self.client.new_inbox());
        let subscribed = self.client.subscribe(inbox.clone()).await;
        let mut subscriber = subscribed.map_err(Fault::unsure)?;
        let mut repeats = interval(GATHERING);
        while Instant::now() < until {
            tokio::select! {
                _ = repeats.tick() => {
                    let (subject, inbox, question) =
                        (subject.clone(), inbox.clone(), question.clone());
                    let asked = self.client.publish_with_reply(subject, inbox, question);
                    asked.await.map_err(Fault::unsure)?;
                }
                Some(message) = subscriber.next() => match message.status {
                    None => {
                        replies.push(message);
                        if let Some(rest) = enough(&replies) {
                            until = until.min(Instant::now() + rest);
                        }
                    }
                    // The server says that nobody listens there, yet.
                    Some(_) if patience == GATHERING => break,
                    Some(_) => {}
                },
                () = sleep_until(until) => {}
            }
        }
        Ok(replies)
    }

    /// Tells, or asks, whoever listens.
    pub async fn say(&self, subject: String, what: &impl Serialize) {
        // It has no bytes of users that could not be written.
        let message = wire::write(what, &[]).unwrap_or_default();
        // Without a connection nobody listens.
        _ = self.client.publish(subject, message).await;
    }

    /// Tells the server something of a message that it has delivered.
    pub async fn tell(&self, reply: Subject, what: &'static [u8]) {
        // Without a connection it will be delivered again.
        _ = self.client.publish(reply, Bytes::from_static(what)).await;
    }
}

/// The message is done with.
pub const ACK: &[u8] = b"+ACK";
/// The message is still being worked on.
pub const PROGRESS: &[u8] = b"+WPI";
