//! Queues, pipes and shared memory as the Rust face promises them.

mod watchdog;

use std::time::Duration;

use procession::{
    Barrier, Condition, Error, Event, JoinableQueue, Lock, Pipe, Process, Queue, RLock, Semaphore,
    Shared, SharedArray, pipe, wait,
};
use serde::{Deserialize, Serialize};
use watchdog::watch;

/// Long enough for a slow machine, short enough for a watchdog.
const SOON: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    number: u64,
    text: String,
    bytes: Vec<u8>,
}

fn item(number: u64, size: usize) -> Item {
    Item {
        number,
        text: format!("item {number}"),
        bytes: vec![number as u8; size],
    }
}

#[procession::test]
fn items_of_all_sizes_keep_their_order() {
    let _watchdog = watch();
    let queue = Queue::new().unwrap();
    let child = Process::new(|queue: Queue<Item>| {
        for (number, size) in (0..).zip([0, 10, 1000, 2000, 100_000, 3_000_000]) {
            queue.put(item(number, size)).unwrap();
        }
    });
    let child = child.args(queue.clone()).start().unwrap();
    for (number, size) in (0..).zip([0, 10, 1000, 2000, 100_000, 3_000_000]) {
        assert!(queue.get_timeout(SOON).unwrap() == item(number, size));
    }
    child.join().unwrap();
}

#[procession::test]
fn what_was_put_outlives_the_process_that_put_it() {
    let _watchdog = watch();
    let queue = Queue::new().unwrap();
    let child = Process::new(|queue: Queue<Item>| {
        queue.put_many((0..1000).map(|n| item(n, 500))).unwrap();
    });
    child.args(queue.clone()).start().unwrap().join().unwrap();
    assert_eq!(queue.len(), 1000);
    let mut got = Vec::new();
    while got.len() < 1000 {
        got.extend(queue.get_many(64).unwrap());
    }
    assert!(got.into_iter().eq((0..1000).map(|n| item(n, 500))));
}

#[procession::test]
fn a_bounded_queue_counts_exactly_and_gives_refused_values_back() {
    let _watchdog = watch();
    let queue = Queue::bounded(2).unwrap();
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    assert!(queue.is_full() && queue.len() == 2);
    let refused = queue.try_put(3).unwrap_err();
    assert!(refused.value == 3 && refused.error.is_full());
    let refused = queue.put_timeout(4, Duration::from_millis(1)).unwrap_err();
    assert!(
        refused.value == 4 && refused.error.is_timeout(),
        "{refused}"
    );
    assert_eq!(queue.get().unwrap(), 1);
    queue.put(5).unwrap();
    assert_eq!((queue.get().unwrap(), queue.get().unwrap()), (2, 5));
    assert!(queue.try_get().unwrap_err().is_empty());
    let late = queue.get_timeout(Duration::from_millis(1)).unwrap_err();
    assert!(late.is_timeout());
    assert!(Queue::<u8>::bounded(0).unwrap_err().is_invalid());
}

#[procession::test]
fn a_closed_queue_is_emptied_and_then_ends() {
    let _watchdog = watch();
    let queue = Queue::new().unwrap();
    queue.put(1).unwrap();
    queue.close().unwrap();
    assert!(queue.put(2).unwrap_err().error.is_closed());
    let rest: Vec<i32> = queue.iter().collect::<Result<_, Error>>().unwrap();
    assert_eq!(rest, [1]);
    assert!(queue.get().unwrap_err().is_closed());
}

#[procession::test]
fn what_a_queue_had_is_gone_when_it_is_closed_at_once() {
    let _watchdog = watch();
    let queue = Queue::new().unwrap();
    let child = Process::new(|queue: Queue<Item>| queue.iter().map(Result::unwrap).count());
    let child = child.args(queue.clone()).start().unwrap();
    queue.put_many((0..1000).map(|n| item(n, 500))).unwrap();
    queue.close_now().unwrap();
    assert!(queue.is_empty());
    assert!(queue.get().unwrap_err().is_closed());
    assert!(child.join().unwrap() <= 1000);
}

