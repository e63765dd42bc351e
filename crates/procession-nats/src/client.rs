//! The engine: what a program uses of this crate.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use async_nats::ConnectOptions;
use procession::distributed::{Answers, Engine, NodeInfo, RunningTasks, TaskEnvelope};
use procession::{Error, Result};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::address::Address;
use crate::carrier::Carrier;
use crate::command::Command;
use crate::faults::{closed, unavailable};
use crate::link::Link;

/// Connects to a NATS server, for [`Pool::on`](procession::Pool::on). The crate's page says what an
/// address may have.
///
/// # Errors
/// `is_invalid` for an address that is none, or has an unknown key; `is_unavailable` if no server
/// answers within 5 s, it refuses who connects, or it has no JetStream.
///
/// # Examples
///
/// ```
/// let nobody = procession_nats::connect("nats://127.0.0.1:1").unwrap_err();
/// assert!(nobody.is_unavailable());
/// assert!(nobody.to_string().contains("nats-server --jetstream"));
///
/// let typo = procession_nats::connect("nats://hub?wrokers=4").unwrap_err();
/// assert!(typo.is_invalid());
/// ```
pub fn connect(url: &str) -> Result<Nats> {
    Nats::connect_with(url, ConnectOptions::new())
}

/// Carries the tasks of a pool over NATS JetStream.
///
/// When it is dropped, what is queued is removed and what runs is cancelled.
///
/// # Examples
///
/// ```no_run
/// use procession::Pool;
///
/// # procession_nats::init();
/// let pool = Pool::on(procession_nats::connect("nats://hub:4222?name=resize")?)?;
/// assert_eq!(pool.apply(|n: u64| n * n, 3)?, 9);
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Nats {
    shown: String,
    commands: UnboundedSender<Command>,
    /// Whether there were nodes when it was opened, but of other builds alone.
    is_foreign: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Nats {
    /// Connects with options of `async-nats`: certificates, tokens, other authentication. What the
    /// address says of these comes on top. The callback for events and the delay of
    /// reconnects are this crate's own.
    ///
    /// # Errors
    /// As [`connect`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use procession_nats::{ConnectOptions, Nats};
    ///
    /// let options = ConnectOptions::new().require_tls(true).token("s3cret".to_owned());
    /// let engine = Nats::connect_with("tls://hub:4222", options)?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn connect_with(url: &str, options: ConnectOptions) -> Result<Self> {
        let address = Address::parse(url)?;
        let shown = address.shown.clone();
        let (commands, told) = unbounded_channel();
        let (connected, is_connected) = sync_channel(1);
        let runtime = runtime()?;
        let thread = thread::Builder::new()
            .name("procession-nats".to_owned())
            .spawn(move || runtime.block_on(run(address, options, told, &connected)))
            .map_err(|error| unavailable(format!("no thread can be started: {error}")))?;
        let engine = Self {
            thread: Mutex::new(Some(thread)),
            commands,
            is_foreign: AtomicBool::new(false),
            shown,
        };
        is_connected.recv().map_err(|_| engine.gone())??;
        Ok(engine)
    }

    fn send(&self, command: Command) -> Result<()> {
        self.commands.send(command).map_err(|_| self.gone())
    }

    fn ask<T>(&self, question: impl FnOnce(SyncSender<Result<T>>) -> Command) -> Result<T> {
        let (reply, answer) = sync_channel(1);
        self.send(question(reply))?;
        answer.recv().map_err(|_| self.gone())?
    }

    /// Returns an error that names the nodes if there are some, but all of another build.
    fn strangers(&self) -> Result<Option<Error>> {
        let nodes = self.nodes()?;
        if nodes.is_empty() || nodes.iter().any(NodeInfo::is_of_this_build) {
            return Ok(None);
        }
        let name = |node: &NodeInfo| format!("{} (pid {})", node.name, node.pid);
        let names: Vec<String> = nodes.iter().map(name).collect();
        Ok(Some(unavailable(format!(
            "all nodes on {} run another build of the program: {}; start this build there, or give \
             this one another name (?name=…)",
            self.shown,
            names.join(", ")
        ))))
    }

    fn gone(&self) -> Error {
        closed(format!("the engine on {} is closed", self.shown))
    }
}

/// Makes what the connection runs on.
pub fn runtime() -> Result<Runtime> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| unavailable(format!("no connection can be made: {error}")))
}

async fn run(
    address: Address,
    options: ConnectOptions,
    told: UnboundedReceiver<Command>,
    connected: &SyncSender<Result<()>>,
) {
    match Link::connect(&address, options).await {
        Ok(link) => {
            // It waits for that.
            _ = connected.send(Ok(()));
            Carrier::new(link, &address).carry(told).await;
        }
        Err(error) => _ = connected.send(Err(error)),
    }
}

impl Engine for Nats {
    fn open(&self, answers: Answers) -> Result<()> {
        self.ask(|reply| Command::Open(answers, reply))?;
        let is_foreign = self.strangers()?.is_some();
        self.is_foreign.store(is_foreign, Relaxed);
        Ok(())
    }

    fn ship(&self, task: TaskEnvelope) -> Result<()> {
        // Functions with a name run on all nodes, so it matters only here. Others may have come.
        if task.build.is_some() && self.is_foreign.load(Relaxed) {
            if let Some(error) = self.strangers()? {
                return Err(error);
            }
            self.is_foreign.store(false, Relaxed);
        }
        self.send(Command::Ship(task))
    }

    fn cancel(&self, tasks: &[u64], running: RunningTasks) -> Result<()> {
        self.send(Command::Cancel(tasks.to_vec(), running))
    }

    fn nodes(&self) -> Result<Vec<NodeInfo>> {
        self.ask(Command::Nodes)
    }

    fn close(&self) {
        // It may be closed already.
        _ = self.commands.send(Command::Close);
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // A panic there has been printed.
            _ = thread.join();
        }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats")
            .field("server", &self.shown)
            .finish_non_exhaustive()
    }
}
