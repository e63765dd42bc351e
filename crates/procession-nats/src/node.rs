//! Being a node.

use std::process::exit;

use async_nats::ConnectOptions;
use procession::{PoolBuilder, Result};

use crate::address::Address;
use crate::agent::Agent;
use crate::client::runtime;
use crate::faults::invalid;
use crate::link::Link;
use crate::signals::Signals;

/// The variable that makes a program a node.
const VARIABLE: &str = "PROCESSION_NODE";

/// The variable that tasks of Python pools have besides.
const OF_A_TASK: &str = "PROCESSION_NODE_PID";

/// Makes this program ready to start processes, and to be a node; to be called first in `main`,
/// in place of [`procession::init`], which it calls.
///
/// If the variable `PROCESSION_NODE` has an address, this process is a node there and does not
/// return. It ends with 0 on SIGTERM or SIGINT, when it has given back what had not
/// begun, and with 1 and a line on standard error if it cannot be a node.
///
/// # Examples
///
/// ```no_run
/// fn main() -> procession::Result<()> {
///     procession_nats::init();
///     let pool = procession::Pool::on(procession_nats::connect("nats://hub:4222")?)?;
///     println!("{:?}", pool.map(|n: u64| n * n, 1..=3)?);
///     Ok(())
/// }
/// ```
pub fn init() {
    procession::init();
    // In a task of a Python pool on other machines, the variable has the name of that pool's node.
    let is_task = std::env::var_os(OF_A_TASK).is_some();
    let Some(url) = std::env::var_os(VARIABLE).filter(|_| !is_task) else {
        return;
    };
    let url = url.into_string();
    let url = url.map_err(|_| invalid(format!("{VARIABLE} is no address: it is not UTF-8")));
    match url.and_then(|url| serve(&url, PoolBuilder::new())) {
        Ok(()) => exit(0),
        Err(error) => {
            eprintln!("no node: {error}");
            exit(1)
        }
    }
}

/// Makes this process a node with workers as described, until it gets SIGTERM or SIGINT. The address
/// says how many workers, if it has the key `workers`.
///
/// # Errors
/// `is_invalid` and `is_unavailable` as [`connect`](crate::connect), and as
/// [`PoolBuilder::start`], also if the workers end later. A server that goes away later is waited for.
///
/// # Examples
///
/// ```no_run
/// fn main() -> procession::Result<()> {
///     procession::init();
///     let workers = procession::Pool::builder().memory_limit(1 << 30).tasks_per_worker(1000);
///     procession_nats::serve("nats://hub:4222?workers=4", workers)
/// }
/// ```
pub fn serve(url: &str, workers: PoolBuilder) -> Result<()> {
    let address = Address::parse(url)?;
    runtime()?.block_on(async {
        let link = Link::connect(&address, ConnectOptions::new()).await?;
        let signals = Signals::new()?;
        Agent::start(link, &address, workers)?.work(signals).await
    })
}