#[procession::test]
fn many_values_are_waited_for_as_one_is() {
    let _watchdog = watch();
    let queue = Queue::new().unwrap();
    assert!(queue.try_get_many(2).unwrap_err().is_empty());
    let moment = Duration::from_millis(1);
    assert!(queue.get_many_timeout(2, moment).unwrap_err().is_timeout());
    queue.put_many([1, 2, 3]).unwrap();
    assert_eq!(queue.try_get_many(2).unwrap(), [1, 2]);
    assert_eq!(queue.get_many_timeout(2, SOON).unwrap(), [3]);
}

#[procession::test]
fn what_of_many_values_has_no_room_in_time_comes_back() {
    let _watchdog = watch();
    let moment = Duration::from_millis(5);
    let queue = Queue::bounded(100).unwrap();
    let mut numbers = 0..1000;
    let refused = queue.put_many_timeout(&mut numbers, moment).unwrap_err();
    assert!(refused.error.is_timeout());
    let back = refused.value;
    assert_eq!(back.first(), Some(&100));
    // Nothing is lost: what comes back, and what the iterator has.
    let all = (0..100).chain(back).chain(numbers);
    assert!(all.eq(0..1000));
    assert!(queue.get_many(1000).unwrap().into_iter().eq(0..100));
    queue.put_many_timeout(0..100, SOON).unwrap();
    assert_eq!(queue.len(), 100);

    // Values with handles go one by one.
    let events = Queue::bounded(2).unwrap();
    let three: Vec<_> = (0..3).map(|_| Event::new().unwrap()).collect();
    let refused = events.put_many_timeout(three.clone(), moment).unwrap_err();
    assert_eq!(refused.value.len(), 1);
    refused.value[0].set();
    assert!(three[2].is_set() && !three[1].is_set());

    queue.close().unwrap();
    let refused = queue.put_many_timeout([1, 2], moment).unwrap_err();
    assert!(refused.error.is_closed() && refused.value == [1, 2]);
}

fn do_tasks(tasks: JoinableQueue<Item>, done: Queue<u64>) {
    for task in &tasks {
        done.put(task.unwrap().number).unwrap();
        tasks.task_done().unwrap();
    }
}

#[procession::test]
fn who_joins_a_queue_waits_until_all_of_it_is_done() {
    let _watchdog = watch();
    let (tasks, done) = (JoinableQueue::bounded(10).unwrap(), Queue::new().unwrap());
    let children = [(); 2].map(|()| {
        let process = Process::new(do_tasks).args((tasks.clone(), done.clone()));
        process.start().unwrap()
    });
    tasks.put_many((0..100).map(|n| item(n, 500))).unwrap();
    tasks.join().unwrap();
    assert_eq!((tasks.unfinished(), done.len()), (0, 100));
    let error = tasks.task_done().unwrap_err();
    assert!(error.is_invalid(), "{error}");
    assert!(error.to_string().contains("too many times"), "{error}");
    tasks.close().unwrap();
    for child in children {
        child.join().unwrap();
    }
}

#[procession::test]
fn what_was_thrown_away_has_not_to_be_done() {
    let _watchdog = watch();
    let tasks = JoinableQueue::new().unwrap();
    tasks.put_many([1, 2, 3]).unwrap();
    assert_eq!(tasks.get().unwrap(), 1);
    let joiner = Process::new(|tasks: JoinableQueue<u32>| tasks.join().unwrap());
    let joiner = joiner.args(tasks.clone()).start().unwrap();
    tasks.close_now().unwrap();
    let late = tasks.join_timeout(Duration::from_millis(1)).unwrap_err();
    assert!(late.is_timeout(), "{late}");
    tasks.task_done().unwrap();
    joiner.join().unwrap();
}

