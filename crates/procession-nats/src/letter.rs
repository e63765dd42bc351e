//! What a node publishes: answers, tasks that it gives back, dead letters.

use async_nats::HeaderMap;
use bytes::Bytes;
use procession::distributed::Answer;
use tokio::time::sleep;

use crate::faults::Fault;
use crate::held::Held;
use crate::memory::TaskKey;
use crate::names::Names;
use crate::post::{PAUSE, Post};
use crate::streams;
use crate::wire::{self, AnswerHead, Part};

/// A message that has to be stored, however long that takes.
pub struct Letter {
    subject: String,
    id: String,
    headers: HeaderMap,
    payload: Bytes,
}

impl Letter {
    /// The task once more, because the server is to forget the message that it came in.
    pub fn again(held: &Held, losses: u32) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(wire::LOSSES, losses.to_string());
        let (client, id) = &held.task;
        Self {
            subject: held.subject.to_string(),
            // Whoever publishes that message again, and however often: it is stored once.
            id: format!("{client}-{id}-{}", held.sequence),
            headers,
            payload: held.message.clone(),
        }
    }

    /// The task, for people, because it is given up.
    pub fn dead(names: &Names, held: &Held, losses: u32) -> Self {
        let mut headers = HeaderMap::new();
        let reason = format!(
            "{losses} of its nodes were lost, and it may be run again {} times",
            { held.envelope.retries }
        );
        headers.insert(wire::REASON, reason);
        // The name of a closure may have anything.
        let function = held.envelope.function.replace(['\r', '\n'], " ");
        headers.insert(wire::FUNCTION, function);
        let (client, id) = &held.task;
        Self {
            subject: names.dead(),
            id: format!("d-{client}-{id}"),
            headers,
            payload: held.message.clone(),
        }
    }

    /// An answer; its bytes go into the object store if they are too many.
    pub async fn answer(post: &Post, (client, id): &TaskKey, answer: Answer) -> Self {
        let (answer, bytes) = match answer {
            Answer::Done(bytes) => (Answer::Done(Vec::new()), Bytes::from(bytes)),
            other => (other, Bytes::new()),
        };
        let mut head = AnswerHead {
            id: *id,
            answer,
            part: Part::Here(bytes.len()),
        };
        let mut here: &[u8] = &bytes;
        if bytes.len() > post.room() {
            // It has this node's name in it, for a task that runs twice has two results.
            let name = format!("out-{client}-{id}-{}", post.token);
            while post.objects.put(&name, &bytes).await.is_err() {
                sleep(PAUSE).await;
            }
            head.part = Part::Object(name);
            here = &[];
        }
        Self {
            subject: post.names.results_of(client),
            id: format!("r-{client}-{id}"),
            headers: HeaderMap::new(),
            // Memory does not refuse to be written to.
            payload: wire::write(&head, &[here]).unwrap_or_default(),
        }
    }

    /// Publishes it until it is stored.
    pub async fn store(self, post: &Post) {
        let mut reconnects = post.reconnects.subscribe();
        loop {
            reconnects.mark_unchanged();
            let (subject, id) = (self.subject.clone(), self.id.clone());
            let stored = post.publish(subject, id, self.headers.clone(), self.payload.clone());
            let stored = tokio::select! {
                stored = stored => stored,
                // The acknowledgment was for the connection before.
                _ = reconnects.changed() => continue,
            };
            match stored {
                Ok(_) => return,
                Err(Fault::NoStream) => {
                    let (names, keep) = (&post.names, post.address.keep);
                    _ = streams::tasks(&post.jetstream, names, keep).await;
                    _ = streams::results(&post.jetstream, names, keep).await;
                }
                Err(_) => {}
            }
            // Nobody tells when there is room.
            sleep(PAUSE).await;
        }
    }
}
