//! Processes that are killed in the middle of things: those that are left get
//! an error or a clean end, and nobody is left behind.

mod watchdog;

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use procession::{
    Barrier, Child, Condition, Event, JoinableQueue, Lock, Pool, Process, Queue, RLock, Semaphore,
    Shared, SharedArray, StartMethod, Waitable, wait,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use watchdog::watch;

/// Long enough for a slow machine, short enough for a watchdog.
const SOON: Duration = Duration::from_secs(60);

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

fn for_ever() {
    Event::new().unwrap().wait().unwrap();
}

/// Kills a child when it has said that it is ready.
fn kill_when_ready<R>(child: &Child<R>, ready: &Event) {
    assert!(ready.wait_timeout(SOON).unwrap());
    child.kill().unwrap();
}

#[derive(Clone, Serialize, Deserialize)]
struct Locks {
    lock: Lock,
    rlock: RLock,
    value: Shared<u64>,
    array: SharedArray<u32>,
    ready: Event,
}

fn hold_all(locks: Locks) {
    locks.lock.acquire().unwrap();
    locks.rlock.acquire().unwrap();
    locks.rlock.acquire().unwrap();
    let mut items = locks.array.lock().unwrap();
    items[0] = 1;
    let change = |value: &mut u64| {
        *value = 1;
        locks.ready.set();
        for_ever();
    };
    locks.value.update(change).unwrap();
}

#[procession::test]
fn locks_of_every_kind_tell_one_waiter_that_their_holder_died() {
    let _watchdog = watch();
    for method in METHODS {
        let locks = Locks {
            lock: Lock::new().unwrap(),
            rlock: RLock::new().unwrap(),
            value: Shared::new(0).unwrap(),
            array: SharedArray::zeroed(2).unwrap(),
            ready: Event::new().unwrap(),
        };
        let process = Process::new(hold_all).start_method(method);
        let child = process.args(locks.clone()).start().unwrap();
        assert!(locks.ready.wait_timeout(SOON).unwrap());
        assert!(locks.lock.try_lock().unwrap().is_none());
        assert!(locks.rlock.try_lock().unwrap().is_none());
        child.kill().unwrap();
        let errors = [
            locks.lock.lock().map(drop).unwrap_err(),
            locks.rlock.lock().map(drop).unwrap_err(),
            locks.value.get().map(drop).unwrap_err(),
            locks.array.lock().map(drop).unwrap_err(),
        ];
        for error in errors {
            assert!(error.is_owner_died(), "{error}");
            let pid = format!("(pid {})", child.pid());
            assert!(error.to_string().contains(&pid), "{error}");
        }
        drop(locks.lock.lock().unwrap());
        drop(locks.rlock.lock().unwrap());
        assert_eq!(locks.value.get().unwrap(), 1);
        assert_eq!(locks.array.to_vec().unwrap(), [1, 0]);
        assert_eq!(child.wait().unwrap(), -9);
    }
}

#[procession::test]
fn a_killed_writer_loses_the_item_it_was_putting_and_no_other() {
    let _watchdog = watch();
    for size in [10, 5_000] {
        let queue = Queue::<(u64, Vec<u8>)>::new().unwrap();
        let process = Process::new(|queue: Queue<(u64, Vec<u8>)>, size: usize| {
            for number in 0.. {
                queue.put((number, vec![number as u8; size])).unwrap();
            }
        });
        let child = process.args((queue.clone(), size)).start().unwrap();
        let mut expected = 0;
        for _ in 0..200 {
            must_be_next(queue.get_timeout(SOON).unwrap(), &mut expected, size);
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap(), -9);
        for _ in 0..queue.len() {
            must_be_next(queue.try_get().unwrap(), &mut expected, size);
        }
        assert!(queue.is_empty());
        queue.put((7, Vec::new())).unwrap();
        assert_eq!(queue.get().unwrap(), (7, Vec::new()));
    }
}

fn must_be_next((number, bytes): (u64, Vec<u8>), expected: &mut u64, size: usize) {
    assert_eq!(number, *expected);
    assert!(bytes == vec![number as u8; size]);
    *expected += 1;
}

#[procession::test]
fn a_killed_worker_leaves_no_more_undone_than_it_had_in_hand() {
    let _watchdog = watch();
    let tasks = JoinableQueue::new().unwrap();
    tasks.put_many(0..20_000).unwrap();
    let begun = Event::new().unwrap();
    let process = Process::new(|tasks: JoinableQueue<u32>, begun: Event| {
        for number in &tasks {
            tasks.task_done().unwrap();
            if number.unwrap() == 100 {
                begun.set();
            }
        }
    });
    let child = process
        .args((tasks.clone(), begun.clone()))
        .start()
        .unwrap();
    begun.wait().unwrap();
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap(), -9);
    while tasks.try_get().is_ok() {
        tasks.task_done().unwrap();
    }
    let in_hand = tasks.unfinished();
    assert!(in_hand <= 1, "{in_hand}");
    if in_hand == 1 {
        assert!(tasks.join_timeout(Duration::ZERO).unwrap_err().is_timeout());
        tasks.task_done().unwrap();
    }
    tasks.join().unwrap();
    assert!(tasks.task_done().unwrap_err().is_invalid());
}

