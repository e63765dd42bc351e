//! Objects that live in a process of their own.

mod watchdog;

use std::sync::Arc;
use std::time::Duration;

use procession::{Actor, Event, Pool, Queue, StartMethod};
use watchdog::watch;

struct Account {
    balance: i64,
    told: Queue<String>,
}

impl Account {
    fn open((balance, told): (i64, Queue<String>)) -> Self {
        Self { balance, told }
    }

    fn deposit(&mut self, amount: i64) -> i64 {
        assert_ne!(amount, 13, "no luck");
        self.balance += amount;
        self.balance
    }

    fn split(&mut self, amount: i64, ways: i64) -> Result<i64, String> {
        if self.balance < amount {
            return Err(format!("only {} are there", self.balance));
        }
        self.balance -= amount;
        Ok(amount / ways)
    }

    fn balance(&self) -> i64 {
        self.balance
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.told
            .put(format!("closed with {}", self.balance))
            .unwrap();
    }
}

fn account(balance: i64) -> (Actor<Account>, Queue<String>) {
    let told = Queue::new().unwrap();
    let actor = Actor::new(Account::open, (balance, told.clone())).unwrap();
    (actor, told)
}

#[procession::test]
fn calls_are_typed_and_come_in_order() {
    let _watchdog = watch();
    let (actor, _told) = account(10);
    assert_eq!(actor.call(Account::deposit, 5).unwrap(), 15);
    assert_eq!(actor.call(Account::split, (10, 2)).unwrap(), Ok(5));
    let refused = actor.call(Account::split, (10, 2)).unwrap();
    assert_eq!(refused.unwrap_err(), "only 5 are there");
    let many: Vec<_> = (1..=100)
        .map(|_| actor.call_async(Account::deposit, 1).unwrap())
        .collect();
    for (number, result) in (6..).zip(many) {
        assert_eq!(result.get().unwrap(), number);
    }
    let pid = actor
        .call(|_: &mut Account| std::process::id(), ())
        .unwrap();
    assert!(pid != std::process::id() && actor.pid() == Some(pid));
}

#[procession::test]
fn threads_may_share_it() {
    let _watchdog = watch();
    let (actor, _told) = account(0);
    let actor = Arc::new(actor);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    actor.call(Account::deposit, 1).unwrap();
                }
            });
        }
    });
    assert_eq!(actor.call(Account::balance, ()).unwrap(), 200);
}

#[procession::test]
fn stop_does_what_was_asked_and_drops_the_object() {
    let _watchdog = watch();
    let (actor, told) = account(1);
    let last = actor.call_async(Account::deposit, 2).unwrap();
    actor.stop().unwrap();
    assert_eq!(last.get().unwrap(), 3);
    assert_eq!(told.try_get().unwrap(), "closed with 3");
}

#[procession::test]
fn panic_fails_its_call_and_the_next_finds_a_new_object() {
    let _watchdog = watch();
    let (actor, told) = account(1);
    actor.call(Account::deposit, 1).unwrap();
    let pid = actor.pid();
    let error = actor.call(Account::deposit, 13).unwrap_err();
    assert!(
        error.panic_info().unwrap().message.contains("no luck"),
        "{error}"
    );
    assert_eq!(told.get().unwrap(), "closed with 2");
    assert_eq!(actor.call(Account::balance, ()).unwrap(), 1);
    assert_eq!(actor.pid(), pid);
}

#[procession::test]
fn death_fails_its_call_and_the_next_finds_a_new_object() {
    let _watchdog = watch();
    let (actor, _told) = account(1);
    actor.call(Account::deposit, 1).unwrap();
    let pid = actor.pid();
    let abort = |_: &mut Account| -> u8 { std::process::abort() };
    let error = actor.call(abort, ()).unwrap_err();
    assert!(error.is_died() && error.signal() == Some(6), "{error}");
    assert_eq!(actor.call(Account::balance, ()).unwrap(), 1);
    assert_ne!(actor.pid(), pid);
}

#[procession::test]
fn call_that_takes_too_long_is_ended_with_its_process() {
    let _watchdog = watch();
    let (actor, _told) = account(1);
    let stuck = |_: &mut Account, never: Event| never.wait().is_ok();
    let limit = Duration::from_millis(50);
    let error = actor
        .call_timeout(stuck, Event::new().unwrap(), limit)
        .unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(actor.call(Account::balance, ()).unwrap(), 1);
}

#[procession::test]
fn panic_of_what_makes_the_object_is_told_by_each_call() {
    let _watchdog = watch();
    let actor = Actor::new(|(): ()| -> Vec<u8> { panic!("no disk") }, ()).unwrap();
    for _ in 0..2 {
        let error = actor
            .call(|bytes: &mut Vec<u8>| bytes.len(), ())
            .unwrap_err();
        assert!(error.to_string().contains("no disk"), "{error}");
    }
    assert!(actor.stop().is_err());
}

#[procession::test]
fn limits_are_those_of_a_pool_of_one() {
    let _watchdog = watch();
    for method in [StartMethod::Spawn, StartMethod::ForkServer] {
        let builder = Pool::builder()
            .start_method(method)
            .env(|_| [("MODE", "x")]);
        let actor = builder.actor(|(): ()| (), ()).unwrap();
        let mode = actor
            .call(|(): &mut ()| std::env::var("MODE").ok(), ())
            .unwrap();
        assert_eq!(mode.as_deref(), Some("x"));
    }
    for builder in [
        Pool::builder().workers(2),
        Pool::builder().tasks_per_worker(1),
        Pool::builder().idle_timeout(Duration::from_secs(1)),
        Pool::builder().initializer(|| (), ()),
    ] {
        assert!(builder.actor(|(): ()| (), ()).unwrap_err().is_invalid());
    }
}
