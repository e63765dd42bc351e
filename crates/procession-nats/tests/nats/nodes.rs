//! Nodes, which are processes of this program, and tasks that wait in them.

use std::env;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use procession::Pool;
use rustix::process::{Pid, Signal, kill_process};

/// A node, which is killed when it is dropped.
pub struct NodeProcess(Child);

impl NodeProcess {
    /// Starts one; its workers see its name.
    pub fn start(url: &str, name: &str) -> Self {
        Self::start_of(&env::current_exe().unwrap(), url, name)
    }

    /// Starts one of another program.
    pub fn start_of(program: &Path, url: &str, name: &str) -> Self {
        let mut command = Command::new(program);
        command
            .env("PROCESSION_NODE", url)
            .env("PROCESSION_TEST_NODE", name);
        Self(command.spawn().unwrap())
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Tells it to end.
    pub fn terminate(&self) {
        kill_process(pid_of(&self.0), Signal::TERM).unwrap();
    }

    /// Stops it.
    pub fn stop(&self) {
        kill_process(pid_of(&self.0), Signal::STOP).unwrap();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        kill_process(pid_of(&self.0), Signal::CONT).unwrap();
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the process id of a child.
pub fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Connects a pool.
pub fn pool(url: &str) -> Pool {
    Pool::on(procession_nats::connect(url).unwrap()).unwrap()
}

/// Waits until a pool finds so many nodes.
pub fn wait_for_nodes(pool: &Pool, count: usize) {
    while pool.nodes().unwrap().len() != count {}
}

/// Where tasks wait until they are let through.
pub struct Gate(TcpListener);

/// A task that waits.
pub struct Waiting {
    pub number: u64,
    pub node: String,
    /// It goes on when this is dropped.
    stream: TcpStream,
}

impl Waiting {
    /// Waits until its worker is dead.
    pub fn wait_until_killed(mut self) {
        // It sends nothing more.
        assert!(matches!(self.stream.read(&mut [0]), Ok(0) | Err(_)));
    }
}

impl Gate {
    pub fn new() -> Self {
        Self(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
    }

    pub fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// Waits for the next task.
    pub fn next(&self) -> Waiting {
        Self::meet(self.0.accept().unwrap().0)
    }

    /// Returns the next task if one is there.
    pub fn try_next(&self) -> Option<Waiting> {
        self.0.set_nonblocking(true).unwrap();
        let next = self.0.accept();
        self.0.set_nonblocking(false).unwrap();
        match next {
            Ok((stream, _)) => Some(Self::meet(stream)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                None
            }
        }
    }

    fn meet(mut stream: TcpStream) -> Waiting {
        let mut number = [0; 8];
        stream.read_exact(&mut number).unwrap();
        let mut length = [0];
        stream.read_exact(&mut length).unwrap();
        let mut node = vec![0; length[0].into()];
        stream.read_exact(&mut node).unwrap();
        Waiting {
            number: u64::from_le_bytes(number),
            node: String::from_utf8(node).unwrap(),
            stream,
        }
    }
}

/// A task that waits at a gate, and returns its number. Behind a gate that is gone nothing waits.
pub fn wait_at(port: u16, number: u64) -> u64 {
    if let Ok(mut gate) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
        let node = env::var("PROCESSION_TEST_NODE").unwrap_or_default();
        let mut message = number.to_le_bytes().to_vec();
        message.push(node.len() as u8);
        message.extend(node.as_bytes());
        let _ = gate.write_all(&message);
        let _ = gate.read(&mut [0]);
    }
    number
}
