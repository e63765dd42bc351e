//! Pools whose tasks an engine carries: here to nodes in this process, which it can lose.

mod watchdog;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use procession::distributed::{
    Answer, Answers, Engine, Node, NodeInfo, RunningTasks, TaskEnvelope, unavailable,
};
use procession::{Event, Pool, Queue, Result};
use watchdog::watch;

/// How long anything may take that has to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine whose nodes are pools of this process.
#[derive(Clone, Default)]
struct Here(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Where answers go, and the node.
    open: Mutex<Option<(Answers, Arc<Node>)>>,
    /// Tasks that nobody runs, if there are to be any.
    held: Mutex<Option<HashMap<u64, TaskEnvelope>>>,
    shipped: AtomicUsize,
    closed: AtomicUsize,
}

impl Here {
    fn holding() -> Self {
        let here = Self::default();
        *here.0.held.lock().unwrap() = Some(HashMap::new());
        here
    }

    fn answers(&self) -> Answers {
        self.0.open.lock().unwrap().as_ref().unwrap().0.clone()
    }

    fn node(&self) -> Arc<Node> {
        Arc::clone(&self.0.open.lock().unwrap().as_ref().unwrap().1)
    }

    fn held(&self) -> Vec<TaskEnvelope> {
        let held = self.0.held.lock().unwrap();
        held.iter().flat_map(HashMap::values).cloned().collect()
    }
}

impl Engine for Here {
    fn open(&self, answers: Answers) -> Result<()> {
        let give = answers.clone();
        let node = Node::start(Pool::builder().workers(2), move |id, answer| {
            give.give(id, answer);
        })?;
        *self.0.open.lock().unwrap() = Some((answers, Arc::new(node)));
        Ok(())
    }

    fn ship(&self, task: TaskEnvelope) -> Result<()> {
        self.0.shipped.fetch_add(1, Ordering::Relaxed);
        if let Some(held) = &mut *self.0.held.lock().unwrap() {
            held.insert(task.id, task);
            return Ok(());
        }
        self.node().run(task.id, task)
    }

    fn cancel(&self, tasks: &[u64], running: RunningTasks) -> Result<()> {
        self.node().cancel(tasks, running).map(drop)
    }

    fn nodes(&self) -> Result<Vec<NodeInfo>> {
        Ok(vec![NodeInfo::of_this_program("here", 2)])
    }

