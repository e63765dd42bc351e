//! Fetching messages from a consumer, never more than there is room for.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::BatchConfig;
use async_nats::jetstream::{self, Context};
use async_nats::{Client, StatusCode, Subject, Subscriber};
use futures_util::StreamExt;
use tokio::time::Instant;

/// For how long the server remembers a request.
const EXPIRY: Duration = Duration::from_secs(30);

/// When a request that nothing came of is forgotten here.
const FORGOTTEN: Duration = Duration::from_secs(35);

/// Requests for messages of one consumer.
///
/// The library's own stream of messages fetches ahead of those who take them. Here a message that waits to be taken
/// is a task that another node could have run.
pub struct Puller {
    consumer: PullConsumer,
    jetstream: Context,
    inbox: Subject,
    subscriber: Subscriber,
    /// How many messages are asked for and have not come.
    asked: usize,
    forgotten_at: Instant,
}

/// What came.
pub enum Pulled {
    /// A message.
    Message(Box<jetstream::Message>),
    /// Room: a request has ended.
    Room,
    /// The consumer is gone, or takes no requests.
    Gone,
}

impl Puller {
    /// Gets ready to ask.
    pub async fn new(
        client: &Client,
        jetstream: &Context,
        consumer: PullConsumer,
    ) -> Result<Self, String> {
        let inbox = Subject::from(client.new_inbox());
        let subscriber = client.subscribe(inbox.clone()).await;
        Ok(Self {
            consumer,
            jetstream: jetstream.clone(),
            inbox,
            subscriber: subscriber.map_err(|error| error.to_string())?,
            asked: 0,
            forgotten_at: Instant::now() + FORGOTTEN,
        })
    }

    /// Asks for more if half of the room is not asked for.
    pub async fn ask(&mut self, room: usize) {
        if Instant::now() > self.forgotten_at {
            self.asked = 0;
        }
        let missing = room.saturating_sub(self.asked);
        if missing == 0 || missing < room.div_ceil(2) {
            return;
        }
        let request = BatchConfig {
            batch: missing,
            expires: Some(EXPIRY),
            ..BatchConfig::default()
        };
        let sent = self.consumer.request_batch(request, self.inbox.clone());
        if sent.await.is_ok() {
            self.asked += missing;
            self.forgotten_at = Instant::now() + FORGOTTEN;
        }
    }

    /// How many messages are asked for and have not come.
    pub fn asked(&self) -> usize {
        self.asked
    }

    /// When requests of which nothing came are forgotten.
    pub fn forgotten_at(&self) -> Option<Instant> {
        (self.asked > 0).then_some(self.forgotten_at)
    }

    /// Waits for what comes next. Nothing is lost if it is dropped.
    pub async fn next(&mut self) -> Pulled {
        let Some(message) = self.subscriber.next().await else {
            return Pulled::Gone;
        };
        let header = |name: &str| {
            let headers = message.headers.as_ref()?;
            headers.get(name)?.as_str().parse::<usize>().ok()
        };
        match message.status {
            None | Some(StatusCode::OK) => {
                self.asked = self.asked.saturating_sub(1);
                let context = self.jetstream.clone();
                Pulled::Message(Box::new(jetstream::Message { message, context }))
            }
            // Its time is over.
            Some(StatusCode::TIMEOUT) => {
                let rest = header("Nats-Pending-Messages").unwrap_or(self.asked);
                self.asked = self.asked.saturating_sub(rest);
                Pulled::Room
            }
            // It is deleted, it has another leader, or there is none.
            Some(_) => Pulled::Gone,
        }
    }

    /// Ends the requests: what was sent already still comes, then [`Pulled::Gone`].
    pub async fn end(&mut self) {
        // The connection is gone, and the requests with it.
        _ = self.subscriber.drain().await;
    }
}
