//! The world of a model: who is parked on what, whose time is up, who dies where.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use loom::sync::{Condvar, Mutex};

use crate::primitive::{AtomicU32, AtomicU64};
use crate::wait::futex::Woken;
use crate::wait::time::Deadline;

/// The word of which the low half is parked on.
pub type Half = AtomicU64;

/// What can be parked on.
pub trait Futex {
    /// Returns the value, or its low half.
    fn value(&self) -> u32;
}

impl Futex for AtomicU32 {
    fn value(&self) -> u32 {
        self.load(Ordering::SeqCst)
    }
}

impl Futex for AtomicU64 {
    fn value(&self) -> u32 {
        self.load(Ordering::SeqCst) as u32
    }
}

loom::lazy_static! {
    // The threads that are parked: on which word, and in which order they parked.
    static ref PARKED: (Mutex<Parked>, Condvar) = (Mutex::new(Parked::default()), Condvar::new());
    static ref SLICES_END: AtomicBool = AtomicBool::new(false);
}

#[derive(Default)]
struct Parked {
    line: Vec<(usize, u64)>,
    tickets: u64,
}

/// Parks as the real one does, and is woken in the order of parking.
///
/// Time never passes in a model, so a lost wake-up shows as a deadlock;
/// after [`end_slices`] it always has passed, and nobody parks.
pub fn futex_wait<F: Futex>(word: &F, expected: u32, deadline: Deadline) -> Woken {
    if deadline.has_passed() {
        return Woken::TimedOut;
    }
    if deadline != Deadline::NEVER && SLICES_END.load(Ordering::Relaxed) {
        loom::thread::yield_now();
        return Woken::TimedOut;
    }
    step();
    let mut parked = PARKED.0.lock().expect("no model panics while it parks");
    if word.value() == expected {
        parked.tickets += 1;
        let mine = (std::ptr::from_ref(word).addr(), parked.tickets);
        parked.line.push(mine);
        while parked.line.contains(&mine) {
            parked = PARKED
                .1
                .wait(parked)
                .expect("no model panics while it parks");
        }
    }
    Woken::Changed
}

/// Wakes the `count` that have been parked on the word for longest.
pub fn futex_wake<F: Futex>(word: &F, count: u32) {
    step();
    let mut parked = PARKED.0.lock().expect("no model panics while it parks");
    let mut left = count;
    parked.line.retain(|&(address, _)| {
        let woken = left > 0 && address == std::ptr::from_ref(word).addr();
        left -= u32::from(woken);
        !woken
    });
    PARKED.1.notify_all();
    drop(parked);
}

/// Lets all waits with a deadline end at once, for the rest of this run of
/// the model.
pub fn end_slices() {
    SLICES_END.store(true, Ordering::Relaxed);
}

loom::thread_local! {
    // One more than the steps that are left to a thread that is to die; 0 if the thread is to live.
    static LEFT: Cell<u32> = Cell::new(0);
}

/// What a thread unwinds with when its steps are used up.
struct Died;

/// Is called before each step: a write that other threads can see, a wake-up.
pub fn step() {
    match LEFT.with(Cell::get) {
        0 => {}
        1 => {
            LEFT.with(|left| left.set(0));
            resume_unwind(Box::new(Died));
        }
        left => LEFT.with(|cell| cell.set(left - 1)),
    }
}

/// Lets this thread take `steps` steps of some work, and stop before the next. Returns the result
/// of the work, if the work came to its end.
pub fn dies_after<T>(steps: u32, work: impl FnOnce() -> T) -> Option<T> {
    LEFT.with(|left| left.set(steps + 1));
    let done = catch_unwind(AssertUnwindSafe(work));
    LEFT.with(|left| left.set(0));
    match done {
        Ok(value) => Some(value),
        Err(cause) if cause.is::<Died>() => None,
        Err(cause) => resume_unwind(cause),
    }
}

/// Runs a model with a death before the first step of some work, the second, and
/// so on, until no run of it says that somebody died.
pub fn at_each_step(
    preemptions: usize,
    model: impl Fn(u32) -> bool + Copy + Send + Sync + 'static,
) {
    for steps in 0.. {
        let deaths = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&deaths);
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.check(move || {
            if model(steps) {
                seen.store(true, Ordering::Relaxed);
            }
        });
        if !deaths.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Lets the model run another thread.
pub fn relax() {
    loom::thread::yield_now();
}
