//! The scenario that iceoryx2 can do: `bench-iceoryx2 queue-1p1c`. It has no processes: this
//! program starts itself again as the producer.

#[path = "../../rust/src/lib.rs"]
#[expect(dead_code, reason = "iceoryx2 can do one of the scenarios")]
mod benches;

use std::hint;
use std::io::{self, Read as _};
use std::process::{Command, ExitCode, Stdio};

use benches::{ITEMS, per_second, run};
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;

/// How many numbers may wait for their receiver; procession's queue takes more.
const ROOM: usize = 1024;

fn main() -> ExitCode {
    set_log_level(LogLevel::Error);
    let arguments: Vec<_> = std::env::args().collect();
    if let [_, role, name] = arguments.as_slice()
        && role == "produce"
    {
        produce(name);
        return ExitCode::SUCCESS;
    }
    run("iceoryx2", &[("queue-1p1c", queue_1p1c)])
}

/// From a child to its parent; the clock starts when the child sends.
fn queue_1p1c() -> f64 {
    let name = format!("procession/benches/{}", std::process::id());
    let service = open(&name);
    let items = service.subscriber_builder().create().expect("room for it");
    let program = std::env::current_exe().expect("the program has a path");
    let mut child = Command::new(program)
        .args(["produce", &name])
        .stdin(Stdio::piped())
        .spawn()
        .expect("the producer starts");
    assert_eq!(receive(&items), 0);
    drop(child.stdin.take());
    let rate = per_second(ITEMS, || {
        for number in 1..=ITEMS {
            assert_eq!(receive(&items), number);
        }
    });
    child.wait().expect("the producer ends");
    rate
}

/// A subscriber has no blocking call but that for events, which are a service beside this one: it
/// looks until something is there, as its own benchmarks do.
fn receive(items: &Subscriber<ipc::Service, u64, ()>) -> u64 {
    loop {
        match items.receive().expect("the producer lives") {
            Some(number) => return *number,
            None => hint::spin_loop(),
        }
    }
}

fn produce(name: &str) {
    let service = open(name);
    let items: Publisher<ipc::Service, u64, ()> = service
        .publisher_builder()
        .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
        .create()
        .expect("room for it");
    let send = |number| {
        items.send_copy(number).expect("the parent receives");
    };
    send(0);
    // What is sent while the receiver is not connected yet is lost, where there is no room for it.
    io::stdin()
        .read_to_end(&mut Vec::new())
        .expect("the parent closes it");
    (1..=ITEMS).for_each(send);
}

/// Makes the service, in which no number is lost, or opens it.
fn open(name: &str) -> PortFactory<ipc::Service, u64, ()> {
    let node = NodeBuilder::new()
        .create::<ipc::Service>()
        .expect("a node is made");
    let name: ServiceName = name.try_into().expect("a name");
    node.service_builder(&name)
        .publish_subscribe::<u64>()
        .enable_safe_overflow(false)
        .subscriber_max_buffer_size(ROOM)
        .open_or_create()
        .expect("the service is made")
}
