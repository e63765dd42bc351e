//! Feeds: a thread makes tasks of what only it may ask for, and the pool takes them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use procession_engine::ErrorKind;
use procession_engine::pool::{AfterPut, CutOff, EmptyFeed, FedCall, Feed, RunningTasks};
use procession_engine::sys::wait::time::Deadline;

use crate::workers::{Bench, Got, Keep, leaving_nothing, task, uninterrupted, watchdog};

/// A call whose state a test may change.
#[derive(Clone, Default)]
struct Call {
    is_full: Arc<AtomicBool>,
    is_cancelled: Arc<AtomicBool>,
    /// Cancels it in the middle of a fetch of its tasks.
    is_cancelled_when_polled: Arc<AtomicBool>,
    /// After how many tasks, and why, it was cut off.
    cut: Arc<Mutex<Option<(usize, String)>>>,
}

impl FedCall for Call {
    fn is_full(&self, _tasks: usize) -> bool {
        if self.is_cancelled_when_polled.load(Ordering::SeqCst) {
            self.is_cancelled.store(true, Ordering::SeqCst);
        }
        self.is_full.load(Ordering::SeqCst)
    }

    fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::SeqCst)
    }

    fn cut_off(&self, tasks: usize, why: CutOff<'_>) {
        let why = match why {
            CutOff::Cancelled => "cancelled".to_owned(),
            CutOff::Ended(end) => end.to_string(),
        };
        *self.cut.lock().unwrap() = Some((tasks, why));
    }
}

const BOTH: [EmptyFeed; 2] = [EmptyFeed::IsAwaited, EmptyFeed::IsLeft];

#[test]
fn a_task_that_workers_wait_for_runs_though_nobody_leads() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        // Until the worker is ready.
        bench.submit(0, &[b"e"]);
        bench.drive(1);
        let call = Box::new(Call::default());
        let feed = bench.pool.feed(call, EmptyFeed::IsLeft).unwrap();
        let _ = feed.put(task(None, 1, &[b"g"])).unwrap();
        bench.gate.await_arrivals(1);
        bench.gate.open();
        bench.drive(2);
        bench.finish();
    });
}

#[test]
fn all_tasks_of_a_feed_run_and_no_more_are_ahead_than_it_has_room_for() {
    for empty in BOTH {
        leaving_nothing(|| {
            let bench = Bench::new(2);
            let feed = bench.pool.feed(Box::new(Call::default()), empty).unwrap();
            for n in 0..20_000u64 {
                let task = task(None, n, &[b"e", &n.to_le_bytes()]);
                match feed.put(task).unwrap() {
                    AfterPut::GoOn => assert!(feed.has_room()),
                    AfterPut::KeepUp => drop(feed.keep_up()),
                    AfterPut::MakeRoom => uninterrupted(|| feed.make_room()).unwrap(),
                }
            }
            assert!(feed.complete());
            bench.drive(20_000);
            for n in 0..20_000u64 {
                assert_eq!(bench.got(n), Got::Reply(7, n.to_le_bytes().to_vec()));
            }
            bench.finish();
        });
    }
}

#[test]
fn who_waits_for_room_without_leading_is_woken_when_there_is() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        let call = Box::new(Call::default());
        let feed = bench.pool.feed(call, EmptyFeed::IsAwaited).unwrap();
        let mut count = 0;
        while feed.has_room() {
            let _ = feed.put(task(None, count, &[b"g"])).unwrap();
            count += 1;
        }
        assert!(count < 2000, "{count}");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                loop {
                    match feed.wait_for_room(watchdog()) {
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted),
                        Ok(has_room) => break has_room,
                    }
                }
            });
            bench.gate.open();
            bench.drive(count as usize);
            assert!(waits.join().unwrap());
        });
        drop(feed);
        bench.finish();
    });
}

#[test]
fn who_makes_tasks_slowly_learns_of_deaths_meanwhile() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        let call = Box::new(Call::default());
        let feed = bench.pool.feed(call, EmptyFeed::IsLeft).unwrap();
        let _ = feed.put(task(None, 0, &[b"k"])).unwrap();
        let deadline = watchdog();
        // As who waits for the next input would: nothing else drives the pool.
        while bench.count() < 1 {
            assert!(!deadline.has_passed());
            let _ = feed.keep_up();
        }
        assert!(matches!(bench.got(0), Got::Died(..)));
        let _ = feed.put(task(None, 1, &[b"e"])).unwrap();
        bench.drive(2);
        drop(feed);
        bench.finish();
    });
}

