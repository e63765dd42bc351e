//! Answers on their way from the server.

use async_nats::Subject;
use procession::distributed::Answer;

use super::{Carrier, Done};
use crate::faults::Fault;
use crate::post::ACK;
use crate::pull::Pulled;
use crate::wire::{self, AnswerHead, Part};

/// How often an answer is read from the object store before it is given up.
const READS: u32 = 5;

impl Carrier {
    pub(super) fn take(&mut self, pulled: Pulled) {
        let message = match pulled {
            Pulled::Message(message) => message,
            Pulled::Room => return,
            Pulled::Gone => {
                self.puller = None;
                return self.stumble("the consumer of the answers is gone".to_owned());
            }
        };
        self.trouble = None;
        let reply = message.reply.clone();
        let Ok((AnswerHead { id, answer, part }, mut rest)) = wire::read(&message.payload) else {
            return self.acknowledge(reply);
        };
        let is_wanted = self.tasks.contains_key(&id);
        match part {
            Part::Object(name) if is_wanted => self.read(id, name, reply),
            Part::Object(name) => {
                self.delete(name);
                self.acknowledge(reply);
            }
            Part::Here(_) => {
                let answer = match (answer, wire::cut(&part, &mut rest)) {
                    (Answer::Done(_), Ok(bytes)) => Answer::Done(bytes.unwrap_or_default().into()),
                    (Answer::Done(_), Err(why)) => Answer::Failed(why),
                    (other, _) => other,
                };
                self.finish(id, answer);
                self.acknowledge(reply);
            }
        }
    }

    /// Reads an answer that is in the object store.
    pub(super) fn read(&mut self, id: u64, name: String, reply: Option<Subject>) {
        // It is delivered again if that takes long.
        if !self.reading.insert(id) {
            return;
        }
        let post = self.post.clone();
        self.errands.push(Box::pin(async move {
            let read = post.undisturbed(post.objects.get(&name)).await;
            let bytes = read.map(Into::into);
            Done::Read {
                id,
                name,
                bytes,
                acknowledged_at: reply,
            }
        }));
    }

    pub(super) fn note_read(
        &mut self,
        id: u64,
        name: String,
        bytes: Result<Vec<u8>, Fault>,
        reply: Option<Subject>,
    ) {
        let Some(out) = self.tasks.get_mut(&id) else {
            return;
        };
        out.reads += u32::from(!matches!(bytes, Err(Fault::Disturbed)));
        let answer = match bytes {
            Ok(bytes) => Answer::Done(bytes),
            Err(fault) if out.reads == READS => {
                Answer::Failed(format!("its result cannot be fetched ({fault})"))
            }
            // It is delivered again.
            Err(_) => return,
        };
        self.finish(id, answer);
        self.delete(name);
        self.acknowledge(reply);
    }

    pub(super) fn finish(&mut self, id: u64, answer: Answer) {
        // An answer can come twice.
        let Some(out) = self.tasks.remove(&id) else {
            return;
        };
        if let Some(object) = out.object {
            self.delete(object);
        }
        if let Some(answers) = &self.answers {
            answers.give(id, answer);
        }
        if self.trouble.is_none() {
            self.paused_until = None;
        }
    }

    pub(super) fn acknowledge(&self, reply: Option<Subject>) {
        if let Some(reply) = reply {
            let post = self.post.clone();
            tokio::spawn(async move { post.tell(reply, ACK).await });
        }
    }

    pub(super) fn delete(&self, object: String) {
        let post = self.post.clone();
        tokio::spawn(async move { post.objects.delete(&object).await });
    }
}
