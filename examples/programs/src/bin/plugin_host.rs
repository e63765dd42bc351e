//! Runs code that it does not trust, and tells how each piece of it ended. The host survives all
//! of it, and what has not misbehaved is not disturbed.

use std::time::Duration;

use linux_raw_sys::general::{__NR_execve, __NR_socket};
use procession::{Error, Pool};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// Stands for a library that is loaded and called.
fn run_plugin(name: String, input: u64) -> u64 {
    match name.as_str() {
        "square" => input * input,
        "panics" => panic!("unexpected input {input}"),
        "crashes" => std::process::abort(),
        "exits" => std::process::exit(3),
        "hangs" => loop {
            std::thread::park();
        },
        "greedy" => vec![1_u8; 4 << 30]
            .iter()
            .map(|byte| u64::from(*byte))
            .sum(),
        "calls home" => std::net::UdpSocket::bind("127.0.0.1:0").map_or(0, |_| 1),
        "asks" => std::env::var("PLUGIN_MODE").map_or(0, |mode| mode.len() as u64),
        other => unreachable!("no plugin {other}"),
    }
}

fn verdict(error: &Error) -> String {
    if let Some(panic) = error.panic_info() {
        format!("panicked: {}", panic.message)
    } else if error.is_timeout() {
        "took too long, and was killed".to_owned()
    } else if error.is_out_of_memory() {
        "wanted too much memory".to_owned()
    } else if error.signal() == Some(31) {
        "made a system call that is denied".to_owned()
    } else if let Some(signal) = error.signal() {
        format!("crashed by signal {signal}")
    } else if error.is_died() {
        "left in the middle".to_owned()
    } else {
        error.to_string()
    }
}

/// Denies other programs and the network.
fn filter() -> Result<BpfProgram, Box<dyn std::error::Error>> {
    let denied = [__NR_execve, __NR_socket].map(|number| (number.into(), Vec::new()));
    let filter = SeccompFilter::new(
        denied.into(),
        SeccompAction::Allow,
        SeccompAction::KillProcess,
        std::env::consts::ARCH.try_into()?,
    )?;
    Ok(filter.try_into()?)
}

#[procession::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = Pool::builder()
        .workers(2)
        .memory_limit(512 << 20)
        .affinity(|_worker| [0])
        .env(|_worker| [("PLUGIN_MODE", "untrusted")])
        .syscall_filter(&filter()?)
        .start()?;
    let calls = host.timeout(Duration::from_secs(1));
    let plugins = [
        "square",
        "panics",
        "crashes",
        "exits",
        "hangs",
        "greedy",
        "calls home",
        "asks",
    ];
    let inputs = plugins.iter().map(|name| (name.to_string(), 7));
    for (name, result) in plugins.iter().zip(calls.imap(run_plugin, inputs)) {
        match result {
            Ok(value) => println!("{name}: {value}"),
            Err(error) => println!("{name}: {}", verdict(&error)),
        }
    }
    Ok(())
}