#[procession::test]
fn a_killed_reader_leaves_the_queue_to_others() {
    let _watchdog = watch();
    let queue = Queue::bounded(4).unwrap();
    let ready = Event::new().unwrap();
    let process = Process::new(|queue: Queue<u64>, ready: Event| {
        for number in 0.. {
            assert_eq!(queue.get().unwrap(), number);
            if number == 100 {
                ready.set();
            }
        }
    });
    let child = process
        .args((queue.clone(), ready.clone()))
        .start()
        .unwrap();
    for number in 0..=100 {
        queue.put_timeout(number, SOON).unwrap();
    }
    kill_when_ready(&child, &ready);
    child.wait().unwrap();
    for number in 101..300 {
        queue.put_timeout(number, SOON).unwrap();
        assert_eq!(queue.get_timeout(SOON).unwrap(), number);
    }
}

#[procession::test]
fn a_killed_waiter_uses_up_no_notification() {
    let _watchdog = watch();
    let (lock, changed) = (Lock::new().unwrap(), Condition::new().unwrap());
    let (waiting, woken) = (Semaphore::new(0).unwrap(), Event::new().unwrap());
    let start = || {
        let process = Process::new(
            |lock: Lock, changed: Condition, waiting: Semaphore, woken: Event| {
                let guard = lock.lock().unwrap();
                waiting.release().unwrap();
                let guard = changed.wait(guard).unwrap();
                woken.set();
                drop(guard);
            },
        );
        let arguments = (
            lock.clone(),
            changed.clone(),
            waiting.clone(),
            woken.clone(),
        );
        let child = process.args(arguments).start().unwrap();
        waiting.acquire().unwrap();
        // Whoever has the lock after the child knows that the child waits.
        drop(lock.lock().unwrap());
        child
    };
    let (first, second) = (start(), start());
    first.kill().unwrap();
    first.wait().unwrap();
    let guard = lock.lock().unwrap();
    changed.notify_one().unwrap();
    drop(guard);
    assert!(woken.wait_timeout(SOON).unwrap());
    second.join().unwrap();
}

#[procession::test]
fn a_barrier_whose_party_was_killed_does_not_hang() {
    let _watchdog = watch();
    let barrier = Barrier::new(2).unwrap();
    let process = Process::new(|barrier: Barrier| drop(barrier.wait()));
    let child = process.args(barrier.clone()).start().unwrap();
    while barrier.waiting() == 0 {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Either it counts as having come, or the barrier is broken.
    if let Err(error) = barrier.wait_timeout(SOON) {
        assert!(error.is_broken(), "{error}");
    }
}

#[procession::test]
fn tasks_behind_a_killed_workers_task_run_elsewhere() {
    let _watchdog = watch();
    for method in METHODS {
        let pool = Pool::builder().workers(2).start_method(method);
        let pool = pool.start().unwrap();
        let pids = Queue::<u32>::new().unwrap();
        let stuck = |pids: Queue<u32>| {
            pids.put(std::process::id()).unwrap();
            for_ever();
        };
        let first = pool.apply_async(stuck, pids.clone()).unwrap();
        let victim = pids.get_timeout(SOON).unwrap();
        let doubled = pool.map_async(|n: u32| n * 2, 0..100).unwrap();
        rustix::process::kill_process(pid(victim), rustix::process::Signal::KILL).unwrap();
        let error = first.get_timeout(SOON).unwrap_err();
        assert_eq!((error.pid(), error.signal()), (Some(victim), Some(9)));
        assert!(error.to_string().contains("SIGKILL"), "{error}");
        let doubled = doubled.get_timeout(SOON).unwrap();
        assert!(doubled.into_iter().eq((0..100).map(|n| n * 2)));
        assert!(!pool.workers().iter().any(|worker| worker.pid == victim));
        assert_eq!(pool.workers().len(), 2);
    }
}

fn ends_by(signal: i32, moment: Queue<u64>) -> u8 {
    moment.put(now()).unwrap();
    match rustix::process::Signal::from_named_raw(signal) {
        Some(signal) => {
            let own = rustix::process::getpid();
            rustix::process::kill_process(own, signal).unwrap();
            for_ever();
        }
        None => std::process::exit(7),
    }
    0
}

/// Returns the time in nanoseconds, by the clock that all processes share.
fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap()
}

