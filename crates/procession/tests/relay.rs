//! What children log and trace arrives at their parent's logger and subscriber.

#![expect(unsafe_code, reason = "one process is started by fork")]
#![expect(
    clippy::disallowed_types,
    reason = "the children that are forked set no logger"
)]

mod watchdog;

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use log::kv::{self, Key, VisitSource};
use procession::{
    Barrier, Event, LogRelay, Pool, Process, Queue, StartMethod, current_process, relay_logs,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};
use watchdog::watch;

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

/// What was logged here, as texts.
static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// One process has one relay: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Noting;

impl log::Log for Noting {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target() != "unwanted"
    }

    fn log(&self, record: &log::Record<'_>) {
        struct Pairs(BTreeMap<String, String>);
        impl<'kvs> VisitSource<'kvs> for Pairs {
            fn visit_pair(
                &mut self,
                key: Key<'kvs>,
                value: kv::Value<'kvs>,
            ) -> Result<(), kv::Error> {
                self.0.insert(key.to_string(), value.to_string());
                Ok(())
            }
        }
        let mut pairs = Pairs(BTreeMap::new());
        record.key_values().visit(&mut pairs).unwrap();
        assert!(
            pairs
                .0
                .remove("pid")
                .is_some_and(|pid| pid != std::process::id().to_string())
        );
        LOGGED.lock().unwrap().push(format!(
            "{} {} {:?} {}",
            record.level(),
            record.target(),
            pairs.0,
            record.args()
        ));
    }

    fn flush(&self) {}
}

/// Begins a relay of `log` alone, which keeps records of INFO and above.
fn relay_of_log() -> LogRelay {
    static SET: OnceLock<()> = OnceLock::new();
    SET.get_or_init(|| log::set_logger(&Noting).unwrap());
    log::set_max_level(log::LevelFilter::Info);
    LOGGED.lock().unwrap().clear();
    relay_logs().unwrap()
}

fn logged() -> Vec<String> {
    std::mem::take(&mut LOGGED.lock().unwrap())
}

/// Notes what it is told, as texts; wants INFO and above.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn note(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

struct Fields(String);

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() != "pid" {
            self.0 += &format!(" {}={value}u64", field.name());
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let source = value.source().map(ToString::to_string);
        self.0 += &format!(" {}={value}<-{source:?}", field.name());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!(" {}={value:?}", field.name());
    }
}

fn fields(record: impl FnOnce(&mut dyn Visit)) -> String {
    let mut fields = Fields(String::new());
    record(&mut fields);
    fields.0
}

fn scope<S: tracing::Subscriber + for<'a> LookupSpan<'a>>(
    context: &Context<'_, S>,
    event: &tracing::Event<'_>,
) -> String {
    let scope = context.event_scope(event).into_iter().flatten();
    scope.map(|span| format!("{} < ", span.name())).collect()
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Told {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= tracing::Level::INFO && metadata.target() != "unwanted"
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::INFO)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let (name, fields) = (
            attributes.metadata().name(),
            fields(|visit| attributes.record(visit)),
        );
        self.note(format!("new {name}{fields}"));
    }

    fn on_record(&self, id: &Id, values: &tracing::span::Record<'_>, context: Context<'_, S>) {
        let name = context.span(id).unwrap().name();
        self.note(format!(
            "record {name}{}",
            fields(|visit| values.record(visit))
        ));
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        let names = [id, follows].map(|id| context.span(id).unwrap().name());
        self.note(format!("{} follows {}", names[0], names[1]));
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let scope = scope(&context, event);
        let level = event.metadata().level();
        self.note(format!(
            "{level} {scope}{}",
            fields(|visit| event.record(visit))
        ));
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.note(format!("enter {}", context.span(id).unwrap().name()));
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.note(format!("exit {}", context.span(id).unwrap().name()));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.note(format!("close {}", context.span(&id).unwrap().name()));
    }
}

/// Begins a relay to a subscriber of this thread.
fn relay_of_tracing() -> (LogRelay, Told, DefaultGuard) {
    log::set_max_level(log::LevelFilter::Off);
    let told = Told::default();
    let subscriber = Registry::default().with(told.clone());
    let guard = tracing::subscriber::set_default(subscriber);
    (relay_logs().unwrap(), told, guard)
}

fn logs(number: u32) -> u32 {
    log::debug!("not at this level");
    log::warn!(target: "unwanted", "not of this target");
    log::info!(target: "work", number, name = "Ada", list:? = [1, 2]; "task {number}");
    std::process::id()
}

#[procession::test]
fn records_of_processes_arrive_with_their_names_and_pairs() {
    let (_watchdog, _turn) = (watch(), alone());
    for method in METHODS {
        let relay = relay_of_log();
        let child = Process::new(logs).name("Bob").start_method(method).args(7);
        child.start().unwrap().join().unwrap();
        relay.flush().unwrap();
        let pairs = r#"{"list": "[1, 2]", "name": "Ada", "number": "7", "process": "Bob"}"#;
        assert_eq!(logged(), [format!("INFO work {pairs} task 7")]);
        relay.stop().unwrap();
    }
}

