//! What bad input gets: a clear error at the call that caused it.

mod watchdog;

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

use procession::{
    Child, Error, Pool, Process, Queue, SharedArray, StartMethod, active_children, pipe,
};
use rustix::process::{Resource, Rlimit, getrlimit, getuid, setrlimit};
use rustix::thread::{set_thread_gid, set_thread_uid};
use serde::{Deserialize, Serialize, Serializer};
use serde_bytes::ByteBuf;
use watchdog::watch;

/// Long enough for a slow machine, short enough for a watchdog.
const SOON: Duration = Duration::from_secs(60);

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

/// Refuses to be written when it is odd.
#[derive(Debug, PartialEq, Deserialize)]
struct Even(u32);

impl Serialize for Even {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 2 == 1 {
            return Err(serde::ser::Error::custom("odd"));
        }
        self.0.serialize(serializer)
    }
}

/// Is written, but cannot be read: its format would have to describe itself.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u32),
    Text(String),
}

fn half(number: Even) -> u32 {
    number.0 / 2
}

fn next(number: u32) -> Even {
    Even(number + 1)
}

fn read(value: Untagged) -> usize {
    match value {
        Untagged::Number(number) => number as usize,
        Untagged::Text(text) => text.len(),
    }
}

fn join<R: serde::de::DeserializeOwned>(mut child: Child<R>) -> Result<R, Error> {
    child.join_timeout(SOON)
}

/// Checks that an error is about bytes, and names what they were to be.
fn must_name(error: &Error, what: &str) {
    assert!(error.is_codec(), "{error}");
    assert!(error.to_string().contains(what), "{error}");
}

#[procession::test]
fn arguments_that_do_not_serialise_fail_the_start() {
    let _watchdog = watch();
    for method in METHODS {
        let process = Process::new(half).start_method(method).name("never");
        let error = process.args(Even(1)).start().unwrap_err();
        must_name(&error, "the arguments of errors::half");
        let process = Process::new(half).start_method(method);
        assert_eq!(join(process.args(Even(4)).start().unwrap()).unwrap(), 2);
    }
    assert!(!active_children().iter().any(|child| child.name == "never"));
}

#[procession::test]
fn arguments_that_cannot_be_read_fail_the_join() {
    let _watchdog = watch();
    for value in [Untagged::Number(1), Untagged::Text("one".into())] {
        let child = Process::new(read).args(value).start().unwrap();
        must_name(&join(child).unwrap_err(), "the arguments of errors::read");
    }
}

#[procession::test]
fn a_result_that_does_not_serialise_fails_the_join() {
    let _watchdog = watch();
    for method in METHODS {
        let process = Process::new(next).start_method(method);
        let child = process.args(2).start().unwrap();
        assert_eq!(child.wait().unwrap(), 1);
        must_name(&join(child).unwrap_err(), "the result of errors::next");
    }
}

#[procession::test]
fn a_pool_goes_on_after_what_does_not_cross() {
    let _watchdog = watch();
    let pool = Pool::new(2).unwrap();
    let error = pool.map(half, [Even(2), Even(3), Even(4)]).unwrap_err();
    must_name(&error, "the arguments of errors::half");
    let error = pool.map(next, [1, 2, 3]).unwrap_err();
    must_name(&error, "the result of errors::next");
    let error = pool.apply(read, Untagged::Number(1)).unwrap_err();
    must_name(&error, "the arguments of errors::read");
    let inputs = (0..4).map(Even);
    let results: Vec<_> = pool.imap(half, inputs).collect();
    assert_eq!(results.len(), 4);
    for (number, result) in (0..).zip(results) {
        match result {
            Ok(half) => assert!(number % 2 == 0 && half == number / 2),
            Err(error) => must_name(&error, "the arguments of errors::half"),
        }
    }
    assert_eq!(pool.map(half, [Even(2), Even(4)]).unwrap(), [1, 2]);
}