#[procession::test]
fn a_dead_worker_is_told_with_how_it_died_and_what_it_ran() {
    let _watchdog = watch();
    for method in METHODS {
        let pool = Pool::builder().workers(1).start_method(method);
        let pool = pool.start().unwrap();
        let moment = Queue::new().unwrap();
        for (signal, name) in [(9, "SIGKILL"), (11, "SIGSEGV"), (0, "code 7")] {
            let pid = pool.workers()[0].pid;
            let error = pool.apply(ends_by, (signal, moment.clone())).unwrap_err();
            assert!(error.is_died(), "{error}");
            assert_eq!(error.pid(), Some(pid));
            let (code, number) = match signal {
                0 => (7, None),
                signal => (-signal, Some(signal)),
            };
            assert_eq!((error.exit_code(), error.signal()), (Some(code), number));
            let text = error.to_string();
            assert!(text.contains(name) && text.contains("ends_by"), "{text}");
            assert_eq!(pool.apply(|n: u8| n, 3).unwrap(), 3);
        }
    }
}

#[procession::test]
fn who_waits_is_told_of_a_death_within_ten_milliseconds() {
    let _watchdog = watch();
    for method in METHODS {
        let pool = Pool::builder().workers(1).start_method(method);
        let pool = pool.start().unwrap();
        let moment = Queue::new().unwrap();
        // The watchdog ends it: others use this machine, too.
        while {
            pool.apply(ends_by, (9, moment.clone())).unwrap_err();
            now() - moment.get_timeout(SOON).unwrap() >= 10_000_000
        } {}
    }
}

fn works_for_ever(started: Queue<u32>) {
    started.put(1).unwrap();
    while !procession::current_process().stop_requested() {
        std::hint::spin_loop();
    }
}

#[procession::test]
fn a_pool_whose_workers_are_busy_is_terminated_within_50_milliseconds() {
    let _watchdog = watch();
    for method in METHODS {
        let delay = || {
            let pool = Pool::builder().workers(2).start_method(method);
            let pool = pool.start().unwrap();
            let started = Queue::<u32>::new().unwrap();
            for _ in 0..2 {
                pool.apply_async(works_for_ever, started.clone()).unwrap();
            }
            for _ in 0..2 {
                started.get_timeout(SOON).unwrap();
            }
            let before = std::time::Instant::now();
            pool.terminate();
            before.elapsed()
        };
        // As above.
        while delay() >= Duration::from_millis(50) {}
    }
}

/// Has a daemon and a pool, tells their pids, and waits to be killed.
fn parent_of_many(method: StartMethod, pids: Queue<u32>) {
    procession::set_start_method(method).unwrap();
    let daemon = Process::new(for_ever).daemon(true).start().unwrap();
    let pool = Pool::new(2).unwrap();
    let stuck = |pids: Queue<u32>| {
        pids.put(std::process::id()).unwrap();
        for_ever();
    };
    let busy = pool.apply_async(stuck, pids.clone()).unwrap();
    pids.put(daemon.pid()).unwrap();
    for worker in pool.workers() {
        pids.put(worker.pid).unwrap();
    }
    busy.get().unwrap();
}

#[procession::test]
fn daemons_and_workers_end_with_a_killed_parent() {
    let _watchdog = watch();
    for method in METHODS {
        let pids = Queue::new().unwrap();
        let process = Process::new(parent_of_many).start_method(method);
        let parent = process.args((method, pids.clone())).start().unwrap();
        let mut ends = Vec::new();
        for _ in 0..4 {
            let pid = pid(pids.get_timeout(SOON).unwrap());
            ends.push(pidfd_open(pid, PidfdFlags::empty()).unwrap());
        }
        parent.kill().unwrap();
        assert_eq!(parent.wait().unwrap(), -9);
        for end in &ends {
            must_end(end);
        }
    }
}

/// Starts a process that stays when this one ends, and dies.
fn dies_before_its_child(pids: Queue<u32>, go: Event, done: Event) {
    let process = Process::new(|pids: Queue<u32>, go: Event, done: Event| {
        pids.put(std::process::id()).unwrap();
        go.wait().unwrap();
        done.set();
    });
    process.args((pids, go, done)).start().unwrap();
    for_ever();
}

#[procession::test]
fn a_process_that_is_no_daemon_goes_on_without_its_parent() {
    let _watchdog = watch();
    for method in METHODS {
        procession::set_start_method(method).unwrap();
        let (pids, go, done) = (
            Queue::new().unwrap(),
            Event::new().unwrap(),
            Event::new().unwrap(),
        );
        let process = Process::new(dies_before_its_child).start_method(method);
        let arguments = (pids.clone(), go.clone(), done.clone());
        let parent = process.args(arguments).start().unwrap();
        let child = pid(pids.get_timeout(SOON).unwrap());
        let end = pidfd_open(child, PidfdFlags::empty()).unwrap();
        parent.kill().unwrap();
        parent.wait().unwrap();
        go.set();
        assert!(done.wait_timeout(SOON).unwrap());
        must_end(&end);
    }
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}

/// Waits for the end of a process that is somebody else's child.
fn must_end(pidfd: &OwnedFd) {
    let fd: BorrowedFd<'_> = pidfd.as_fd();
    let things: [&dyn Waitable; 1] = [&fd];
    assert_eq!(wait(&things, Some(SOON)).unwrap(), [0]);
}