#[procession::test]
fn records_of_workers_and_grandchildren_arrive() {
    let (_watchdog, _turn) = (watch(), alone());
    let relay = relay_of_log();
    let pool = Pool::new(2).unwrap();
    pool.map(logs, 0..200).unwrap();
    pool.close();
    pool.join().unwrap();
    let starts_another = || {
        let child = Process::new(logs).name("grandchild").args(200).start();
        child.unwrap().join().unwrap();
    };
    Process::new(starts_another)
        .start()
        .unwrap()
        .join()
        .unwrap();
    relay.stop().unwrap();
    let mut logged = logged();
    assert!(
        logged[200].contains(r#""process": "grandchild""#),
        "{}",
        logged[200]
    );
    logged.truncate(200);
    assert!(logged.iter().all(|text| text.contains("PoolWorker-")));
    let last = |text: &String| text.rsplit(' ').next().unwrap().parse::<u32>().unwrap();
    let mut numbers: Vec<u32> = logged.iter().map(last).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..200));
}

#[procession::test]
fn what_a_killed_process_had_logged_is_there() {
    let (_watchdog, _turn) = (watch(), alone());
    let relay = relay_of_log();
    let child = Process::new(|| -> u8 {
        for number in 0..100 {
            logs(number);
        }
        std::process::abort()
    });
    assert!(child.start().unwrap().join().unwrap_err().is_signal());
    relay.flush().unwrap();
    assert_eq!(logged().len(), 100);
}

/// More than a queue holds; each waits for a permit of the test.
#[procession::test]
fn who_logs_faster_than_is_handled_waits() {
    struct Slow;
    static GO: Mutex<Option<Event>> = Mutex::new(None);
    impl<S: tracing::Subscriber> Layer<S> for Slow {
        fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
            let go = GO.lock().unwrap().clone();
            go.unwrap().wait().unwrap();
        }
    }
    let (_watchdog, _turn) = (watch(), alone());
    log::set_max_level(log::LevelFilter::Off);
    let go = Event::new().unwrap();
    *GO.lock().unwrap() = Some(go.clone());
    let _guard = tracing::subscriber::set_default(Registry::default().with(Slow));
    let relay = relay_logs().unwrap();
    let sent = Queue::new().unwrap();
    let child = Process::new(|sent: Queue<u32>| {
        for number in 0..3000 {
            tracing::info!(number);
            sent.put(number).unwrap();
        }
    });
    let child = child.args(sent.clone()).start().unwrap();
    while !matches!(child.state().unwrap(), procession::State::Blocked(_)) {
        std::thread::yield_now();
    }
    assert!(sent.len() <= 1100, "{} were sent", sent.len());
    go.set();
    child.join().unwrap();
    assert_eq!(sent.len(), 3000);
    relay.stop().unwrap();
}

#[procession::test]
fn child_goes_on_when_who_relays_is_dead_or_has_stopped() {
    /// Relays, and dies when its child has filled the queue.
    fn relays_and_dies(result: Queue<bool>, filled: Barrier) {
        struct Stuck;
        impl<S: tracing::Subscriber> Layer<S> for Stuck {
            fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
                loop {
                    std::thread::park();
                }
            }
        }
        let _guard = tracing::subscriber::set_default(Registry::default().with(Stuck));
        let _relay = relay_logs().unwrap();
        let child = Process::new(|result: Queue<bool>, filled: Barrier| {
            for number in 0..1000 {
                tracing::info!(number);
            }
            filled.wait().unwrap();
            for number in 0..1000 {
                tracing::info!(number);
            }
            result.put(true).unwrap();
        });
        let _child = child.args((result, filled.clone())).start().unwrap();
        filled.wait().unwrap();
        std::process::abort();
    }
    let (_watchdog, _turn) = (watch(), alone());
    let (result, filled) = (Queue::new().unwrap(), Barrier::new(2).unwrap());
    let middle = Process::new(relays_and_dies).args((result.clone(), filled));
    assert!(middle.start().unwrap().join().unwrap_err().is_signal());
    assert!(result.get().unwrap());

    let relay = relay_of_log();
    let (stopped, ended) = (Event::new().unwrap(), Queue::new().unwrap());
    let child = Process::new(|stopped: Event, ended: Queue<u32>| {
        stopped.wait().unwrap();
        for number in 0..3000 {
            logs(number);
        }
        ended.put(1).unwrap();
    });
    let child = child
        .args((stopped.clone(), ended.clone()))
        .start()
        .unwrap();
    relay.stop().unwrap();
    stopped.set();
    child.join().unwrap();
    assert_eq!(ended.len(), 1);
    assert_eq!(logged(), [""; 0]);
}

#[derive(Debug)]
struct Broken(std::num::ParseIntError);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

