//! A server of its own for a test.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use async_nats::jetstream::{self, Context};
use rustix::process::{Signal, kill_process};

use crate::link;
use crate::nodes::pid_of;

/// A folder for a test, which is removed when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes an empty one.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("procession-nats-{}-{number}", std::process::id());
        let path = env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A NATS server, which is killed when it is dropped.
pub struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    folder: Folder,
    port: u16,
    child: Option<Child>,
}

/// Returns where the server's program is.
pub fn program() -> Option<PathBuf> {
    if let Some(program) = env::var_os("NATS_SERVER") {
        return Some(program.into());
    }
    let path = env::var_os("PATH")?;
    let programs = env::split_paths(&path).map(|folder| folder.join("nats-server"));
    programs.into_iter().find(|program| program.is_file())
}

/// Starts a server with JetStream.
pub fn server() -> Server {
    start(&["-js"])
}

/// Starts a server with these arguments.
pub fn start(arguments: &[&str]) -> Server {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = Server {
        program: program().expect("main has looked"),
        arguments: arguments.iter().map(|&it| it.to_owned()).collect(),
        folder: Folder::new(),
        port: free.local_addr().unwrap().port(),
        child: None,
    };
    drop(free);
    server.begin();
    server
}

impl Server {
    /// Starts it, and waits until it is ready.
    pub fn begin(&mut self) {
        let mut child = Command::new(&self.program)
            .args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-sd"])
            .arg(self.folder.path())
            .args(&self.arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let is_ready = |line: &std::io::Result<String>| {
            let line = line.as_ref().unwrap();
            assert!(!line.contains("[FTL]"), "{line}");
            line.contains("Server is ready")
        };
        assert!(log.any(|line| is_ready(&line)), "the server has ended");
        // It would wait for somebody to read what it logs.
        thread::spawn(move || log.for_each(drop));
        self.child = Some(child);
    }

    /// Stops it.
    pub fn stop(&self) {
        let child = self.child.as_ref().unwrap();
        kill_process(pid_of(child), Signal::STOP).unwrap();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        let child = self.child.as_ref().unwrap();
        kill_process(pid_of(child), Signal::CONT).unwrap();
    }

    /// Kills it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Returns its address, with these keys.
    pub fn url(&self, keys: &str) -> String {
        format!("nats://127.0.0.1:{}?name=test&{keys}", self.port)
    }

    /// Returns its address by a way that is cut where a word is said to it first.
    pub fn url_cut_at(&self, word: &'static str, keys: &str) -> String {
        let port = link::cut_at(self.port, word);
        format!("nats://127.0.0.1:{port}?name=test&{keys}")
    }

    /// Returns its address with TLS.
    pub fn tls_url(&self, keys: &str) -> String {
        self.url(keys).replace("nats://", "tls://")
    }

    /// Returns its address for a user.
    pub fn url_of(&self, user: &str) -> String {
        format!("nats://{user}@127.0.0.1:{}?name=test", self.port)
    }

    /// Looks at its streams.
    pub fn look<T>(&self, look: impl AsyncFnOnce(Context) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(async {
            let client = async_nats::connect(format!("127.0.0.1:{}", self.port)).await;
            look(jetstream::new(client.unwrap())).await
        })
    }

    /// Returns how many messages a stream has.
    pub fn messages(&self, stream: &str) -> u64 {
        self.look(async |jetstream| match jetstream.get_stream(stream).await {
            Ok(stream) => stream.cached_info().state.messages,
            Err(_) => 0,
        })
    }

    /// Waits until a stream has so many messages.
    pub fn wait_for_messages(&self, stream: &str, count: u64) {
        // Of messages that are too old nobody is told.
        self.wait_for(async |jetstream| {
            let stream = jetstream.get_stream(stream).await;
            stream.is_ok_and(|stream| stream.cached_info().state.messages == count)
        });
    }

    /// Waits until something holds of its streams.
    pub fn wait_for(&self, holds: impl AsyncFn(Context) -> bool) {
        self.look(async |jetstream| {
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
            loop {
                ticks.tick().await;
                if holds(jetstream.clone()).await {
                    return;
                }
            }
        });
    }
}

/// Returns the names of all objects.
pub async fn objects(jetstream: Context) -> Vec<String> {
    use futures_util::TryStreamExt;
    let Ok(store) = jetstream.get_object_store("procession-test").await else {
        return Vec::new();
    };
    let mut list = store.list().await.unwrap();
    let mut names = Vec::new();
    while let Some(object) = list.try_next().await.unwrap() {
        names.push(object.name);
    }
    names
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
