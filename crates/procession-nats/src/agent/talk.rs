//! What a node is asked and told, besides tasks.

use async_nats::{Message, Subject, Subscriber};
use bytes::Bytes;

use super::Agent;
use crate::faults::unavailable;
use crate::held::{Held, Phase};
use crate::post::ACK;
use crate::wire::{self, Cancel, HoldersQuestion, Holding, NodesQuestion, NodesReply, Whose};

/// Questions and orders, besides tasks.
pub struct Ears {
    pub cancels: Subscriber,
    pub clients: Subscriber,
    pub echo: Subscriber,
    pub nodes: Subscriber,
    pub holders: Subscriber,
}

/// How many tasks that are done are told of: a server that was killed may have forgotten
/// that they were acknowledged.
const LATEST: usize = 1000;

impl Agent {
    pub(super) async fn listen(&self) -> procession::Result<Ears> {
        let (client, names) = (&self.post.client, &self.post.names);
        let refused = |error| {
            let shown = &self.post.address.shown;
            unavailable(format!(
                "the NATS server at {shown} cannot be used: {error}"
            ))
        };
        Ok(Ears {
            cancels: client.subscribe(names.cancel()).await.map_err(refused)?,
            clients: client.subscribe(names.clients()).await.map_err(refused)?,
            echo: client
                .subscribe(self.echo.subject.clone())
                .await
                .map_err(refused)?,
            nodes: client.subscribe(names.nodes()).await.map_err(refused)?,
            holders: client.subscribe(names.holders()).await.map_err(refused)?,
        })
    }

    pub(super) fn note_cancel(&mut self, message: &Message) {
        let Ok((cancel, _)) = wire::read::<Cancel>(&message.payload) else {
            return;
        };
        let mut running = Vec::new();
        for id in cancel.ids {
            let task = (cancel.client.clone(), id);
            let Some(key) = self.held.find(&task) else {
                self.cancelled.add(task);
                continue;
            };
            if let Some(held) = self.held.get_mut(key) {
                held.is_cancelled = true;
                running.extend((held.phase == Phase::Running).then_some(key));
            }
        }
        if !running.is_empty() {
            // It fails in a forked copy alone.
            _ = self.node.cancel(&running, cancel.running);
        }
    }

    pub(super) fn tell_who(&self, message: Message) {
        let (Some(reply), Ok((question, _))) =
            (message.reply, wire::read::<NodesQuestion>(&message.payload))
        else {
            return;
        };
        let is_meant = |held: &Held| match &question.tasks {
            Whose::Nobodys => false,
            Whose::Of(client) => *client == held.task.0,
            Whose::All => held.phase != Phase::Asking,
        };
        let holding = |(id, sequence)| Holding { id, sequence };
        let meant = self.held.iter().filter(|(_, held)| is_meant(held));
        let meant = meant.map(|(_, held)| holding((held.task.1, held.sequence)));
        let done = match &question.tasks {
            Whose::All => self.done.latest(LATEST),
            _ => self.done.latest(0),
        };
        let done = done.map(|(_, id, sequence)| holding((*id, *sequence)));
        let answer = NodesReply {
            info: self.info.clone(),
            holds: meant.chain(done).collect(),
        };
        self.say(reply, wire::write(&answer, &[]).unwrap_or_default());
    }

    /// Goes on with a task that the server has delivered to another node.
    pub(super) fn tell_held(&mut self, message: Message) {
        let (Some(reply), Ok((question, _))) = (
            message.reply,
            wire::read::<HoldersQuestion>(&message.payload),
        ) else {
            return;
        };
        let message_key = (question.client.clone(), question.id, question.sequence);
        let task = (question.client, question.id);
        let key = self.held.find(&task);
        if let Some(held) = key.and_then(|key| self.held.get_mut(key)) {
            // It may be this node that asks, or the task may be back in the stream.
            if matches!(held.phase, Phase::Asking | Phase::Returning) {
                return;
            }
            held.adopt(question.sequence, question.reply.into());
        } else if self.done.has(&message_key) {
            self.tell(Some(question.reply.into()), ACK);
        } else {
            return;
        }
        self.say(reply, Bytes::from_static(b"mine"));
    }

    pub(super) fn say(&self, to: Subject, what: Bytes) {
        let client = self.post.client.clone();
        tokio::spawn(async move { client.publish(to, what).await });
    }

    pub(super) fn tell(&self, reply: Option<Subject>, what: &'static [u8]) {
        if let Some(reply) = reply {
            self.say(reply, Bytes::from_static(what));
        }
    }
}