    fn close(&self) {
        self.0.closed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Does not end by itself.
fn never() {
    loop {
        std::thread::park();
    }
}

fn square(number: u64) -> u64 {
    number * number
}

#[test]
fn functions_closures_and_contexts_are_called_there() {
    let _watchdog = watch();
    let here = Here::default();
    let pool = Pool::on(here.clone()).unwrap();
    let squares: Vec<u64> = (0..1000).map(square).collect();
    assert_eq!(pool.map(square, 0..1000).unwrap(), squares);
    let shipped = here.0.shipped.load(Ordering::Relaxed);
    assert_eq!(shipped, 1000);
    assert_eq!(pool.chunk_size(100).map(square, 0..1000).unwrap(), squares);
    assert_eq!(here.0.shipped.load(Ordering::Relaxed), shipped + 10);
    assert_eq!(
        pool.apply(|a: u32, b: String| b.repeat(a as usize), (2, "ab".into()))
            .unwrap(),
        "abab"
    );
    let products = pool
        .map_with(&7_u64, |factor, n: u64| factor * n, 0..3)
        .unwrap();
    assert_eq!(products, [0, 7, 14]);
    let in_order: Result<Vec<u64>> = pool.imap(square, 0..100).collect();
    assert_eq!(in_order.unwrap(), squares[..100]);
    let sum: Result<u64> = pool.imap_unordered(square, 0..100).sum();
    assert_eq!(sum.unwrap(), squares[..100].iter().sum());
    let later = pool.map_async(square, 0..10).unwrap();
    assert_eq!(later.get_timeout(PATIENCE).unwrap(), squares[..10]);
    let large = vec![7_u8; 5 << 20];
    assert!(pool.apply(|bytes: Vec<u8>| bytes, large.clone()).unwrap() == large);
    assert!(here.held().is_empty());
    let node = &pool.nodes().unwrap()[0];
    assert!(node.is_of_this_build() && node.workers == 2);
}

/// A function that nodes of another build find by its name.
#[cfg(feature = "tasks")]
#[procession::task]
fn triple(number: u64) -> u64 {
    number * 3
}

#[cfg(feature = "tasks")]
#[test]
fn a_function_with_a_name_needs_no_build_and_others_do() {
    let _watchdog = watch();
    let here = Here::holding();
    let pool = Pool::on(here.clone()).unwrap();
    let tripled = pool.apply_async(triple, 5).unwrap();
    let held = here.held().remove(0);
    assert_eq!(held.build, None);
    here.node().run(held.id, held).unwrap();
    assert_eq!(tripled.get_timeout(PATIENCE).unwrap(), 15);
    let _squared = pool.apply_async(square, 5).unwrap();
    let builds: Vec<_> = here.held().iter().filter_map(|task| task.build).collect();
    assert_eq!(builds, [pool.nodes().unwrap()[0].build]);
}

#[test]
fn results_are_awaited() {
    let _watchdog = watch();
    let pool = Pool::on(Here::default()).unwrap();
    let result = pool.apply_async(square, 12).unwrap();
    let awaited = futures_lite::future::block_on(async { result.await });
    assert_eq!(awaited.unwrap(), 144);
}

#[test]
fn failures_are_those_of_any_pool() {
    let _watchdog = watch();
    let pool = Pool::on(Here::default()).unwrap();
    let error = pool.apply(|| -> u8 { panic!("no luck") }, ()).unwrap_err();
    assert_eq!(error.panic_info().unwrap().message, "no luck");
    let error = pool
        .retries(1)
        .apply(|| -> u8 { std::process::abort() }, ())
        .unwrap_err();
    assert!(
        error.is_died() && error.signal() == Some(6) && error.tries() == Some(2),
        "{error}"
    );
    assert!(error.pid().is_some() && !error.is_node_lost());
    let limit = Duration::from_millis(50);
    let error = pool.timeout(limit).apply(never, ()).unwrap_err();
    assert_eq!(
        (error.time_limit(), error.is_timeout()),
        (Some(limit), true)
    );
    let error = pool.map(|n: u32| assert_ne!(n, 2), 0..4).unwrap_err();
    assert!(error.is_panic(), "{error}");
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
}

#[test]
fn what_lies_in_one_machines_memory_is_refused_and_named() {
    let _watchdog = watch();
    let here = Here::default();
    let pool = Pool::on(here.clone()).unwrap();
    let queue = Queue::<u8>::new().unwrap();
    let error = pool
        .apply(|queue: Queue<u8>| queue.len(), queue.clone())
        .unwrap_err();
    assert!(
        error.to_string().contains("memory of this machine"),
        "{error}"
    );
    let error = pool
        .map_with(&queue, |queue, _: u8| queue.len(), [1])
        .unwrap_err();
    assert!(
        error.to_string().contains("memory of this machine"),
        "{error}"
    );
    assert_eq!(here.0.shipped.load(Ordering::Relaxed), 0);
    let error = pool.apply(|| Queue::<u8>::new().ok(), ()).unwrap_err();
    assert!(
        error.to_string().contains("return values instead"),
        "{error}"
    );
    let error = pool
        .apply(|| procession::pipe::<u8, u8>().ok(), ())
        .unwrap_err();
    assert!(
        error.to_string().contains("return values instead"),
        "{error}"
    );
    // Of this machine, later and in the same thread, it is read as ever.
    let near = Pool::new(1).unwrap();
    assert!(
        near.apply(|| Queue::<u8>::new().ok(), ())
            .unwrap()
            .is_some()
    );
}

#[test]
fn a_result_that_panics_where_it_is_read_fails_its_call() {
    #[derive(serde::Serialize)]
    struct Fragile;

    impl<'de> serde::Deserialize<'de> for Fragile {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> std::result::Result<Self, D::Error> {
            panic!("it broke")
        }
    }

    let _watchdog = watch();
    let pool = Pool::on(Here::default()).unwrap();
    for error in [
        pool.apply(|| Fragile, ()).map(drop).unwrap_err(),
        pool.map(|_: u8| Fragile, 0..9).map(drop).unwrap_err(),
    ] {
        assert!(
            error.is_codec() && error.to_string().contains("Deserialize panic"),
            "{error}"
        );
    }
    pool.close();
    pool.join_timeout(PATIENCE).unwrap();
}

#[test]
fn what_is_only_there_on_this_machine_says_so() {
    let _watchdog = watch();
    let pool = Pool::on(Here::default()).unwrap();
    for error in [
        pool.order_tasks().map(square, 0..2).unwrap_err(),
        pool.resize(3).unwrap_err(),
        pool.stats().unwrap_err(),
    ] {
        assert!(error.to_string().contains("on other machines"), "{error}");
    }
    assert!(pool.workers().is_empty());
}

#[test]
fn a_cancel_reaches_the_node() {
    let _watchdog = watch();
    let pool = Pool::on(Here::default()).unwrap();
    let stuck = pool.map_async(|_: u8| never(), 0..20).unwrap();
    assert!(stuck.kill().unwrap());
    assert!(stuck.get_timeout(PATIENCE).unwrap_err().is_cancelled());
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
}

#[test]
fn tasks_of_a_lost_node_fail_and_others_do_not() {
    let _watchdog = watch();
    let here = Here::holding();
    let pool = Pool::on(here.clone()).unwrap();
    let lost = pool.apply_async(square, 2).unwrap();
    let (held, other) = (here.held(), pool.apply_async(square, 3).unwrap());
    assert!(
        here.answers()
            .give(held[0].id, Answer::NodeLost { losses: 1 })
    );
    let error = lost.get_timeout(PATIENCE).unwrap_err();
    assert!(error.is_node_lost() && error.is_died(), "{error}");
    assert!(error.to_string().contains("square"), "{error}");
    // Whoever answers twice does no harm.
    assert!(!here.answers().give(held[0].id, Answer::Cancelled));
    assert!(!other.is_ready());
    let next = here
        .held()
        .into_iter()
        .find(|task| task.id != held[0].id)
        .unwrap();
    here.node().run(next.id, next).unwrap();
    assert_eq!(other.get_timeout(PATIENCE).unwrap(), 9);
}

#[test]
fn all_that_is_out_fails_when_the_engine_is_gone() {
    let _watchdog = watch();
    let here = Here::holding();
    let pool = Pool::on(here.clone()).unwrap();
    let out = pool.map_async(square, 0..50).unwrap();
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pool.apply(square, 7));
        while here.held().len() < 51 {
            std::thread::yield_now();
        }
        here.answers().fail("no server at nats://hub:4222");
        waiting.join().unwrap()
    });
    for error in [
        waiting.unwrap_err(),
        out.get_timeout(PATIENCE).unwrap_err(),
        pool.apply(square, 1).unwrap_err(),
        pool.map(square, 0..3).unwrap_err(),
        pool.imap(square, 0..3).next().unwrap().unwrap_err(),
    ] {
        assert!(
            error.is_unavailable() && error.to_string().contains("hub:4222"),
            "{error}"
        );
    }
}