#[procession::test]
fn an_array_of_another_type_is_refused() {
    let _watchdog = watch();
    let queue = Queue::<SharedArray<u64>>::new().unwrap();
    queue.put(SharedArray::zeroed(4).unwrap()).unwrap();
    // Reads the same queue as one of another type, as a wrong program would.
    let bytes = postcard::to_stdvec(&queue).unwrap();
    let wrong: Queue<SharedArray<u16>> = postcard::from_bytes(&bytes).unwrap();
    let error = wrong.get().unwrap_err();
    assert!(error.is_invalid(), "{error}");
    assert!(error.to_string().contains("items of 8 bytes"), "{error}");
}

#[procession::test]
fn handles_travel_inside_messages() {
    let _watchdog = watch();
    let (requests, answer) = (Queue::<Queue<u32>>::new().unwrap(), Queue::new().unwrap());
    let child = Process::new(|requests: Queue<Queue<u32>>| {
        requests.get().unwrap().put(7).unwrap();
    });
    let child = child.args(requests.clone()).start().unwrap();
    requests.put(answer.clone()).unwrap();
    assert_eq!(answer.get_timeout(SOON).unwrap(), 7);
    child.join().unwrap();
}

fn echo(end: Pipe<String, String>) {
    while let Ok(text) = end.recv() {
        end.send(text.to_uppercase()).unwrap();
    }
}

#[procession::test]
fn a_pipe_carries_both_ways_until_an_end_is_dropped() {
    let _watchdog = watch();
    let (ours, theirs) = pipe::<String, String>().unwrap();
    let child = Process::new(echo).args(theirs).start().unwrap();
    for word in ["one", "two"] {
        ours.send(word.to_owned()).unwrap();
        assert_eq!(ours.recv_timeout(SOON).unwrap(), word.to_uppercase());
    }
    drop(ours);
    child.join().unwrap();
}

#[procession::test]
fn a_killed_holder_closes_its_end_of_the_pipe() {
    let _watchdog = watch();
    let (ours, theirs) = pipe::<(), u32>().unwrap();
    let child = Process::new(|end: Pipe<u32, ()>| {
        end.send(1).unwrap();
        Event::new().unwrap().wait().unwrap();
    });
    let child = child.args(theirs).start().unwrap();
    assert_eq!(ours.recv_timeout(SOON).unwrap(), 1);
    child.kill().unwrap();
    let error = ours.recv_timeout(SOON).unwrap_err();
    assert!(error.is_closed(), "{error}");
    assert!(ours.send(()).unwrap_err().is_closed());
}

#[procession::test]
fn wait_tells_which_of_several_is_ready() {
    let _watchdog = watch();
    let queue = Queue::<u8>::new().unwrap();
    let (ours, theirs) = pipe::<u8, u8>().unwrap();
    let go = Event::new().unwrap();
    let child = Process::new(|go: Event| go.wait().unwrap());
    let child = child.args(go.clone()).start().unwrap();
    let event = Event::new().unwrap();
    let things: [&dyn procession::Waitable; 4] = [&queue, &ours, &child, &event];
    assert_eq!(wait(&things, Some(Duration::ZERO)).unwrap(), []);
    queue.put(1).unwrap();
    assert_eq!(wait(&things, Some(SOON)).unwrap(), [0]);
    theirs.send(2).unwrap();
    assert_eq!(wait(&things, Some(SOON)).unwrap(), [0, 1]);
    queue.get().unwrap();
    ours.recv().unwrap();
    event.set();
    assert_eq!(wait(&things, Some(SOON)).unwrap(), [3]);
    event.clear();
    assert_eq!(wait(&things, Some(Duration::ZERO)).unwrap(), []);
    go.set();
    assert_eq!(wait(&things, Some(SOON)).unwrap(), [2]);
}

