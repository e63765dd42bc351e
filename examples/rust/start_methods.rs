//! The three start methods, with the pids that parent and child see.
//!
//! `fork` copies the main process and `spawn` starts a fresh one: both are its
//! children in the eyes of the operating system too. `forkserver` asks a server
//! to fork, so that there the operating system names the server as the parent;
//! `parent_process` names the process that asked, under every method.

use std::os::unix::process::parent_id;

use procession::{Process, Result, StartMethod, parent_process};

/// Tells who this process is and who its parents are.
fn report() -> (u32, u32, u32) {
    let parent = parent_process().expect("somebody started this process");
    (std::process::id(), parent.pid(), parent_id())
}

#[procession::main]
fn main() -> Result<()> {
    println!("main: pid {}", std::process::id());
    for method in [
        StartMethod::Fork,
        StartMethod::Spawn,
        StartMethod::ForkServer,
    ] {
        let process = Process::new(report).start_method(method);
        let child = if method == StartMethod::Fork {
            // SAFETY: this process has one thread.
            #[expect(unsafe_code, reason = "fork is unsafe in a process with threads")]
            unsafe {
                process.args(()).start_by_fork()?
            }
        } else {
            process.start()?
        };
        let known_as = child.pid();
        let (pid, parent, system_parent) = child.join()?;
        println!("{method}: pid {pid}, started by {parent}, child of {system_parent}");
        if pid != known_as {
            println!("{method}: the parent knows it as {known_as}");
        }
    }
    Ok(())
}
