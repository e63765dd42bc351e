//! The node's side: fetches tasks, has them run, and hands in the answers.

mod leaving;
mod living;
mod talk;

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Event;
use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use procession::distributed::{Answer, Node, NodeInfo, RunningTasks};
use procession::{Error, PoolBuilder};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep, sleep_until};

use self::living::Echo;
use crate::address::Address;
use crate::clients::{Clients, Standing};
use crate::doubt::Doubt;
use crate::faults::Fault;
use crate::held::{Held, Holdings, MessageKey, Phase};
use crate::holders::{is_gone, is_held_elsewhere};
use crate::link::Link;
use crate::memory::{Memory, TaskKey};
use crate::post::{ACK, PAUSE, PROGRESS, Post};
use crate::pull::Pulled;
use crate::pullers::Pullers;
use crate::remains;
use crate::signals::Signals;
use crate::window::Window;
use crate::wire::{HoldersQuestion, Part};

/// For how long a node that is told to end waits for what runs.
const GRACE: Duration = Duration::from_secs(10);

/// How often it is tried again to fetch the bytes of a task.
const TRIES: u32 = 5;

/// How many tasks may wait for their clients besides those that the workers have.
const MOST_WAITING: usize = 64;

/// How long the rest may take then.
const LAST_WORDS: Duration = Duration::from_secs(2);

type Happening = Pin<Box<dyn Future<Output = Happened> + Send>>;

/// What came of something that went on meanwhile.
enum Happened {
    Opened(Result<Box<Opened>, Fault>),
    Asked(u64, bool),
    Fetched(u64, Result<(Bytes, Bytes), Fault>),
    /// All of it is stored that was to be, and its message is not needed any more.
    Left(u64),
    /// All that was of a client is removed.
    Cleaned(String, Result<(), Fault>),
}

/// What a node knows when it begins to ask for tasks.
struct Opened {
    pullers: Pullers,
    doubt: Doubt,
    /// The clients that the server keeps something for.
    clients: HashSet<String>,
}

/// Everything that a node knows.
pub struct Agent {
    post: Arc<Post>,
    node: Node,
    info: NodeInfo,
    events: UnboundedReceiver<Event>,
    answers: UnboundedReceiver<(u64, Answer)>,
    held: Holdings,
    window: Window,
    /// Tasks that were cancelled and are not here: they may come yet.
    cancelled: Memory<TaskKey>,
    /// Tasks that are answered: the server may deliver them again if it was away.
    done: Memory<MessageKey>,
    clients: Clients,
    echo: Echo,
    /// How many clients' remains are being removed.
    cleaning: usize,
    happening: FuturesUnordered<Happening>,
    pullers: Option<Box<Pullers>>,
    doubt: Doubt,
    is_opening: bool,
    is_connected: bool,
    paused_until: Option<Instant>,
    /// When it began to wait for what happens next.
    woke_at: Instant,
    /// Until when there may be tasks here that were delivered before it stood still.
    late_until: Option<Instant>,
    progress_at: Instant,
    ending: Option<Ending>,
}

/// How a node ends.
struct Ending {
    /// When what still runs is killed, or what is not yet stored is left.
    deadline: Instant,
    is_overdue: bool,
    /// Why, if it was not told to.
    error: Option<Error>,
}

impl Agent {
    /// Starts the workers.
    pub fn start(link: Link, address: &Address, workers: PoolBuilder) -> procession::Result<Self> {
        let (told, answers) = unbounded_channel();
        let workers = match address.workers {
            Some(count) => workers.workers(count),
            None => workers,
        };
        let node = Node::start(workers, move |key, answer| {
            // Nobody listens any more when the node has ended.
            _ = told.send((key, answer));
        })?;
        Ok(Self {
            post: Arc::new(Post::new(&link, address)),
            info: NodeInfo::of_this_program(name_of_the_machine(), node.workers()),
            window: Window::new(node.workers()),
            node,
            clients: Clients::new(Instant::now()),
            echo: Echo::new(&link.client),
            cleaning: 0,
            events: link.events,
            answers,
            held: Holdings::default(),
            cancelled: Memory::new(),
            done: Memory::new(),
            happening: FuturesUnordered::new(),
            pullers: None,
            doubt: Doubt::default(),
            is_opening: false,
            is_connected: true,
            paused_until: None,
            woke_at: Instant::now(),
            late_until: None,
            progress_at: Instant::now() + address.lease / 3,
            ending: None,
        })
    }

