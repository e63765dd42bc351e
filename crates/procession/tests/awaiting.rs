//! What tasks of an executor await: on tokio, and without it.

mod watchdog;

use std::future::{Future, IntoFuture, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_lite::future::block_on;
use futures_lite::{FutureExt as _, StreamExt as _};
use procession::{
    Barrier, Child, Condition, Event, JoinableQueue, Lock, Pipe, Pool, Process, Queue, Result,
    Semaphore, Shared, pipe,
};
use watchdog::watch;

/// Polls a future once; tells whether it is ready.
async fn is_ready(future: &mut (impl Future + Unpin)) -> bool {
    poll_fn(|context| Poll::Ready(future.poll(context).is_ready())).await
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Runs a test on a runtime of tokio that has two threads.
fn on_tokio<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(test)
}

#[procession::test]
fn results_are_awaited_with_any_executor() {
    let _watchdog = watch();
    let pool = Arc::new(Pool::new(2).unwrap());
    let both = || {
        let pool = Arc::clone(&pool);
        async move {
            let single = pool.apply_async(|a: u64, b: u64| a * b, (6, 7))?.await?;
            let many = pool.map_async(|n: u64| n * n, 0..100)?.await?;
            Ok::<_, procession::Error>((single, many.iter().sum::<u64>()))
        }
    };
    assert_eq!(block_on(both()).unwrap(), (42, 328_350));
    let spawned = on_tokio(async { tokio::spawn(both()).await.unwrap() });
    assert_eq!(spawned.unwrap(), (42, 328_350));
}

#[procession::test]
fn ten_thousand_results_are_awaited_without_a_thread_each() {
    let _watchdog = watch();
    let pool = Pool::new(2).unwrap();
    let go = Event::new().unwrap();
    let held = |go: Event, n: u64| go.wait().map(|()| n).unwrap_or_default();
    on_tokio(async {
        let before = threads();
        let requests: Vec<_> = (0..10_000_u64)
            .map(|n| pool.apply_async(held, (go.clone(), n)).unwrap())
            .map(|result| tokio::spawn(result.into_future()))
            .collect();
        tokio::task::yield_now().await;
        // One that collects results, and those of tests that run beside this one.
        assert!(threads() < before + 200, "{before} and then {}", threads());
        go.set();
        let mut sum = 0;
        for request in requests {
            sum += request.await.unwrap().unwrap();
        }
        assert_eq!(sum, 49_995_000);
    });
}

#[procession::test]
fn panics_and_deaths_are_awaited_too() {
    let _watchdog = watch();
    let pool = Pool::new(1).unwrap();
    block_on(async {
        let panics = pool.apply_async(|| -> u8 { panic!("no") }, ()).unwrap();
        assert!(panics.await.unwrap_err().is_panic());
        let dies = pool.apply_async(|| -> u8 { std::process::abort() }, ());
        assert!(dies.unwrap().await.unwrap_err().is_died());
        let stuck = pool.apply_async(|never: Event| never.wait().is_ok(), Event::new().unwrap());
        let mut stuck = stuck.unwrap().into_future();
        assert!(!is_ready(&mut stuck).await);
        pool.terminate();
        assert!(stuck.await.unwrap_err().is_closed());
    });
}

#[procession::test]
fn dropped_future_cancels_what_has_not_begun() {
    let _watchdog = watch();
    let pool = Pool::new(1).unwrap();
    let (begun, go, ran) = (
        Event::new().unwrap(),
        Event::new().unwrap(),
        Queue::new().unwrap(),
    );
    let hold = |begun: Event, go: Event| {
        begun.set();
        go.wait().is_ok()
    };
    let first = pool.apply_async(hold, (begun.clone(), go.clone())).unwrap();
    begun.wait().unwrap();
    let note = |ran: Queue<u8>, n: u8| ran.put(n).is_ok();
    block_on(async {
        let mut second = pool
            .apply_async(note, (ran.clone(), 2))
            .unwrap()
            .into_future();
        let third = pool.apply_async(note, (ran.clone(), 3)).unwrap();
        let mut running = first.into_future();
        assert!(!is_ready(&mut second).await && !is_ready(&mut running).await);
        drop(second);
        drop(running);
        go.set();
        assert!(third.await.unwrap());
    });
    assert_eq!(ran.try_get_many(10).unwrap(), [3]);
    // The one that ran was left to its end, in the same worker.
    assert_eq!(pool.workers()[0].tasks_done, 2);
}

#[procession::test]
fn deadline_can_kill_what_runs() {
    let _watchdog = watch();
    let pool = Pool::new(1).unwrap();
    let pid = pool.workers()[0].pid;
    on_tokio(async {
        let stuck = pool.apply_async(|never: Event| never.wait().is_ok(), Event::new().unwrap());
        let stuck = stuck.unwrap().into_future().kill_on_drop();
        let late = tokio::time::timeout(Duration::from_millis(50), stuck).await;
        assert!(late.is_err());
        let next = pool
            .apply_async(std::process::id, ())
            .unwrap()
            .await
            .unwrap();
        assert_ne!(next, pid);
    });
}

#[procession::test]
fn imap_is_a_bounded_stream() {
    let _watchdog = watch();
    let pool = Pool::new(2).unwrap();
    for chunk in [1, 50] {
        let calls = pool.chunk_size(chunk);
        let mut squares = calls.imap(|n: u64| n * n, 0..20_000).into_stream();
        let sum =
            block_on(squares.try_fold(0, |sum, square| Ok::<u64, procession::Error>(sum + square)));
        assert_eq!(sum.unwrap(), (0..20_000).map(|n| n * n).sum::<u64>());
        let mut unordered: Vec<u64> = block_on(
            calls
                .imap_unordered(|n: u64| n, 0..1000)
                .into_stream()
                .map(Result::unwrap)
                .collect(),
        );
        unordered.sort_unstable();
        assert!(unordered.into_iter().eq(0..1000));
    }
    let (mut asked, go) = (0, Event::new().unwrap());
    let inputs = std::iter::repeat_with(|| {
        asked += 1;
        go.clone()
    });
    let mut endless = pool
        .imap(|go: Event| go.wait().is_ok(), inputs)
        .into_stream();
    block_on(async {
        let mut next = endless.next();
        assert!(!is_ready(&mut next).await);
        go.set();
        assert!(next.await.unwrap().unwrap());
    });
    drop(endless);
    assert!(asked <= 10_000, "{asked}");
}

fn echo(requests: Queue<u64>, replies: Queue<u64>) {
    for request in &requests {
        replies.put(request.unwrap() + 1).unwrap();
    }
}

fn start_echo() -> Result<(Queue<u64>, Queue<u64>, Child<()>)> {
    let (requests, replies) = (Queue::bounded(4)?, Queue::bounded(4)?);
    let child = Process::new(echo)
        .args((requests.clone(), replies.clone()))
        .start()?;
    Ok((requests, replies, child))
}

/// Sends more through a child than either queue holds, from a task of its own.
async fn through_echo(count: u64) {
    let (requests, replies, child) = start_echo().unwrap();
    let put = async {
        for n in 0..count {
            requests.put_async(n).await.unwrap();
        }
        requests.close().unwrap();
    };
    let get = async {
        for n in 0..count {
            assert_eq!(replies.get_async().await.unwrap(), n + 1);
        }
    };
    futures_lite::future::zip(put, get).await;
    child.await.unwrap();
}

#[procession::test]
fn queues_are_awaited_with_any_executor() {
    let _watchdog = watch();
    block_on(through_echo(1000));
    on_tokio(async { tokio::spawn(through_echo(1000)).await.unwrap() });
}

#[procession::test]
fn many_tasks_await_one_queue_by_one_descriptor() {
    let _watchdog = watch();
    let (requests, replies, child) = start_echo().unwrap();
    on_tokio(async {
        let getters: Vec<_> = (0..1000)
            .map(|_| replies.clone())
            .map(|replies| tokio::spawn(async move { replies.get_async().await.unwrap() }))
            .collect();
        tokio::task::yield_now().await;
        let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
        assert!(descriptors < 200, "{descriptors}");
        for n in 0..1000 {
            requests.put_async(n).await.unwrap();
        }
        let mut got = Vec::new();
        for getter in getters {
            got.push(getter.await.unwrap());
        }
        got.sort_unstable();
        assert!(got.into_iter().eq(1..=1000));
        requests.close().unwrap();
        child.await.unwrap();
    });
}

#[procession::test]
fn dropped_get_takes_nothing() {
    let _watchdog = watch();
    let queue = Queue::new().unwrap();
    block_on(async {
        let mut get = Box::pin(queue.get_async());
        assert!(!is_ready(&mut get).await);
        drop(get);
        queue.put(7).unwrap();
        assert_eq!(queue.get_async().await.unwrap(), 7);
        queue.close().unwrap();
        assert!(queue.get_async().await.unwrap_err().is_closed());
        let refused = queue.put_async(8).await.unwrap_err();
        assert!(refused.error.is_closed() && refused.value == 8);
    });
}

#[procession::test]
fn pipe_is_awaited_until_its_other_end_is_gone() {
    let _watchdog = watch();
    let (ours, theirs) = pipe::<u64, u64>().unwrap();
    let child = Process::new(|end: Pipe<u64, u64>, go: Event| -> u8 {
        end.send(1).unwrap();
        go.wait().unwrap();
        std::process::abort();
    });
    let go = Event::new().unwrap();
    let child = child.args((theirs, go.clone())).start().unwrap();
    block_on(async {
        assert_eq!(ours.recv_async().await.unwrap(), 1);
        let mut end = pin!(ours.recv_async());
        assert!(!is_ready(&mut end).await);
        go.set();
        assert!(end.await.unwrap_err().is_closed());
        assert!(child.await.unwrap_err().is_signal());
    });
}

#[procession::test]
fn first_of_several_is_awaited() {
    let _watchdog = watch();
    let queue = Queue::<u8>::new().unwrap();
    let go = Event::new().unwrap();
    let child = Process::new(|go: Event| go.wait().is_ok())
        .args(go.clone())
        .start()
        .unwrap();
    block_on(async {
        let got = async { queue.get_async().await.map(i32::from) };
        let ended = child.wait_async();
        let mut first = pin!(got.or(ended));
        assert!(!is_ready(&mut first).await);
        go.set();
        assert_eq!(first.await.unwrap(), 0);
    });
}

/// Takes a lock, and dies with it when it is told to.
fn holds(lock: Lock, held: Event, go: Event, dies: bool) {
    let _guard = lock.lock().unwrap();
    held.set();
    go.wait().unwrap();
    if dies {
        std::process::abort();
    }
}

#[procession::test]
fn lock_is_awaited_with_any_executor_and_its_dead_holder_is_told() {
    let _watchdog = watch();
    for dies in [false, true] {
        let (lock, held, go) = (
            Lock::new().unwrap(),
            Event::new().unwrap(),
            Event::new().unwrap(),
        );
        let arguments = (lock.clone(), held.clone(), go.clone(), dies);
        let child = Process::new(holds).args(arguments).start().unwrap();
        let waits = async {
            held.wait_async().await.unwrap();
            {
                // One that gives up takes nothing.
                let mut lost = pin!(lock.lock_async());
                assert!(!is_ready(&mut lost).await);
            }
            let mut got = pin!(lock.lock_async());
            assert!(!is_ready(&mut got).await);
            go.set();
            match got.await {
                Ok(guard) => {
                    assert!(!dies && lock.is_locked());
                    drop(guard);
                }
                Err(error) => assert!(dies && error.is_owner_died(), "{error}"),
            }
            assert!(lock.lock_async().await.is_ok());
        };
        match dies {
            true => on_tokio(waits),
            false => block_on(waits),
        }
        assert_eq!(child.join().is_err(), dies);
    }
}

#[procession::test]
fn tasks_of_one_process_exclude_one_another() {
    let _watchdog = watch();
    let (lock, inside) = (Lock::new().unwrap(), Arc::new(Shared::new(0_u32).unwrap()));
    on_tokio(async {
        let tasks: Vec<_> = (0..100)
            .map(|_| (lock.clone(), Arc::clone(&inside)))
            .map(|(lock, inside)| {
                tokio::spawn(async move {
                    let _guard = lock.lock_async().await.unwrap();
                    let before = inside.get().unwrap();
                    tokio::task::yield_now().await;
                    inside.set(before + 1).unwrap();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(inside.get().unwrap(), 100);
}

#[procession::test]
fn futures_may_change_threads() {
    fn may_change_threads(_: impl Future + Send) {}
    let tasks = JoinableQueue::<u8>::new().unwrap();
    let (lock, changed) = (Lock::new().unwrap(), Condition::new().unwrap());
    may_change_threads(lock.lock_async());
    may_change_threads(changed.wait_async(lock.lock().unwrap()));
    may_change_threads(Semaphore::new(1).unwrap().permit_async());
    may_change_threads(Event::new().unwrap().wait_async());
    may_change_threads(Barrier::new(1).unwrap().wait_async());
    may_change_threads(tasks.join_async());
}

#[procession::test]
fn permits_are_awaited_and_come_back_from_the_dead() {
    let _watchdog = watch();
    let semaphore = Semaphore::new(1).unwrap();
    let (held, go) = (Event::new().unwrap(), Event::new().unwrap());
    let dies = |semaphore: Semaphore, held: Event, go: Event| -> u8 {
        let _permit = semaphore.permit().unwrap();
        held.set();
        go.wait().unwrap();
        std::process::abort()
    };
    let arguments = (semaphore.clone(), held.clone(), go.clone());
    let child = Process::new(dies).args(arguments).start().unwrap();
    on_tokio(async {
        held.wait_async().await.unwrap();
        {
            let mut lost = pin!(semaphore.permit_async());
            assert!(!is_ready(&mut lost).await);
        }
        let mut permit = pin!(semaphore.permit_async());
        assert!(!is_ready(&mut permit).await);
        go.set();
        let permit = permit.await.unwrap();
        let mut second = pin!(semaphore.permit_async());
        assert!(!is_ready(&mut second).await);
        drop(permit);
        drop(second.await.unwrap());
        assert!(child.await.unwrap_err().is_signal());
    });
    assert_eq!(semaphore.value(), 1);
}

#[procession::test]
fn event_that_is_set_and_cleared_at_once_was_set() {
    let _watchdog = watch();
    let event = Event::new().unwrap();
    block_on(async {
        let mut set = pin!(event.wait_async());
        assert!(!is_ready(&mut set).await);
        event.set();
        event.clear();
        set.await.unwrap();
        let mut unset = pin!(event.wait_async());
        assert!(!is_ready(&mut unset).await);
    });
}

#[procession::test]
fn condition_is_awaited_and_who_gives_up_takes_no_notification() {
    let _watchdog = watch();
    let (lock, changed) = (Lock::new().unwrap(), Condition::new().unwrap());
    block_on(async {
        let guard = lock.lock_async().await.unwrap();
        let mut lost = Box::pin(changed.wait_async(guard));
        assert!(!is_ready(&mut lost).await);
        let guard = lock.lock_async().await.unwrap();
        let mut waits = pin!(changed.wait_async(guard));
        assert!(!is_ready(&mut waits).await);
        drop(lost);
        let tell = |lock: Lock, changed: Condition| {
            let _guard = lock.lock().unwrap();
            changed.notify(1).unwrap()
        };
        let child = Process::new(tell).args((lock.clone(), changed.clone()));
        assert_eq!(child.start().unwrap().await.unwrap(), 1);
        let guard = waits.await.unwrap();
        assert!(lock.is_locked());
        drop(guard);
        let ready = Shared::new(1_u8).unwrap();
        let guard = lock.lock_async().await.unwrap();
        let guard = changed.wait_while_async(guard, || ready.get().unwrap() == 0);
        drop(guard.await.unwrap());
    });
    assert!(!lock.is_locked());
}

#[procession::test]
fn barrier_is_awaited_and_who_gives_up_has_not_come() {
    let _watchdog = watch();
    let barrier = Barrier::new(2).unwrap();
    on_tokio(async {
        {
            let mut lost = pin!(barrier.wait_async());
            assert!(!is_ready(&mut lost).await);
            assert_eq!(barrier.waiting(), 1);
        }
        assert_eq!(barrier.waiting(), 0);
        let child = Process::new(|barrier: Barrier| barrier.wait().map(|it| it.index()).unwrap());
        let child = child.args(barrier.clone()).start().unwrap();
        let own = barrier.wait_async().await.unwrap().index();
        assert_eq!(own + child.await.unwrap(), 1);
        let both = futures_lite::future::zip(barrier.wait_async(), barrier.wait_async()).await;
        assert_ne!(both.0.unwrap().is_last(), both.1.unwrap().is_last());
        let mut waits = pin!(barrier.wait_async());
        assert!(!is_ready(&mut waits).await);
        barrier.abort().unwrap();
        assert!(waits.await.unwrap_err().is_broken());
    });
}

#[procession::test]
fn tasks_of_a_queue_are_awaited_until_they_are_done() {
    let _watchdog = watch();
    let tasks = JoinableQueue::new().unwrap();
    tasks.put_many(0..100).unwrap();
    block_on(async {
        let mut done = pin!(tasks.join_async());
        assert!(!is_ready(&mut done).await);
        let work = |tasks: JoinableQueue<u32>| {
            for task in &tasks {
                task.unwrap();
                tasks.task_done().unwrap();
            }
        };
        let child = Process::new(work).args(tasks.clone()).start().unwrap();
        done.await.unwrap();
        assert_eq!(tasks.unfinished(), 0);
        tasks.close().unwrap();
        child.await.unwrap();
    });
}
