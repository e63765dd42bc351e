//! Descriptors that cross with a start, and numbers that cross in one piece.

#![expect(unsafe_code, reason = "a process that is forked")]

mod watchdog;

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;

use procession::{Passed, PodVec, Pool, Process, Queue, StartMethod, pipe};
use watchdog::watch;

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

#[procession::test]
fn file_and_listener_cross_with_a_start() {
    let _watchdog = watch();
    for method in METHODS {
        let mut file =
            File::from(rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = |(mut file, listener): (Passed<File>, Option<Passed<TcpListener>>)| {
            write!(file, "written").unwrap();
            let (mut stream, _) = listener.unwrap().accept().unwrap();
            stream.write_all(b"served").unwrap();
            file.as_raw_fd()
        };
        let given = (Passed(file.try_clone().unwrap()), Some(Passed(listener)));
        let child = Process::new(serve)
            .start_method(method)
            .args(given)
            .start()
            .unwrap();
        let mut text = String::new();
        TcpStream::connect(address)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "served");
        assert!(child.join().unwrap() > 2);
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "written");
    }
}

#[procession::test]
fn other_end_is_seen_to_close_with_the_process_alone() {
    let _watchdog = watch();
    for method in METHODS {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let child = Process::new(|_: Passed<UnixStream>| ()).start_method(method);
        child.args(Passed(theirs)).start().unwrap().join().unwrap();
        // Neither this process nor the fork server has kept a copy.
        assert_eq!(ours.read(&mut [0]).unwrap(), 0);
    }
}

#[procession::test]
fn fork_passes_descriptors_too() {
    let _watchdog = watch();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let write = |mut stream: Passed<UnixStream>| stream.write_all(b"x").is_ok();
    let process = Process::new(write).args(Passed(theirs));
    // SAFETY: the child takes no lock of this process.
    let child = unsafe { process.start_by_fork() }.unwrap();
    let mut text = String::new();
    ours.read_to_string(&mut text).unwrap();
    assert_eq!(text, "x");
    assert!(child.join().unwrap());
}

#[procession::test]
fn descriptors_are_refused_where_there_is_no_start() {
    let _watchdog = watch();
    let file = || Passed(File::open("/dev/null").unwrap());
    let pool = Pool::new(1).unwrap();
    let queue = Queue::new().unwrap();
    let (ours, _theirs) = pipe::<Passed<File>, ()>().unwrap();
    let result = Process::new(|| Passed(File::open("/dev/null").unwrap()))
        .start()
        .unwrap();
    let errors = [
        pool.apply(|_: Passed<File>| (), file()).unwrap_err(),
        queue.put(file()).unwrap_err().error,
        ours.send(file()).unwrap_err(),
        result.join().unwrap_err(),
    ];
    for error in errors {
        assert!(error.is_codec(), "{error}");
        assert!(
            error.to_string().contains("send what it is opened by"),
            "{error}"
        );
    }
    // A refused start passes nothing on to the next.
    let unable = Process::new(|_: Passed<File>, _: Unwritable| ()).args((file(), Unwritable));
    assert!(unable.start().unwrap_err().is_codec());
    assert!(queue.put(file()).is_err());
}

/// Cannot be serialised.
#[derive(serde::Deserialize)]
struct Unwritable;

impl serde::Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
}

#[procession::test]
fn numbers_cross_in_one_piece() {
    let _watchdog = watch();
    let queue = Queue::new().unwrap();
    for len in [0, 1, 1_000, 3_000_000] {
        let numbers: Vec<f64> = (0..len).map(f64::from).collect();
        let twice = |queue: Queue<PodVec<f64>>, mut numbers: PodVec<f64>| {
            numbers.iter_mut().for_each(|number| *number *= 2.0);
            queue.put(numbers).is_ok()
        };
        let child = Process::new(twice).args((queue.clone(), numbers.into()));
        let child = child.start().unwrap();
        let doubled = queue.get().unwrap().into_inner();
        assert!(doubled.into_iter().eq((0..len).map(|n| f64::from(n) * 2.0)));
        assert!(child.join().unwrap());
    }
}