#[procession::test]
fn a_semaphores_permits_come_back_from_the_dead() {
    let _watchdog = watch();
    let semaphore = Semaphore::bounded(2).unwrap();
    let ready = Event::new().unwrap();
    let child = Process::new(|semaphore: Semaphore, ready: Event| {
        semaphore.acquire().unwrap();
        semaphore.acquire().unwrap();
        ready.set();
        Event::new().unwrap().wait().unwrap();
    });
    let child = child
        .args((semaphore.clone(), ready.clone()))
        .start()
        .unwrap();
    assert!(ready.wait_timeout(SOON).unwrap());
    assert!(semaphore.try_permit().unwrap().is_none());
    child.kill().unwrap();
    assert!(semaphore.permit_timeout(SOON).unwrap().is_some());
    child.wait_timeout(SOON).unwrap();
    assert_eq!(semaphore.value(), 2);
    assert!(semaphore.release().unwrap_err().is_invalid());
}

#[procession::test]
fn a_condition_wakes_as_many_as_it_is_told_to() {
    let _watchdog = watch();
    let (lock, changed) = (Lock::new().unwrap(), Condition::new().unwrap());
    let (waiting, woken) = (Semaphore::new(0).unwrap(), Shared::new(0_u32).unwrap());
    let children: Vec<_> = (0..3)
        .map(|_| {
            let process = Process::new(
                |lock: Lock, changed: Condition, waiting: Semaphore, woken: Shared<u32>| {
                    let guard = lock.lock().unwrap();
                    waiting.release().unwrap();
                    let guard = changed.wait(guard).unwrap();
                    woken.update(|n| *n += 1).unwrap();
                    drop(guard);
                    waiting.release().unwrap();
                },
            );
            let arguments = (
                lock.clone(),
                changed.clone(),
                waiting.clone(),
                woken.clone(),
            );
            process.args(arguments).start().unwrap()
        })
        .collect();
    for _ in 0..3 {
        waiting.acquire().unwrap();
    }
    let guard = lock.lock().unwrap();
    assert_eq!(changed.notify(2).unwrap(), 2);
    drop(guard);
    waiting.acquire().unwrap();
    waiting.acquire().unwrap();
    assert_eq!(woken.get().unwrap(), 2);
    let guard = lock.lock().unwrap();
    assert_eq!(changed.notify(5).unwrap(), 1);
    drop(guard);
    for child in children {
        child.join().unwrap();
    }
    assert_eq!(woken.get().unwrap(), 3);
}

#[procession::test]
fn a_condition_frees_a_reentrant_lock_that_is_held_twice() {
    let _watchdog = watch();
    let (lock, changed) = (RLock::new().unwrap(), Condition::new().unwrap());
    let told = Shared::new(0_u8).unwrap();
    let outer = lock.lock().unwrap();
    let inner = lock.lock().unwrap();
    let process = Process::new(|lock: RLock, changed: Condition, told: Shared<u8>| {
        let _guard = lock.lock().unwrap();
        told.set(1).unwrap();
        changed.notify_one().unwrap();
    });
    let arguments = (lock.clone(), changed.clone(), told.clone());
    let child = process.args(arguments).start().unwrap();
    let inner = changed
        .wait_while(inner, || told.get().unwrap() == 0)
        .unwrap();
    drop(inner);
    assert!(lock.is_locked());
    drop(outer);
    assert!(!lock.is_locked());
    child.join().unwrap();
}

#[procession::test]
fn a_condition_that_nobody_notifies_times_out_and_holds_the_lock_again() {
    let _watchdog = watch();
    let (lock, changed) = (Lock::new().unwrap(), Condition::new().unwrap());
    let guard = lock.lock().unwrap();
    let (guard, notified) = changed
        .wait_timeout(guard, Duration::from_millis(1))
        .unwrap();
    assert!(!notified && lock.is_locked());
    drop(guard);
}

/// One of each, as an argument or in a message.
#[derive(Serialize, Deserialize)]
struct Everything {
    lock: Lock,
    rlock: RLock,
    semaphore: Semaphore,
    condition: Condition,
    event: Event,
    barrier: Barrier,
    queue: Queue<String>,
    pipe: Pipe<u8, u8>,
    value: Shared<u32>,
    array: SharedArray<i16>,
}

