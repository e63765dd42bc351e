//! The scenarios that ipc-channel can do. It has no processes: this program
//! starts itself again as the producer.

use std::process::{Command, ExitCode};

use ipc_channel::ipc::{self, IpcOneShotServer, IpcReceiver, IpcSender};
use procession_benches::{ITEMS, per_second, run};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().collect();
    if let [_, role, server] = arguments.as_slice()
        && role == "produce"
    {
        produce(server.clone());
        return ExitCode::SUCCESS;
    }
    run("ipc-channel", &[("queue-1p1c", queue_1p1c)])
}

/// From a child to its parent; the clock starts when the child sends.
fn queue_1p1c() -> f64 {
    let (server, name) = IpcOneShotServer::<IpcReceiver<u64>>::new().expect("the server starts");
    let program = std::env::current_exe().expect("the program has a path");
    let mut child = Command::new(program)
        .args(["produce", &name])
        .spawn()
        .expect("the producer starts");
    let (_, items) = server.accept().expect("the producer connects");
    assert_eq!(items.recv().expect("the producer sends"), 0);
    let rate = per_second(ITEMS, || {
        for number in 1..=ITEMS {
            assert_eq!(items.recv().expect("the producer sends"), number);
        }
    });
    child.wait().expect("the producer ends");
    rate
}

fn produce(server: String) {
    let introduction: IpcSender<IpcReceiver<u64>> =
        IpcSender::connect(server).expect("the parent listens");
    let (sender, receiver) = ipc::channel().expect("a channel is made");
    introduction.send(receiver).expect("the parent listens");
    for number in 0..=ITEMS {
        sender.send(number).expect("the parent receives");
    }
}
