//! The client's side: ships tasks and takes answers, in a thread of its own.

mod shipping;
mod taking;

use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Event, Subject};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use procession::distributed::{Answer, Answers};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use crate::address::Address;
use crate::command::Command;
use crate::farewell;
use crate::faults::{Fault, unavailable};
use crate::link::Link;
use crate::parcel::Parcel;
use crate::post::{PAUSE, Post};
use crate::pull::{Pulled, Puller};
use crate::streams;
use crate::wire::Whose;

/// How many publishes may wait for their acknowledgment.
const FLYING: usize = 512;

/// How many answers are asked for at a time.
const ANSWERS: usize = 512;

/// How long between looks for tasks that the server has lost, at most.
const AUDIT: Duration = Duration::from_secs(60);

/// A time that does not come.
const NEVER: Duration = Duration::from_secs(24 * 3600);

type Errand = Pin<Box<dyn Future<Output = Done> + Send>>;

/// What came of something that went on meanwhile.
enum Done {
    Published {
        id: u64,
        epoch: u64,
        stored: Result<(u64, Option<String>), Fault>,
    },
    Read {
        id: u64,
        name: String,
        bytes: Result<Vec<u8>, Fault>,
        acknowledged_at: Option<Subject>,
    },
    Opened(Result<Box<Puller>, String>),
    Audited(Result<Vec<u64>, Fault>),
    Withdrawn(Vec<u64>),
    Nothing,
}

/// A task that is out.
struct Out {
    parcel: Arc<Parcel>,
    place: Place,
    /// How often it was found to be lost.
    attempt: u32,
    /// How often its answer could not be read.
    reads: u32,
    is_cancelled: bool,
    /// The object that has its arguments.
    object: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Queued,
    Flying,
    Stored(u64),
}

/// Everything that the thread knows.
pub struct Carrier {
    post: Arc<Post>,
    events: UnboundedReceiver<Event>,
    answers: Option<Answers>,
    tasks: HashMap<u64, Out>,
    queue: VecDeque<u64>,
    errands: FuturesUnordered<Errand>,
    /// How many publishes wait for their acknowledgment.
    flying: usize,
    /// Counts connections: what was published by one that is gone is published again.
    epoch: u64,
    is_connected: bool,
    puller: Option<Box<Puller>>,
    is_opening: bool,
    reading: HashSet<u64>,
    /// Nothing is published, or opened, before that.
    paused_until: Option<Instant>,
    /// Since when nothing works, and why.
    trouble: Option<(Instant, String)>,
    audit_at: Instant,
    is_auditing: bool,
}

impl Carrier {
    /// Begins with a connection.
    pub fn new(link: Link, address: &Address) -> Self {
        let post = Arc::new(Post::new(&link, address));
        Self {
            audit_at: Instant::now() + period(&post),
            post,
            events: link.events,
            answers: None,
            tasks: HashMap::new(),
            queue: VecDeque::new(),
            errands: FuturesUnordered::new(),
            flying: 0,
            epoch: 0,
            is_connected: true,
            puller: None,
            is_opening: false,
            reading: HashSet::new(),
            paused_until: None,
            trouble: None,
            is_auditing: false,
        }
    }

    /// Does what it is told until it is told to close.
    pub async fn carry(mut self, mut commands: UnboundedReceiver<Command>) {
        loop {
            self.publish_queued();
            self.audit();
            self.fetch().await;
            let wake = self.wake_at();
            tokio::select! {
                command = commands.recv() => match command {
                    None | Some(Command::Close) => break,
                    Some(command) => self.obey(command).await,
                },
                Some(done) = self.errands.next() => self.note(done),
                pulled = next(&mut self.puller) => self.take(pulled),
                Some(event) = self.events.recv() => self.hear(&event),
                () = sleep_until(wake) => self.lose_patience(),
            }
        }
        let ids = self.tasks.keys().copied().collect();
        farewell::leave(&self.post, ids, self.is_connected).await;
    }