#[test]
fn a_closed_pool_waits_for_a_feed_that_is_awaited() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        let call = Box::new(Call::default());
        let feed = bench.pool.feed(call, EmptyFeed::IsAwaited).unwrap();
        bench.submit(0, &[b"e"]);
        bench.drive(1);
        bench.pool.close();
        let soon = Deadline::after(std::time::Duration::from_millis(20));
        assert_eq!(
            bench.pool.join(soon).unwrap_err().kind(),
            ErrorKind::TimedOut
        );
        let _ = feed.put(task(None, 1, &[b"e"])).unwrap();
        assert!(feed.complete());
        bench.join().unwrap();
        assert_eq!(bench.got(1), Got::Reply(7, Vec::new()));
    });
}

#[test]
fn a_closed_pool_ends_without_a_feed_that_is_left_and_refuses_its_tasks() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        let call = Box::new(Call::default());
        let feed = bench.pool.feed(call, EmptyFeed::IsLeft).unwrap();
        let _ = feed.put(task(None, 0, &[b"e"])).unwrap();
        bench.pool.close();
        let error = feed.put(task(None, 1, &[b"e"])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        bench.join().unwrap();
        assert_eq!(bench.got(0), Got::Reply(7, Vec::new()));
        assert_eq!(bench.count(), 1);
    });
}

#[test]
fn tasks_of_a_cancelled_call_are_cancelled_and_its_feed_takes_no_more() {
    for empty in BOTH {
        leaving_nothing(|| {
            let bench = Bench::new(1);
            let call = Call::default();
            let feed = bench.pool.feed(Box::new(call.clone()), empty).unwrap();
            for n in 0..100 {
                let _ = feed.put(task(None, n, &[b"g"])).unwrap();
            }
            bench.gate.await_arrivals(1);
            call.is_cancelled.store(true, Ordering::SeqCst);
            let which = |token: &u64| *token != 0;
            // Not counted, but cancelled as well, is what another thread makes of the feed just then.
            let _ = bench.pool.cancel(&which, RunningTasks::Spared).unwrap();
            bench.gate.open();
            bench.drive(100);
            assert_eq!(bench.got(0), Got::Reply(0, Vec::new()));
            for n in 1..100 {
                assert_eq!(bench.got(n), Got::Cancelled);
            }
            let expected = Some((100, "cancelled".to_owned()));
            assert_eq!(*call.cut.lock().unwrap(), expected);
            let error = feed.put(task(None, 100, &[b"e"])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Closed);
            assert!(!feed.complete() && feed.has_room());
            assert_eq!(bench.pool.cancel(&which, RunningTasks::Spared).unwrap(), 0);
            bench.finish();
        });
    }
}

#[test]
fn the_last_task_of_a_call_that_is_cancelled_while_it_is_fetched_does_not_run() {
    for empty in BOTH {
        leaving_nothing(|| {
            let bench = Bench::new(1);
            let call = Call::default();
            call.is_full.store(true, Ordering::SeqCst);
            let feed = bench.pool.feed(Box::new(call.clone()), empty).unwrap();
            let _ = feed.put(task(None, 0, &[b"e"])).unwrap();
            assert!(feed.complete());
            call.is_cancelled_when_polled.store(true, Ordering::SeqCst);
            call.is_full.store(false, Ordering::SeqCst);
            bench.pool.resume_sources().unwrap();
            bench.drive(1);
            assert_eq!(bench.got(0), Got::Cancelled);
            bench.finish();
        });
    }
}

