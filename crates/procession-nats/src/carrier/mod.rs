//! The client's side: ships tasks and takes answers, in a thread of its own.

mod living;
mod shipping;
mod taking;

use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::Info;
use async_nats::{Event, Message, Subject, Subscriber};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use procession::distributed::{Answer, Answers};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use self::living::{AnswerRoute, Trouble};
use crate::address::Address;
use crate::command::Command;
use crate::farewell;
use crate::faults::{Fault, unavailable};
use crate::link::Link;
use crate::parcel::Parcel;
use crate::post::{PAUSE, Post};
use crate::pull::{Pulled, Puller};
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
    Opened(Result<Box<AnswerRoute>, Trouble>),
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
    /// Whether it may be in the server: it was published at least once.
    was_sent: bool,
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
    /// The consumer of the answers, as it was made.
    consumer: Option<Info>,
    /// When the client said last that it lives.
    said_at: Instant,
    /// Whether it has been silent for so long that it may count as dead.
    is_in_doubt: bool,
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
            consumer: None,
            said_at: Instant::now(),
            is_in_doubt: false,
            is_opening: false,
            reading: HashSet::new(),
            paused_until: None,
            trouble: None,
            is_auditing: false,
        }
    }

    /// Does what it is told until it is told to close.
    pub async fn carry(mut self, mut commands: UnboundedReceiver<Command>) {
        let mut calls = None;
        loop {
            self.say_if_due().await;
            self.publish_queued();
            self.audit();
            self.fetch().await;
            let wake = self.wake_at();
            tokio::select! {
                command = commands.recv() => match command {
                    None | Some(Command::Close) => break,
                    Some(Command::Open(answers, reply)) => {
                        // It waits for that.
                        _ = reply.send(match self.open(answers).await {
                            Ok(subscriber) => {
                                calls = Some(subscriber);
                                Ok(())
                            }
                            Err(error) => Err(error),
                        });
                    }
                    Some(command) => self.obey(command),
                },
                Some(call) = next_call(&mut calls) => self.note_call(&call),
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
            self.says_at(),
            self.paused_until.filter(|_| self.is_connected),
            (is_busy && !self.is_auditing).then_some(self.audit_at),
            self.puller
                .as_ref()
                .filter(|_| self.is_connected)
                .and_then(|puller| puller.forgotten_at()),
        ];
        let due = others.into_iter().flatten().chain(end).min();
        due.unwrap_or_else(|| Instant::now() + NEVER)
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Ship(envelope) => {
                let id = envelope.id;
                let out = Out {
                    parcel: Arc::new(envelope.into()),
                    place: Place::Queued,
                    attempt: 0,
                    was_sent: false,
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
            Command::Open(..) | Command::Close => {}
        }
    }

    /// Asks for answers. The server would forget a consumer that nobody asks.
    async fn fetch(&mut self) {
        if self.is_connected
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
                self.note_opened(opened);
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
                self.post.reconnects.send_modify(|count| *count += 1);
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
                self.say_soon();
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

impl Drop for Carrier {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(answers) = self.answers.take()
        {
            // Nobody else would.
            answers.fail("the thread that carries its tasks has panicked");
        }
    }
}

/// How long between looks for tasks that the server has lost.
fn period(post: &Post) -> Duration {
    (post.address.keep / 4).min(AUDIT)
}

async fn next(puller: &mut Option<Box<Puller>>) -> Pulled {
    match puller {
        Some(puller) => puller.next().await,
        None => std::future::pending().await,
    }
}

async fn next_call(calls: &mut Option<Subscriber>) -> Option<Message> {
    match calls {
        Some(calls) => calls.next().await,
        None => std::future::pending().await,
    }
}