    /// Works until it is told to end, and has.
    pub async fn work(mut self, mut signals: Signals) -> procession::Result<()> {
        let mut ears = self.listen().await?;
        self.call(None);
        while !self.has_ended() {
            self.note_standstill();
            self.woke_at = Instant::now();
            self.fetch().await;
            let wake = self.wake_at();
            tokio::select! {
                pulled = next(&mut self.pullers) => self.take(pulled),
                Some((key, answer)) = self.answers.recv() => self.note_answer(key, answer),
                Some(happened) = self.happening.next() => self.note(happened),
                Some(message) = ears.cancels.next() => self.note_cancel(&message),
                Some(message) = ears.clients.next() => self.note_client(&message),
                Some(message) = ears.echo.next() => self.note_echo(&message, &mut ears.clients),
                Some(message) = ears.nodes.next() => self.tell_who(message),
                Some(message) = ears.holders.next() => self.tell_held(message),
                Some(event) = self.events.recv() => self.hear(&event),
                () = signals.next() => {
                    // The second time somebody is in a hurry.
                    if self.ending.is_some() {
                        break;
                    }
                    self.end_soon(None);
                }
                () = sleep_until(wake) => self.keep_up(),
            }
        }
        self.node.terminate();
        _ = self.node.join_timeout(LAST_WORDS);
        _ = self.post.client.flush().await;
        match self.ending.and_then(|ending| ending.error) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn has_ended(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| {
            let is_late = ending.is_overdue && Instant::now() >= ending.deadline;
            let is_done = self.held.is_empty() && self.cleaning == 0;
            is_done && self.pullers.is_none() || is_late
        })
    }

    fn wake_at(&self) -> Instant {
        let deadline = self.ending.as_ref().map(|ending| ending.deadline);
        let due = [deadline, self.paused_until, self.echo.due_at].into_iter();
        let due = due.flatten();
        due.chain([self.progress_at])
            .min()
            .unwrap_or(self.progress_at)
    }

    /// Asks for tasks, as many as there is room for.
    async fn fetch(&mut self) {
        self.paused_until = self.paused_until.filter(|until| *until > Instant::now());
        if self.ending.is_some() {
            match &mut self.pullers {
                // What was sent already still comes, and is given back.
                Some(pullers) if self.is_connected => pullers.end().await,
                _ => self.pullers = None,
            }
            return;
        }
        if !self.is_connected || self.paused_until.is_some() {
            return;
        }
        if let Some(pullers) = &mut self.pullers {
            // Those that wait are in nobody's way, as long as they are few.
            let waiting = self.clients.waiting(Instant::now()).min(MOST_WAITING);
            let active = self.held.active().saturating_sub(waiting);
            let room = self.window.size().saturating_sub(active);
            pullers.ask(room).await;
        } else if !self.is_opening {
            self.is_opening = true;
            let post = self.post.clone();
            self.happening.push(Box::pin(async move {
                Happened::Opened(post.undisturbed(open(&post)).await)
            }));
        }
    }

    fn take(&mut self, pulled: Pulled) {
        self.note_standstill();
        let message = match pulled {
            Pulled::Message(message) => message,
            Pulled::Room => return,
            Pulled::Gone => {
                self.pullers = None;
                self.paused_until = Some(Instant::now() + PAUSE);
                return;
            }
        };
        let Ok(held) = Held::read(&message) else {
            // Of a version that nobody here can read; its client publishes it again.
            return self.tell(message.reply.clone(), ACK);
        };
        let known = self.held.find(&held.task);
        if let Some(known) = known.and_then(|key| self.held.get_mut(key))
            // One that is given back may come here.
            && (known.phase != Phase::Returning || known.sequence == held.sequence)
        {
            // The server was away and has forgotten that it is here.
            return known.adopt(held.sequence, held.reply);
        }
        if self.done.has(&held.message_key()) {
            return self.tell(Some(held.reply), ACK);
        }
        let (client, lease) = (held.task.0.clone(), held.client_lease);
        match self.clients.note_task(&client, lease, Instant::now()) {
            Standing::Lives => {
                let key = self.held.add(held);
                self.admit(key);
            }
            Standing::Unheard => {
                let key = self.held.add(held);
                self.wait_for_client(client, key);
            }
            Standing::Gone => self.tell(Some(held.reply), ACK),
        }
    }

