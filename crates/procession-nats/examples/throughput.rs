//! Measures how many tasks a second go through a server of its own and one node, as JSON for the benchmarks.
//!
//! `NATS_SERVER=/path/to/nats-server throughput`: the server stores in files, and the node, which has two
//! workers, runs on this machine, too.

use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use std::{env, fs};

use procession::Pool;

const TASKS: u64 = 20_000;

/// A process that ends with this one.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn identity(number: u64) -> u64 {
    number
}

fn main() -> Result<(), Box<dyn Error>> {
    procession_nats::init();
    let folder = env::temp_dir().join(format!("procession-throughput-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let measured = measure(&folder);
    fs::remove_dir_all(&folder)?;
    println!("{{\"value\": {}, \"library\": \"procession\"}}", measured?);
    Ok(())
}

/// Returns tasks a second of a map with one input a task, on workers that have had some.
fn measure(folder: &std::path::Path) -> Result<f64, Box<dyn Error>> {
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let program = env::var_os("NATS_SERVER").unwrap_or_else(|| "nats-server".into());
    let server = Command::new(program)
        .args(["-js", "-a", "127.0.0.1", "-p", &free.to_string(), "-sd"])
        .arg(folder)
        .stderr(Stdio::piped())
        .spawn()?;
    let mut server = Killed(server);
    let mut log = BufReader::new(server.0.stderr.take().ok_or("no log")?).lines();
    let is_ready =
        |line: std::io::Result<String>| line.is_ok_and(|it| it.contains("Server is ready"));
    if !log.any(is_ready) {
        return Err("the server did not come up".into());
    }
    // It would block when nobody reads what it logs.
    std::thread::spawn(move || log.for_each(drop));
    let url = format!("nats://127.0.0.1:{free}?workers=2");
    let node = Command::new(env::current_exe()?)
        .env("PROCESSION_NODE", &url)
        .spawn()?;
    let _node = Killed(node);
    let pool = Pool::on(procession_nats::connect(&url)?)?;
    while pool.nodes()?.is_empty() {}
    pool.map(identity, 0..1_000)?;
    let begin = Instant::now();
    let results = pool.map(identity, 0..TASKS)?;
    let seconds = begin.elapsed().as_secs_f64();
    assert!(results.into_iter().eq(0..TASKS));
    Ok(TASKS as f64 / seconds)
}