#[test]
fn a_task_that_is_put_after_its_call_was_cancelled_does_not_run() {
    for empty in BOTH {
        leaving_nothing(|| {
            let bench = Bench::new(1);
            let call = Call::default();
            let feed = bench.pool.feed(Box::new(call.clone()), empty).unwrap();
            // A worker waits for it.
            let _ = feed.put(task(None, 0, &[b"e"])).unwrap();
            bench.drive(1);
            call.is_cancelled.store(true, Ordering::SeqCst);
            let _ = feed.put(task(None, 1, &[b"e"])).unwrap();
            bench.drive(2);
            assert_eq!(bench.got(1), Got::Cancelled);
            assert_eq!(*call.cut.lock().unwrap(), Some((2, "cancelled".to_owned())));
            bench.finish();
        });
    }
}

#[test]
fn a_feed_whose_tasks_have_all_begun_is_nothing_to_cancel() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        let call = Call::default();
        let feed = bench
            .pool
            .feed(Box::new(call.clone()), EmptyFeed::IsAwaited)
            .unwrap();
        let _ = feed.put(task(None, 0, &[b"g"])).unwrap();
        assert!(feed.complete());
        bench.gate.await_arrivals(1);
        call.is_cancelled.store(true, Ordering::SeqCst);
        let count = bench.pool.cancel(&|_| true, RunningTasks::Spared).unwrap();
        assert_eq!((count, call.cut.lock().unwrap().clone()), (0, None));
        bench.gate.open();
        bench.drive(1);
        bench.finish();
    });
}

#[test]
fn tasks_in_the_feed_of_a_pool_that_ends_fail_with_it() {
    for empty in BOTH {
        leaving_nothing(|| {
            let bench = Bench::new(1);
            let call = Call::default();
            let feed = bench.pool.feed(Box::new(call.clone()), empty).unwrap();
            for n in 0..50 {
                let _ = feed.put(task(None, n, &[b"g"])).unwrap();
            }
            bench.pool.terminate();
            let ended = "the pool was terminated".to_owned();
            for n in 0..50 {
                assert_eq!(bench.got(n), Got::Ended(ended.clone()));
            }
            assert_eq!(*call.cut.lock().unwrap(), Some((50, ended)));
            let error = feed.put(task(None, 50, &[b"e"])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Closed);
        });
    }
}

#[test]
fn a_call_is_told_of_the_end_though_its_feed_was_refused_and_given_up_before() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        let late = Call::default();
        let feeds = Arc::new(Mutex::new(None));
        let first = First(Arc::clone(&feeds));
        let _first = bench.pool.feed(Box::new(first), EmptyFeed::IsAwaited);
        let feed = bench
            .pool
            .feed(Box::new(late.clone()), EmptyFeed::IsAwaited)
            .unwrap();
        // A worker waits for it, so the feed is empty and wanted.
        let _ = feed.put(task(None, 0, &[b"e"])).unwrap();
        bench.drive(1);
        *feeds.lock().unwrap() = Some(feed);
        bench.pool.terminate();
        let ended = "the pool was terminated".to_owned();
        assert!(feeds.lock().unwrap().is_none());
        assert_eq!(*late.cut.lock().unwrap(), Some((1, ended)));
    });
}

/// The call that is told of the end first, and then uses the feed of another.
struct First(Arc<Mutex<Option<Feed<Keep>>>>);

impl FedCall for First {
    fn is_cancelled(&self) -> bool {
        false
    }

    fn cut_off(&self, _tasks: usize, _why: CutOff<'_>) {
        let feed = self.0.lock().unwrap().take().unwrap();
        let error = feed.put(task(None, 1, &[b"e"])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        // What could not become a task is not counted, either.
        assert!(!feed.skip());
    }
}

#[test]
fn a_feed_gives_nothing_while_its_call_is_full() {
    leaving_nothing(|| {
        let bench = Bench::new(1);
        let call = Call::default();
        call.is_full.store(true, Ordering::SeqCst);
        let feed = bench
            .pool
            .feed(Box::new(call.clone()), EmptyFeed::IsAwaited)
            .unwrap();
        let _ = feed.put(task(None, 0, &[b"e"])).unwrap();
        bench.submit(1, &[b"e"]);
        bench.drive(1);
        assert_eq!(bench.got(1), Got::Reply(7, Vec::new()));
        call.is_full.store(false, Ordering::SeqCst);
        bench.pool.resume_sources().unwrap();
        bench.drive(2);
        drop(feed);
        bench.finish();
    });
}