fn traces() {
    let outer = tracing::info_span!("outer", count = 3_u64, later = tracing::field::Empty);
    let entered = outer.enter();
    outer.record("later", "now");
    tracing::debug!("not at this level");
    tracing::info!(target: "unwanted", "not of this target");
    let error = Broken("x".parse::<u8>().unwrap_err());
    tracing::info_span!("inner").in_scope(|| {
        tracing::warn!(error = &error as &dyn std::error::Error, "no petrol");
        assert_eq!(tracing::Span::current().metadata().unwrap().name(), "inner");
    });
    tracing::debug_span!("hidden").in_scope(|| tracing::info!(list = ?[1, 2]));
    drop(entered);
    let apart = tracing::info_span!(parent: None, "apart");
    apart.follows_from(&outer);
    tracing::info!(parent: &apart, "far");
}

#[procession::test]
fn spans_and_events_arrive_nested_and_with_their_types() {
    let (_watchdog, _turn) = (watch(), alone());
    for method in METHODS {
        let (relay, told, _guard) = relay_of_tracing();
        let child = Process::new(traces).name("Ada").start_method(method);
        child.start().unwrap().join().unwrap();
        relay.stop().unwrap();
        assert_eq!(
            told.take(),
            [
                r#"new process name="Ada""#,
                "new outer count=3u64",
                "enter outer",
                r#"record outer later="now""#,
                "new inner",
                "enter inner",
                "WARN inner < outer < process <  message=no petrol \
                 error=broken<-Some(\"invalid digit found in string\")",
                "exit inner",
                "close inner",
                "INFO outer < process <  list=[1, 2]",
                "exit outer",
                "new apart",
                "apart follows outer",
                "INFO apart < process <  message=far",
                "close apart",
                "close outer",
                "close process",
            ]
        );
    }
}

#[procession::test]
fn spans_of_a_killed_worker_are_closed_while_the_relay_goes_on() {
    let (_watchdog, _turn) = (watch(), alone());
    let (relay, told, _guard) = relay_of_tracing();
    let pool = Pool::new(1).unwrap();
    let dies = || -> u8 {
        let _entered = tracing::info_span!("doomed").entered();
        tracing::info!("last words");
        std::process::abort()
    };
    assert!(pool.apply(dies, ()).unwrap_err().is_died());
    let seen = |text: &str| told.0.lock().unwrap().iter().any(|it| it == text);
    // It looks for the dead when others are met, and when nothing comes.
    while !seen("close doomed") {
        std::thread::yield_now();
    }
    assert!(seen("INFO doomed < process <  message=last words"));
    relay.stop().unwrap();
}

#[procession::test]
fn threads_of_a_child_have_spans_of_their_own() {
    let (_watchdog, _turn) = (watch(), alone());
    let (relay, told, _guard) = relay_of_tracing();
    let two = || {
        let both = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            for number in 0..2_u64 {
                let both = &both;
                scope.spawn(move || {
                    let _entered = tracing::info_span!("thread", number).entered();
                    both.wait();
                    tracing::info!(number);
                    both.wait();
                });
            }
        });
    };
    Process::new(two).start().unwrap().join().unwrap();
    relay.stop().unwrap();
    let mut told = told.take();
    told.retain(|text| text.starts_with("INFO"));
    told.sort();
    assert_eq!(
        told,
        [
            "INFO thread < process <  number=0u64",
            "INFO thread < process <  number=1u64"
        ]
    );
}

#[procession::test]
fn forked_copy_has_its_originals_logger_and_its_children_are_relayed() {
    let (_watchdog, _turn) = (watch(), alone());
    let relay = relay_of_log();
    let starts_another = || {
        let child = Process::new(logs).name("grandchild").args(1).start();
        child.unwrap().join().unwrap();
        current_process().name()
    };
    // SAFETY: the copy starts a process, for which it uses no other thread's state.
    let copy = unsafe { Process::new(starts_another).args(()).start_by_fork() };
    copy.unwrap().join().unwrap();
    relay.stop().unwrap();
    assert_eq!(logged().len(), 1);
}

#[procession::test]
fn relay_without_logger_or_twice_is_refused() {
    let (_watchdog, _turn) = (watch(), alone());
    log::set_max_level(log::LevelFilter::Off);
    let error = relay_logs().unwrap_err();
    assert!(
        error.is_invalid() && error.to_string().contains("set a logger"),
        "{error}"
    );
    let relay = relay_of_log();
    let error = relay_logs().unwrap_err();
    assert!(
        error.is_invalid() && error.to_string().contains("already"),
        "{error}"
    );
    drop(relay);
    relay_of_log().stop().unwrap();
}

#[procession::test]
fn panic_of_the_subscriber_costs_one_record() {
    struct Fragile(Told);
    impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Fragile {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let text = fields(|visit| event.record(visit));
            assert!(text != " number=1u64", "the subscriber of a test panics");
            self.0.note(text);
        }
    }
    let (_watchdog, _turn) = (watch(), alone());
    log::set_max_level(log::LevelFilter::Off);
    let told = Told::default();
    let subscriber = Registry::default().with(Fragile(told.clone()));
    let _guard = tracing::subscriber::set_default(subscriber);
    let relay = relay_logs().unwrap();
    let child = Process::new(|| (0..3_u64).for_each(|number| tracing::info!(number)));
    child.start().unwrap().join().unwrap();
    relay.flush().unwrap();
    assert_eq!(told.take(), [" number=0u64", " number=2u64"]);
    relay.stop().unwrap();
}