fn tell(number: Even, began: Queue<u32>) -> u32 {
    began.put(number.0).unwrap();
    number.0
}

/// The first result is there before a worker has anything to do.
#[procession::test]
fn workers_have_a_task_while_the_caller_of_an_imap_looks_at_a_result() {
    let _watchdog = watch();
    for method in METHODS {
        let pool = || Pool::builder().workers(1).start_method(method).start();
        let began = Queue::new().unwrap();
        let inputs = || (1..).map(|number| (Even(number), began.clone()));
        let ordered = pool().unwrap();
        let mut results = ordered.imap(tell, inputs());
        must_name(&results.next().unwrap().unwrap_err(), "odd");
        assert_eq!(began.get_timeout(SOON).unwrap(), 2);
        let unordered = pool().unwrap();
        let mut results = unordered.imap_unordered(tell, inputs());
        must_name(&results.next().unwrap().unwrap_err(), "odd");
        assert_eq!(began.get_timeout(SOON).unwrap(), 2);
    }
}

#[procession::test]
fn what_does_not_serialise_is_given_back_by_a_queue() {
    let _watchdog = watch();
    let queue = Queue::new().unwrap();
    let refused = queue.put(Even(1)).unwrap_err();
    assert_eq!(refused.value, Even(1));
    must_name(&refused.error, "a queue's item");
    assert!(queue.put_many([Even(2), Even(3), Even(4)]).is_err());
    // What comes before it is in the queue.
    assert_eq!(queue.try_get_many(10).unwrap(), [Even(2)]);
    let refused = queue.put_many_timeout([Even(4), Even(5), Even(6)], Duration::MAX);
    assert_eq!(refused.unwrap_err().value, [Even(5), Even(6)]);
    assert_eq!(queue.try_get_many(10).unwrap(), [Even(4)]);
    queue.close().unwrap();
    let refused = queue.put(Even(2)).unwrap_err();
    assert!(refused.value == Even(2) && refused.error.is_closed());

    let (ours, theirs) = pipe::<Even, u32>().unwrap();
    must_name(&ours.send(Even(1)).unwrap_err(), "a value for a pipe");
    drop(theirs);
    assert!(ours.send(Even(2)).unwrap_err().is_closed());
}

#[procession::test]
fn a_handle_of_what_is_gone_is_stale() {
    let _watchdog = watch();
    let queue = Queue::<u8>::new().unwrap();
    let bytes = postcard::to_stdvec(&queue).unwrap();
    drop(postcard::from_bytes::<Queue<u8>>(&bytes).unwrap());
    drop(queue);
    let carrier = Queue::<(u64, u64)>::new().unwrap();
    carrier.put(postcard::from_bytes(&bytes).unwrap()).unwrap();
    let carrier_bytes = postcard::to_stdvec(&carrier).unwrap();
    let wrong: Queue<Queue<u8>> = postcard::from_bytes(&carrier_bytes).unwrap();
    let error = wrong.get().unwrap_err();
    assert!(error.is_stale(), "{error}");
}

#[procession::test]
fn arrays_that_cannot_be_are_refused() {
    let _watchdog = watch();
    let error = SharedArray::<u64>::zeroed(usize::MAX).unwrap_err();
    assert!(error.is_invalid(), "{error}");
    let error = SharedArray::<u64>::zeroed(1 << 44).unwrap_err();
    assert!(error.is_out_of_memory(), "{error}");
    assert!(SharedArray::<u64>::zeroed(0).unwrap().is_empty());
}

#[procession::test]
fn start_methods_that_do_not_exist_are_refused() {
    let error = "teleport".parse::<StartMethod>().unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains("teleport"));
}

/// Starts a process where no descriptor is left; returns the error's text.
fn start_without_descriptors(method: StartMethod) -> Result<(), String> {
    let limit = Rlimit {
        current: Some(100),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, limit).map_err(|error| error.to_string())?;
    let taken: Vec<File> = std::iter::repeat_with(|| File::open("/dev/null"))
        .map_while(Result::ok)
        .collect();
    let told = must_be_a_limit(method);
    drop(taken);
    told
}