impl Everything {
    fn new(pipe: Pipe<u8, u8>) -> Self {
        Self {
            lock: Lock::new().unwrap(),
            rlock: RLock::new().unwrap(),
            semaphore: Semaphore::new(0).unwrap(),
            condition: Condition::new().unwrap(),
            event: Event::new().unwrap(),
            barrier: Barrier::new(2).unwrap(),
            queue: Queue::new().unwrap(),
            pipe,
            value: Shared::new(0).unwrap(),
            array: SharedArray::zeroed(3).unwrap(),
        }
    }

    fn use_all(&self) {
        self.lock.acquire().unwrap();
        self.rlock.acquire().unwrap();
        self.semaphore.release().unwrap();
        self.condition.notify_all().unwrap();
        self.event.set();
        self.queue.put("used".into()).unwrap();
        self.pipe.send(7).unwrap();
        self.value.set(8).unwrap();
        self.array.lock().unwrap()[2] = 9;
        self.lock.release().unwrap();
        self.rlock.release().unwrap();
        self.barrier.wait().unwrap();
    }

    fn must_be_used(&self, ours: &Pipe<u8, u8>) {
        self.barrier.wait_timeout(SOON).unwrap();
        assert!(!self.lock.is_locked() && !self.rlock.is_locked());
        assert_eq!(self.semaphore.value(), 1);
        assert!(self.event.is_set());
        assert_eq!(self.queue.get().unwrap(), "used");
        assert_eq!(ours.recv().unwrap(), 7);
        assert_eq!(self.value.get().unwrap(), 8);
        assert_eq!(self.array.to_vec().unwrap(), [0, 0, 9]);
    }
}

#[procession::test]
fn every_handle_crosses_as_an_argument_and_in_a_message() {
    let _watchdog = watch();
    let (ours, theirs) = pipe().unwrap();
    let argument = Everything::new(theirs.clone());
    let message = Everything::new(theirs);
    let messages = Queue::<Everything>::new().unwrap();
    let process = Process::new(|argument: Everything, messages: Queue<Everything>| {
        argument.use_all();
        messages.get().unwrap().use_all();
    });
    // Handles are cloned by sending them, too: through a queue to ourselves.
    messages.put(argument).unwrap();
    let bytes = postcard::to_stdvec(&messages.get().unwrap()).unwrap();
    let argument: Everything = postcard::from_bytes(&bytes).unwrap();
    let again: Everything = postcard::from_bytes(&postcard::to_stdvec(&argument).unwrap()).unwrap();
    let child = process.args((argument, messages.clone())).start().unwrap();
    again.must_be_used(&ours);
    let again: Everything = postcard::from_bytes(&postcard::to_stdvec(&message).unwrap()).unwrap();
    messages.put(message).unwrap();
    again.must_be_used(&ours);
    child.join().unwrap();
}

#[procession::test]
fn a_barrier_lets_nobody_through_before_everybody_is_there() {
    let _watchdog = watch();
    let barrier = Barrier::new(3).unwrap();
    let children: Vec<_> = (0..2)
        .map(|_| {
            let process = Process::new(|barrier: Barrier| barrier.wait().unwrap().index());
            process.args(barrier.clone()).start().unwrap()
        })
        .collect();
    let mut places = vec![barrier.wait_timeout(SOON).unwrap().index()];
    for child in children {
        places.push(child.join().unwrap());
    }
    places.sort_unstable();
    assert_eq!(places, [0, 1, 2]);
    assert!(
        barrier
            .wait_timeout(Duration::from_millis(1))
            .unwrap_err()
            .is_broken()
    );
    assert!(barrier.is_broken());
    barrier.reset().unwrap();
    assert!(!barrier.is_broken());
    assert!(Barrier::new(0).unwrap_err().is_invalid());
}

#[procession::test]
fn a_reentrant_lock_is_its_threads_alone() {
    let _watchdog = watch();
    let lock = RLock::new().unwrap();
    let outer = lock.lock().unwrap();
    let inner = lock.lock().unwrap();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| lock.release().unwrap_err().is_not_owner());
        assert!(other.join().unwrap());
    });
    drop(inner);
    assert!(lock.is_locked());
    drop(outer);
    assert!(!lock.is_locked());
}
