//! Each way in which processes wait for one another.
//!
//! A lock lets in one, a semaphore a few, an event waits for a signal, a
//! condition for a change, a barrier for everybody, and `wait` for the end of a
//! process.

use std::time::Duration;

use procession::{
    Barrier, Child, Condition, Event, Lock, Process, Result, Semaphore, Shared, wait,
};

/// Adds to a total in two steps; without the lock around them, sums get lost.
fn add_under_lock(lock: Lock, total: Shared<u32>) -> Result2 {
    for _ in 0..100 {
        let _guard = lock.lock().map_err(text)?;
        let before = total.get().map_err(text)?;
        total.set(before + 1).map_err(text)?;
    }
    Ok(())
}

/// Counts how many are inside together, and keeps the highest count.
fn enter(semaphore: Semaphore, inside_and_peak: Shared<[u32; 2]>) -> Result2 {
    let _permit = semaphore.permit().map_err(text)?;
    inside_and_peak
        .update(|[inside, peak]| {
            *inside += 1;
            *peak = (*peak).max(*inside);
        })
        .map_err(text)?;
    std::hint::black_box((0..1_000_000_u64).sum::<u64>()); // The work.
    inside_and_peak
        .update(|[inside, _]| *inside -= 1)
        .map_err(text)
}

/// Waits for one event and sets another.
fn answer_event(asked: Event, answered: Event) -> Result2 {
    asked.wait().map_err(text)?;
    answered.set();
    Ok(())
}

/// Takes one off, and tells whoever waits for a change.
fn count_down(lock: Lock, condition: Condition, left: Shared<u32>) -> Result2 {
    let _guard = lock.lock().map_err(text)?;
    left.update(|left| *left -= 1).map_err(text)?;
    condition.notify_all().map_err(text)
}

/// Waits until everybody is there; each is told its place in the line.
fn meet(barrier: Barrier) -> std::result::Result<usize, String> {
    Ok(barrier.wait().map_err(text)?.index())
}

/// Errors cross as text.
type Result2 = std::result::Result<(), String>;

fn text(error: procession::Error) -> String {
    error.to_string()
}

fn join_all(children: Vec<Child<Result2>>) -> Result<()> {
    for child in children {
        child.join()?.expect("no helper fails");
    }
    Ok(())
}

fn show_lock() -> Result<()> {
    let (lock, total) = (Lock::new()?, Shared::new(0)?);
    let mut children = Vec::new();
    for _ in 0..3 {
        let process = Process::new(add_under_lock).args((lock.clone(), total.clone()));
        children.push(process.start()?);
    }
    join_all(children)?;
    println!(
        "lock: 3 processes added 100 each, the total is {}",
        total.get()?
    );
    Ok(())
}

fn show_semaphore() -> Result<()> {
    let (semaphore, inside_and_peak) = (Semaphore::new(2)?, Shared::new([0, 0])?);
    let mut children = Vec::new();
    for _ in 0..4 {
        let process = Process::new(enter).args((semaphore.clone(), inside_and_peak.clone()));
        children.push(process.start()?);
    }
    join_all(children)?;
    let [_, peak] = inside_and_peak.get()?;
    println!(
        "semaphore: no more than 2 of 4 inside together: {}",
        yes_or_no(peak <= 2)
    );
    Ok(())
}

fn show_event() -> Result<()> {
    let (asked, answered) = (Event::new()?, Event::new()?);
    let process = Process::new(answer_event).args((asked.clone(), answered.clone()));
    let child = process.start()?;
    println!(
        "event: answered before asked: {}",
        yes_or_no(answered.is_set())
    );
    asked.set();
    let came = answered.wait_timeout(Duration::from_secs(30))?;
    println!("event: answered after asked: {}", yes_or_no(came));
    join_all(vec![child])
}

fn show_condition() -> Result<()> {
    let (lock, condition, left) = (Lock::new()?, Condition::new()?, Shared::new(3)?);
    let mut children = Vec::new();
    for _ in 0..3 {
        let arguments = (lock.clone(), condition.clone(), left.clone());
        children.push(Process::new(count_down).args(arguments).start()?);
    }
    let mut guard = lock.lock()?;
    while left.get()? != 0 {
        guard = condition.wait(guard)?;
    }
    println!("condition: {} left", left.get()?);
    drop(guard);
    join_all(children)
}

fn show_barrier() -> Result<()> {
    let barrier = Barrier::new(3)?;
    let mut children = Vec::new();
    for _ in 0..3 {
        children.push(Process::new(meet).args(barrier.clone()).start()?);
    }
    let mut places = Vec::new();
    for child in children {
        places.push(child.join()?.expect("nobody breaks the barrier"));
    }
    places.sort_unstable();
    println!("barrier: all met, in the places {places:?}");
    Ok(())
}

fn show_another_process() -> Result<()> {
    let child = Process::new(|| ()).start()?;
    wait(&[&child], None)?;
    println!("another process: ended with exit code {}", child.wait()?);
    Ok(())
}

fn yes_or_no(answer: bool) -> &'static str {
    if answer { "yes" } else { "no" }
}

#[procession::main]
fn main() -> Result<()> {
    show_lock()?;
    show_semaphore()?;
    show_event()?;
    show_condition()?;
    show_barrier()?;
    show_another_process()
}
