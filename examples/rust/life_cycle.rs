//! The life of a process: new, running, blocked, terminated; and every way to end.
//!
//! A process can return, fail, exit, be terminated, be killed, or be asked to
//! stop. The exit code tells which: 0 for a return, 1 for a panic, the code of
//! an exit, and -N for the signal N that ended it.

use procession::{Child, Event, Process, Result, State, current_process};

/// Ends by returning.
fn returns() {}

/// Ends by an error; its message goes to stderr.
fn fails() {
    panic!("nobody catches this");
}

/// Ends by an exit with a code of its own.
fn exits() {
    std::process::exit(3);
}

/// Ends only if somebody ends it, when nobody sets `forever`.
fn waits(ready: Event, forever: Event) {
    ready.set();
    forever.wait().expect("the family lives");
}

/// Ends when the flag that it shares with its parent is set.
fn works_until_flag(ready: Event, stop: Event) {
    ready.set();
    while !stop.is_set() {
        work();
    }
}

/// Ends when its own stop flag, which every process has, is set.
fn works_until_asked(ready: Event) {
    ready.set();
    while !current_process().stop_requested() {
        work();
    }
}

/// A piece of work.
fn work() {
    std::hint::black_box((0..100_000_u64).sum::<u64>());
}

fn yes_or_no(answer: bool) -> &'static str {
    if answer { "yes" } else { "no" }
}

/// Follows one process from new to terminated.
fn show_stages() -> Result<()> {
    let (ready, go) = (Event::new()?, Event::new()?);
    let process = Process::new(waits).args((ready.clone(), go.clone()));
    // What is not started has no pid, and no method to ask for one.
    println!("new: has a pid no, alive no, exit code none");
    let child = process.start()?;
    ready.wait()?;
    show(&child, "started")?;
    go.set();
    child.wait()?;
    show(&child, "ended")
}

/// Prints what can be told about a process from outside.
fn show(child: &Child<()>, stage: &str) -> Result<()> {
    let code = child
        .exit_code()?
        .map_or("none".to_owned(), |code| code.to_string());
    println!(
        "{stage}: has a pid {}, alive {}, exit code {code}",
        yes_or_no(child.pid() > 0),
        yes_or_no(child.is_alive()?),
    );
    Ok(())
}

/// Follows one process through the states that the operating system sees.
fn show_states() -> Result<()> {
    let (ready, go) = (Event::new()?, Event::new()?);
    let process = Process::new(waits).args((ready.clone(), go.clone()));
    let mut seen = vec!["new"];
    let child = process.start()?;
    ready.wait()?;
    while !matches!(child.state()?, State::Blocked(_)) {
        std::thread::yield_now(); // It is on its way from `ready` to `forever`.
    }
    seen.push("blocked");
    go.set();
    child.wait()?;
    if child.state()? == State::Terminated(0) {
        seen.push("terminated");
    }
    println!("states: {}", seen.join(", "));
    Ok(())
}

/// Ends a process in each of the six ways, and shows its exit code.
fn show_endings() -> Result<()> {
    println!(
        "returns: exit code {}",
        Process::new(returns).start()?.wait()?
    );
    println!("fails: exit code {}", Process::new(fails).start()?.wait()?);
    println!("exits: exit code {}", Process::new(exits).start()?.wait()?);

    for end in ["terminate", "kill"] {
        let (ready, forever) = (Event::new()?, Event::new()?);
        let child = Process::new(waits).args((ready.clone(), forever)).start()?;
        ready.wait()?;
        match end {
            "terminate" => child.terminate()?,
            _ => child.kill()?,
        }
        println!("{end}: exit code {}", child.wait()?);
    }

    let (ready, stop) = (Event::new()?, Event::new()?);
    let process = Process::new(works_until_flag).args((ready.clone(), stop.clone()));
    let child = process.start()?;
    ready.wait()?;
    stop.set();
    println!("stop flag of ours: exit code {}", child.wait()?);
    Ok(())
}

/// Asks a process to stop by the flag that each has from birth.
fn show_request_stop() -> Result<()> {
    let ready = Event::new()?;
    let child = Process::new(works_until_asked)
        .args(ready.clone())
        .start()?;
    ready.wait()?;
    child.request_stop()?;
    println!("request stop: exit code {}", child.wait()?);
    Ok(())
}

#[procession::main]
fn main() -> Result<()> {
    show_stages()?;
    show_states()?;
    show_endings()?;
    show_request_stop()
}