    /// Begins with a task that has come.
    fn admit(&mut self, key: u64) {
        let is_late = self.is_late();
        let Some(held) = self.held.get_mut(key) else {
            return;
        };
        if held.is_cancelled || self.cancelled.has(&held.task) {
            self.answer(key, Answer::Cancelled);
        } else if held.is_second || is_late || self.doubt.is_about(held) {
            self.ask_holders(key);
        } else {
            self.begin(key);
        }
    }

    fn ask_holders(&mut self, key: u64) {
        let Some(held) = self.held.get_mut(key) else {
            return;
        };
        held.phase = Phase::Asking;
        let question = HoldersQuestion {
            client: held.task.0.clone(),
            id: held.task.1,
            sequence: held.sequence,
            reply: held.reply.to_string(),
        };
        let (post, is_late) = (self.post.clone(), self.is_late());
        self.happening.push(Box::pin(async move {
            let is_done = is_late && is_gone(&post, question.sequence).await;
            Happened::Asked(key, is_done || is_held_elsewhere(&post, question).await)
        }));
    }

    /// Has a task run, as soon as its bytes are here.
    fn begin(&mut self, key: u64) {
        let Some(held) = self.held.get_mut(key) else {
            return;
        };
        match (&held.job, &held.input) {
            ((_, Some(job)), (_, Some(input))) => {
                let bytes = (job.clone(), input.clone());
                self.run(key, bytes);
            }
            (job, input) => {
                held.phase = Phase::Fetching;
                let (job, input, post) = (job.clone(), input.clone(), self.post.clone());
                self.happening.push(Box::pin(async move {
                    Happened::Fetched(key, fetch_at_last(&post, job, input).await)
                }));
            }
        }
    }

    fn run(&mut self, key: u64, (job, input): (Bytes, Bytes)) {
        if self.ending.is_some() {
            return self.give_back(key);
        }
        let Some(held) = self.held.get_mut(key) else {
            return;
        };
        if held.is_cancelled {
            return self.answer(key, Answer::Cancelled);
        }
        held.phase = Phase::Running;
        held.begun = Some(self.window.begin());
        let mut envelope = held.envelope.clone();
        envelope.job = job.as_ref().into();
        envelope.input = input.into();
        // Lost nodes and dead workers count alike.
        envelope.retries = envelope.retries.saturating_sub(held.losses);
        if let Err(error) = self.node.run(key, envelope) {
            self.give_back(key);
            self.end_soon(Some(error));
        }
    }

    fn note(&mut self, happened: Happened) {
        match happened {
            Happened::Opened(opened) => {
                self.is_opening = false;
                match opened {
                    Ok(opened) if self.ending.is_none() => {
                        self.pullers = Some(Box::new(opened.pullers));
                        self.doubt = opened.doubt;
                        self.note_clients(opened.clients);
                    }
                    Ok(_) => {}
                    Err(_) => self.paused_until = Some(Instant::now() + PAUSE),
                }
            }
            Happened::Asked(key, true) => {
                // The other one acknowledges it.
                self.held.remove(key);
            }
            Happened::Asked(key, false) => {
                let held = self.held.get_mut(key);
                if held.is_some_and(|held| held.is_second) {
                    self.count_a_loss(key);
                } else {
                    self.begin(key);
                }
            }
            Happened::Fetched(key, Ok(bytes)) => self.run(key, bytes),
            Happened::Fetched(key, Err(fault)) => {
                let text = format!("its arguments cannot be fetched ({fault})");
                self.answer(key, Answer::Failed(text));
            }
            Happened::Left(key) => self.let_go(key),
            Happened::Cleaned(client, cleaned) => self.note_cleaned(client, cleaned),
        }
    }