    /// When something is due of which nobody tells.
    fn wake_at(&self) -> Instant {
        let patience = self.post.address.patience;
        let end = self.trouble.as_ref().map(|(since, _)| *since + patience);
        // Without a connection there is nothing else to do.
        let is_busy = self.is_connected && !self.tasks.is_empty();
        let others = [
            self.paused_until.filter(|_| self.is_connected),
            (is_busy && !self.is_auditing).then_some(self.audit_at),
            self.puller
                .as_ref()
                .filter(|_| is_busy)
                .and_then(|puller| puller.forgotten_at()),
        ];
        let due = others.into_iter().flatten().chain(end).min();
        due.unwrap_or_else(|| Instant::now() + NEVER)
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Open(answers, reply) => {
                self.answers = Some(answers);
                // It waits for that.
                _ = reply.send(self.open().await);
            }
            Command::Ship(envelope) => {
                let id = envelope.id;
                let out = Out {
                    parcel: Arc::new(envelope.into()),
                    place: Place::Queued,
                    attempt: 0,
                    reads: 0,
                    is_cancelled: false,
                    object: None,
                };
                self.tasks.insert(id, out);
                self.queue.push_back(id);
            }
            Command::Cancel(ids, running) => self.cancel(ids, running),
            Command::Nodes(reply) => {
                let (post, shown) = (self.post.clone(), self.post.address.shown.clone());
                self.errands.push(Box::pin(async move {
                    let nodes = post.ask_nodes(Whose::Nobodys).await;
                    let nodes = nodes.map(|nodes| nodes.into_iter().map(|it| it.info).collect());
                    let error = |error| unavailable(format!("nodes on {shown}: {error}"));
                    _ = reply.send(nodes.map_err(error));
                    Done::Nothing
                }));
            }
            Command::Close => {}
        }
    }

    /// Makes the streams, and gets ready to take answers.
    async fn open(&mut self) -> procession::Result<()> {
        let puller = open_puller(&self.post).await.map_err(|error| {
            let shown = &self.post.address.shown;
            unavailable(format!(
                "the NATS server at {shown} cannot be used: {error}"
            ))
        })?;
        self.puller = Some(puller);
        Ok(())
    }

    /// Asks for answers if any are wanted.
    async fn fetch(&mut self) {
        if self.is_connected
            && !self.tasks.is_empty()
            && let Some(puller) = &mut self.puller
        {
            puller.ask(ANSWERS).await;
        }
    }

    fn note(&mut self, done: Done) {
        match done {
            Done::Published { id, epoch, stored } if epoch == self.epoch => {
                self.flying -= 1;
                self.note_published(id, stored);
            }
            Done::Published { .. } | Done::Nothing => {}
            Done::Read {
                id,
                name,
                bytes,
                acknowledged_at,
            } => {
                self.reading.remove(&id);
                self.note_read(id, name, bytes, acknowledged_at);
            }
            Done::Opened(opened) => {
                self.is_opening = false;
                match opened {
                    Ok(puller) => {
                        self.puller = Some(puller);
                        self.trouble = None;
                    }
                    Err(why) => self.stumble(why),
                }
            }
            Done::Audited(lost) => self.note_lost(lost),
            Done::Withdrawn(ids) => {
                ids.into_iter()
                    .for_each(|id| self.finish(id, Answer::Cancelled));
            }
        }
    }

    fn stumble(&mut self, why: String) {
        self.paused_until = Some(Instant::now() + PAUSE);
        self.trouble.get_or_insert((Instant::now(), why));
    }

    fn hear(&mut self, event: &Event) {
        match event {
            Event::Disconnected | Event::Closed => {
                self.is_connected = false;
                let why = || (Instant::now(), "the connection is lost".to_owned());
                self.trouble.get_or_insert_with(why);
            }
            Event::Connected if !self.is_connected => {
                self.is_connected = true;
                self.epoch += 1;
                self.flying = 0;
                let flying = |(id, out): (&u64, &mut Out)| {
                    let is_flying = out.place == Place::Flying;
                    is_flying.then(|| {
                        out.place = Place::Queued;
                        *id
                    })
                };
                self.queue.extend(self.tasks.iter_mut().filter_map(flying));
                self.puller = None;
                self.paused_until = None;
                self.audit_at = Instant::now();
            }
            _ => {}
        }
    }

    /// Fails everything if nothing has worked for too long.
    fn lose_patience(&mut self) {
        let patience = self.post.address.patience;
        let Some((since, why)) = &self.trouble else {
            return;
        };
        if since.elapsed() < patience {
            return;
        }
        let text = format!(
            "the NATS server at {} has been gone for {} s ({why}): is it running?",
            self.post.address.shown,
            patience.as_secs()
        );
        if let Some(answers) = self.answers.take() {
            answers.fail(&text);
        }
        self.tasks.clear();
        self.queue.clear();
        self.trouble = None;
    }
}

/// How long between looks for tasks that the server has lost.
fn period(post: &Post) -> Duration {
    (post.address.keep / 4).min(AUDIT)
}

/// Makes streams and consumer where there are none, and gets ready to ask for answers.
async fn open_puller(post: &Post) -> Result<Box<Puller>, String> {
    let (names, keep) = (&post.names, post.address.keep);
    streams::tasks(&post.jetstream, names, keep).await?;
    let results = streams::results(&post.jetstream, names, keep).await?;
    let consumer = streams::client_consumer(&results, names, &post.token).await?;
    let puller = Puller::new(&post.client, &post.jetstream, consumer).await?;
    Ok(Box::new(puller))
}

async fn next(puller: &mut Option<Box<Puller>>) -> Pulled {
    match puller {
        Some(puller) => puller.next().await,
        None => std::future::pending().await,
    }
}
