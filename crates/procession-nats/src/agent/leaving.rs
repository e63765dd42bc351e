//! How tasks leave a node: answered, given back, lost, or dropped.

use procession::distributed::Answer;

use super::{Agent, Happened};
use crate::held::Phase;
use crate::letter::Letter;
use crate::post::ACK;

impl Agent {
    /// Hands in an answer.
    pub(super) fn answer(&mut self, key: u64, answer: Answer) {
        if self.drop_orphan(key) {
            return;
        }
        let Some(held) = self.held.leave(key, Phase::Answering) else {
            return;
        };
        let (post, task) = (self.post.clone(), held.task.clone());
        self.done.add(held.message_key());
        self.happening.push(Box::pin(async move {
            Letter::answer(&post, &task, answer)
                .await
                .store(&post)
                .await;
            Happened::Left(key)
        }));
    }

    /// Lets another node run a task that has not begun here.
    pub(super) fn give_back(&mut self, key: u64) {
        if self.held.get_mut(key).is_some_and(|held| held.is_cancelled) {
            self.answer(key, Answer::Cancelled);
        } else if let Some(held) = self.held.leave(key, Phase::Returning) {
            let letter = Letter::again(held, held.losses);
            self.store(key, letter);
        }
    }

    /// Another node was lost that had the task: it is run again if it may be.
    pub(super) fn count_a_loss(&mut self, key: u64) {
        let Some(held) = self.held.get_mut(key) else {
            return;
        };
        let losses = held.losses + 1;
        if held.is_cancelled {
            self.answer(key, Answer::Cancelled);
        } else if losses > held.envelope.retries {
            let letter = Letter::dead(&self.post.names, held, losses);
            let post = self.post.clone();
            tokio::spawn(async move { letter.store(&post).await });
            self.answer(key, Answer::NodeLost { losses });
        } else if let Some(held) = self.held.leave(key, Phase::Returning) {
            let letter = Letter::again(held, losses);
            self.store(key, letter);
        }
    }

    fn store(&mut self, key: u64, letter: Letter) {
        let post = self.post.clone();
        self.happening.push(Box::pin(async move {
            letter.store(&post).await;
            Happened::Left(key)
        }));
    }

    /// Drops a task that nobody wants the answer of, if it is one; tells whether it was.
    fn drop_orphan(&mut self, key: u64) -> bool {
        let Some(held) = self.held.get_mut(key) else {
            return false;
        };
        let is_orphan = !held.phase.is_leaving() && self.clients.has_lost(&held.task.0);
        if is_orphan {
            self.let_go(key);
        }
        is_orphan
    }

    /// Lets go of a task: its message is not needed any more.
    pub(super) fn let_go(&mut self, key: u64) {
        if let Some(held) = self.held.remove(key) {
            for reply in held.replies() {
                self.tell(Some(reply.clone()), ACK);
            }
            self.clean_up();
        }
    }
}