#[test]
fn an_engine_that_cannot_begin_or_ship_is_told_of_at_the_call() {
    let _watchdog = watch();
    struct Refuses(bool);

    impl Engine for Refuses {
        fn open(&self, _: Answers) -> Result<()> {
            match self.0 {
                true => Ok(()),
                false => Err(unavailable("nobody is there")),
            }
        }

        fn ship(&self, _: TaskEnvelope) -> Result<()> {
            Err(unavailable("it cannot be shipped"))
        }

        fn cancel(&self, _: &[u64], _: RunningTasks) -> Result<()> {
            Ok(())
        }

        fn nodes(&self) -> Result<Vec<NodeInfo>> {
            Ok(Vec::new())
        }

        fn close(&self) {}
    }

    assert!(Pool::on(Refuses(false)).unwrap_err().is_unavailable());
    let pool = Pool::on(Refuses(true)).unwrap();
    let error = pool.map(square, 0..3).unwrap_err();
    assert!(error.to_string().contains("cannot be shipped"), "{error}");
    pool.close();
    pool.join_timeout(PATIENCE).unwrap();
}

#[test]
fn a_pool_that_is_closed_finishes_and_one_that_is_dropped_lets_go() {
    let _watchdog = watch();
    let here = Here::default();
    let pool = Pool::on(here.clone()).unwrap();
    assert!(pool.join().unwrap_err().is_invalid());
    let out = pool.map_async(square, 0..100).unwrap();
    pool.close();
    assert!(pool.apply(square, 1).unwrap_err().is_closed());
    pool.join_timeout(PATIENCE).unwrap();
    assert!(out.is_ready());
    assert_eq!(out.get().unwrap().len(), 100);
    drop(pool);
    assert!(here.0.closed.load(Ordering::Relaxed) > 0);
    let here = Here::holding();
    let pool = Pool::on(here.clone()).unwrap();
    let out = pool.apply_async(square, 1).unwrap();
    assert!(pool.join_timeout(Duration::ZERO).is_err());
    drop(pool);
    assert!(out.get_timeout(PATIENCE).unwrap_err().is_closed());
}

#[test]
fn no_more_is_out_than_there_is_room_for() {
    let _watchdog = watch();
    let here = Here::holding();
    let pool = Pool::on(here.clone()).unwrap();
    let go = Event::new().unwrap();
    std::thread::scope(|scope| {
        let feeder = scope.spawn(|| {
            go.set();
            pool.map(square, 0..20_000).map(|squares| squares.len())
        });
        go.wait().unwrap();
        let mut done = 0;
        while done < 20_000 {
            let held = {
                let mut held = here.0.held.lock().unwrap();
                std::mem::take(held.as_mut().unwrap())
            };
            assert!(held.len() <= 8192, "{}", held.len());
            done += held.len();
            for (id, task) in held {
                here.node().run(id, task).unwrap();
            }
            std::thread::yield_now();
        }
        assert_eq!(feeder.join().unwrap().unwrap(), 20_000);
    });
}