/// Starts a process where there may be no more; returns the error's text.
fn start_without_processes(method: StartMethod) -> Result<(), String> {
    if getuid().is_root() {
        // The limit does not bind root. The rest of the family stays root's.
        let nobody = 65_534;
        let named = |error: rustix::io::Errno| error.to_string();
        // This process has one thread, of which the identity is.
        set_thread_gid(rustix::fs::Gid::from_raw(nobody)).map_err(named)?;
        set_thread_uid(rustix::fs::Uid::from_raw(nobody)).map_err(named)?;
    }
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Nproc, none).map_err(|error| error.to_string())?;
    must_be_a_limit(method)
}

fn must_be_a_limit(method: StartMethod) -> Result<(), String> {
    let process = Process::new(|| ()).name("never").start_method(method);
    match process.start() {
        Ok(_) => Err("it started".into()),
        Err(error) if !error.is_limit() => Err(format!("no limit: {error}")),
        Err(_) if !active_children().is_empty() => Err("a child is left".into()),
        Err(_) => Ok(()),
    }
}

#[procession::test]
fn a_process_for_which_no_descriptor_is_left_is_refused() {
    let _watchdog = watch();
    for method in METHODS {
        let process = Process::new(start_without_descriptors).start_method(StartMethod::Spawn);
        let child = process.args(method).start().unwrap();
        assert_eq!(join(child).unwrap(), Ok(()), "{method}");
    }
}

#[procession::test]
fn a_process_too_many_is_refused() {
    let _watchdog = watch();
    let process = Process::new(start_without_processes).start_method(StartMethod::Spawn);
    let child = process.args(StartMethod::Spawn).start().unwrap();
    assert_eq!(join(child).unwrap(), Ok(()));
}

/// Runs one of the ignored tests below in a program of its own, whose family
/// has little memory.
fn run_with_little_memory(test: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("PROCESSION_ARENA_LIMIT", (32 << 20).to_string())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}

#[test]
fn a_queue_that_fills_the_memory_gives_the_value_back_and_goes_on() {
    let _watchdog = watch();
    run_with_little_memory("fill_a_queue");
}

#[procession::test]
#[ignore = "run with little memory, by the test above"]
fn fill_a_queue() {
    let _watchdog = watch();
    let queue = Queue::new().unwrap();
    let mut put = 0;
    let refused = loop {
        match queue.put(ByteBuf::from(vec![7; 1_000_000])) {
            Ok(()) => put += 1,
            Err(refused) => break refused,
        }
    };
    assert!(refused.error.is_out_of_memory(), "{refused}");
    assert!(refused.value.len() == 1_000_000 && put > 4);
    for _ in 0..put {
        assert_eq!(queue.get().unwrap().len(), 1_000_000);
    }
    queue.put(refused.value).unwrap();
}

#[test]
fn what_is_too_large_for_a_pool_fails_its_task_alone() {
    let _watchdog = watch();
    run_with_little_memory("overfill_a_pool");
}

#[procession::test]
#[ignore = "run with little memory, by the test above"]
fn overfill_a_pool() {
    let _watchdog = watch();
    let pool = Pool::new(1).unwrap();
    let length = |bytes: ByteBuf| bytes.len();
    let error = pool.apply(length, too_large()).unwrap_err();
    assert!(error.is_out_of_memory(), "{error}");
    let error = pool.apply(too_large, ()).unwrap_err();
    assert!(error.is_out_of_memory(), "{error}");
    let child = Process::new(too_large).start().unwrap();
    assert!(join(child).unwrap_err().is_out_of_memory());
    assert_eq!(pool.apply(length, ByteBuf::from([1, 2])).unwrap(), 2);
}

fn too_large() -> ByteBuf {
    ByteBuf::from(vec![1; 64 << 20])
}