    fn note_answer(&mut self, key: u64, answer: Answer) {
        let Some(held) = self.held.get_mut(key) else {
            return;
        };
        if let Some(begun) = held.begun.take() {
            self.window.end(begun);
        }
        match (&self.ending, &answer) {
            (Some(_), Answer::Cancelled) if !held.is_cancelled => self.give_back(key),
            // It was killed with its worker because it took too long to end.
            (Some(ending), Answer::Failed(_)) if ending.is_overdue => self.count_a_loss(key),
            _ => self.answer(key, answer),
        }
    }

    fn hear(&mut self, event: &Event) {
        match event {
            Event::Disconnected => self.is_connected = false,
            Event::Connected if !self.is_connected => {
                self.is_connected = true;
                if let Some(mut pullers) = self.pullers.take() {
                    // What has come counts as delivered: nobody else would get it as a first one.
                    while let Some(Pulled::Message(message)) = pullers.next().now_or_never() {
                        self.take(Pulled::Message(message));
                    }
                }
                self.post.reconnects.send_modify(|count| *count += 1);
                self.say_progress();
                self.listen_anew();
            }
            _ => {}
        }
    }

    /// Says that everything that is held is being worked on.
    fn say_progress(&mut self) {
        self.progress_at = Instant::now() + self.post.address.lease / 3;
        if !self.is_connected {
            return;
        }
        for (_, held) in self.held.iter() {
            for reply in held.replies() {
                self.tell(Some(reply.clone()), PROGRESS);
            }
        }
    }

    fn keep_up(&mut self) {
        if Instant::now() >= self.progress_at {
            self.say_progress();
        }
        self.echo_if_due();
        if let Some(ending) = &mut self.ending
            && !ending.is_overdue
            && Instant::now() >= ending.deadline
        {
            ending.is_overdue = true;
            ending.deadline = Instant::now() + LAST_WORDS;
            self.pullers = None;
            self.node.terminate();
        }
    }

    /// Takes nothing new, and gives back what has not begun.
    fn end_soon(&mut self, error: Option<Error>) {
        self.ending.get_or_insert(Ending {
            deadline: Instant::now() + GRACE,
            is_overdue: false,
            error,
        });
        let running = |(key, held): (u64, &Held)| (held.phase == Phase::Running).then_some(key);
        let keys: Vec<u64> = self.held.iter().filter_map(running).collect();
        // It fails in a forked copy alone.
        _ = self.node.cancel(&keys, RunningTasks::Spared);
        for key in self.clients.take_waiting() {
            self.give_back(key);
        }
    }
}

/// Fetches the bytes of a task that are in the object store.
async fn fetch(
    post: &Post,
    job: (Part, Option<Bytes>),
    input: (Part, Option<Bytes>),
) -> Result<(Bytes, Bytes), Fault> {
    let job = match job {
        (Part::Object(name), _) => post.objects.get_job(&name).await?,
        (Part::Here(_), job) => job.unwrap_or_default(),
    };
    let input = match input {
        (Part::Object(name), _) => post.objects.get(&name).await?,
        (Part::Here(_), input) => input.unwrap_or_default(),
    };
    Ok((job, input))
}

/// Fetches the bytes of a task, also if the server is away for a while.
async fn fetch_at_last(
    post: &Post,
    job: (Part, Option<Bytes>),
    input: (Part, Option<Bytes>),
) -> Result<(Bytes, Bytes), Fault> {
    let mut tries = 0;
    loop {
        let fetched = fetch(post, job.clone(), input.clone());
        match post.undisturbed(fetched).await {
            Err(Fault::Disturbed) => {}
            Err(_) if tries < TRIES => {
                tries += 1;
                sleep(PAUSE).await;
            }
            fetched => return fetched,
        }
    }
}

/// Finds out what others hold and who the clients are, then gets ready to ask for tasks.
async fn open(post: &Post) -> Result<Box<Opened>, Fault> {
    let doubt = Doubt::find(post).await.map_err(Fault::Unsure)?;
    let pullers = Pullers::open(post).await.map_err(Fault::Unsure)?;
    let clients = remains::owners(post).await?;
    Ok(Box::new(Opened {
        pullers,
        doubt,
        clients,
    }))
}

async fn next(pullers: &mut Option<Box<Pullers>>) -> Pulled {
    match pullers {
        Some(pullers) => pullers.next().await,
        None => std::future::pending().await,
    }
}

fn name_of_the_machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map_or_else(|_| "a node".to_owned(), |name| name.trim().to_owned())
}
