//! Saying that the client lives, and finding out that it was counted as dead.

use std::sync::Arc;

use async_nats::jetstream::consumer::Info;
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::{Message, Subscriber};
use procession::distributed::{Answer, Answers};
use tokio::time::Instant;

use super::{Carrier, Done, Place};
use crate::faults::{Fault, unavailable};
use crate::names::Names;
use crate::post::Post;
use crate::pull::Puller;
use crate::remains;
use crate::streams;
use crate::wire::{self, ClientNews, RollCall};

/// How answers come.
pub struct AnswerRoute {
    puller: Puller,
    consumer: Info,
}

/// Why there is none.
pub enum Trouble {
    /// It may be there later.
    Fault(String),
    /// Nodes have counted this client as dead, and removed it.
    IsDead,
}

impl Carrier {
    /// Says that the client lives, makes the streams, and gets ready to take answers, and to be asked.
    pub(super) async fn open(&mut self, answers: Answers) -> procession::Result<Subscriber> {
        let shown = self.post.address.shown.clone();
        let cannot = |why: &dyn std::fmt::Display| {
            unavailable(format!("the NATS server at {shown} cannot be used: {why}"))
        };
        let calls = self.post.client.subscribe(self.post.names.roll_call());
        let calls = calls.await.map_err(|error| cannot(&error))?;
        self.answers = Some(answers);
        self.say().await;
        match open(&self.post, None).await {
            Ok(route) => {
                self.take_route(*route);
                Ok(calls)
            }
            Err(Trouble::Fault(why)) => Err(cannot(&why)),
            Err(Trouble::IsDead) => Err(cannot(&"a new client counts as dead")),
        }
    }

    fn take_route(&mut self, route: AnswerRoute) {
        self.puller = Some(Box::new(route.puller));
        self.consumer = Some(route.consumer);
    }

    /// Makes the way of the answers again, or finds that nothing of this client is there any more.
    pub(super) fn open_again(&mut self) {
        self.is_opening = true;
        let (post, before) = (self.post.clone(), self.consumer.clone());
        self.errands.push(Box::pin(async move {
            let opened = async { Ok(open(&post, before.as_ref()).await) };
            let disturbed = |fault: Fault| Err(Trouble::Fault(fault.to_string()));
            Done::Opened(post.undisturbed(opened).await.unwrap_or_else(disturbed))
        }));
    }

    pub(super) fn note_opened(&mut self, opened: Result<Box<AnswerRoute>, Trouble>) {
        match opened {
            Ok(route) => {
                self.take_route(*route);
                self.is_in_doubt = false;
                self.trouble = None;
            }
            Err(Trouble::Fault(why)) => self.stumble(why),
            Err(Trouble::IsDead) => self.be_reborn(),
        }
    }

    /// Fails what was out, and goes on under another name: the nodes run nothing more for this one.
    fn be_reborn(&mut self) {
        let out = |(id, out): (&u64, &super::Out)| {
            let is_new = out.place == Place::Queued && !out.was_sent;
            (!is_new).then_some(*id)
        };
        let ids: Vec<u64> = self.tasks.iter().filter_map(out).collect();
        let why = format!(
            "this client was silent for more than its lease of {} s, and counted as dead; the task may have run",
            self.post.address.client_lease.as_secs()
        );
        // What they have in the object store is removed with all the rest.
        for id in ids {
            self.tasks.remove(&id);
            if let Some(answers) = &self.answers {
                answers.give(id, Answer::Failed(why.clone()));
            }
        }
        self.post = Arc::new(self.post.renewed());
        self.epoch += 1;
        self.flying = 0;
        self.puller = None;
        self.consumer = None;
        self.is_in_doubt = false;
        self.trouble = None;
        self.paused_until = None;
        self.say_soon();
    }

    /// When it is said next that the client lives.
    pub(super) fn says_at(&self) -> Option<Instant> {
        let speaks = self.is_connected && self.answers.is_some();
        speaks.then(|| self.said_at + self.post.address.client_lease / 3)
    }

    pub(super) async fn say_if_due(&mut self) {
        if self.says_at().is_some_and(|at| at <= Instant::now()) {
            self.note_silence();
            self.say().await;
        }
    }

    /// Says it without anybody waiting for that.
    pub(super) fn say_soon(&mut self) {
        if self.answers.is_none() {
            return;
        }
        self.note_silence();
        self.said_at = Instant::now();
        let post = self.post.clone();
        tokio::spawn(async move { say(&post).await });
    }

    async fn say(&mut self) {
        self.said_at = Instant::now();
        say(&self.post).await;
    }

    /// Notes whether this client has said nothing for so long that it may count as dead.
    fn note_silence(&mut self) {
        if self.said_at.elapsed() >= self.post.address.client_lease {
            self.is_in_doubt = true;
            self.puller = None;
        }
    }

    pub(super) fn note_call(&mut self, message: &Message) {
        let Ok((call, _)) = wire::read::<RollCall>(&message.payload) else {
            return;
        };
        if call.client.is_none_or(|client| client == self.post.token) {
            self.say_soon();
        }
    }
}

async fn say(post: &Post) {
    let lives = ClientNews::Lives {
        client: post.token.clone(),
        lease: post.address.client_lease,
    };
    post.say(post.names.clients(), &lives).await;
}

/// Makes streams and consumer where there are none, and gets ready to ask for answers. If there was a
/// consumer, it has to be there.
async fn open(post: &Post, before: Option<&Info>) -> Result<Box<AnswerRoute>, Trouble> {
    if let Some(before) = before
        && is_dead(post, before).await?
    {
        return Err(Trouble::IsDead);
    }
    make(post).await.map_err(Trouble::Fault)
}

/// Tells whether the consumer is gone from a stream that it was in: nodes have removed it.
async fn is_dead(post: &Post, before: &Info) -> Result<bool, Trouble> {
    let stream = remains::stream(post, post.names.results()).await;
    let stream = stream.map_err(|fault| Trouble::Fault(fault.to_string()))?;
    // A server that has lost the stream itself, or has it anew, knows nothing of clients.
    let stream = stream.filter(|stream| stream.cached_info().created <= before.created);
    let Some(stream) = stream else {
        return Ok(false);
    };
    let consumer = Names::client_consumer(&post.token);
    match stream.consumer_info(consumer).await {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => Ok(true),
        Err(error) => Err(Trouble::Fault(error.to_string())),
    }
}

async fn make(post: &Post) -> Result<Box<AnswerRoute>, String> {
    let (names, keep) = (&post.names, post.address.keep);
    streams::tasks(&post.jetstream, names, keep).await?;
    let results = streams::results(&post.jetstream, names, keep).await?;
    let consumer = streams::client_consumer(&results, names, &post.token).await?;
    let info = consumer.cached_info().clone();
    let puller = Puller::new(&post.client, &post.jetstream, consumer).await?;
    Ok(Box::new(AnswerRoute {
        puller,
        consumer: info,
    }))
}
