//! Any bytes from the other end of a pipe, and any argument that a process is started with.

#![no_main]

use std::os::fd::AsFd;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use procession_engine::ErrorKind;
use procession_engine::channel::PipeShared;
use procession_engine::channel::pipe::framing::Receiving;
use procession_engine::launch::bootstrap::BootstrapArgument;
use procession_engine::sys::socket::io;
use procession_engine::sys::wait::time::Deadline;

/// The longest message that is taken.
const MOST: usize = 500;

fn receive_all(bytes: &[u8], track: Option<&PipeShared>) {
    let watchdog = || Deadline::after(Duration::from_secs(60));
    let (here, there) = io::stream_pair().unwrap();
    io::send_all(&there, &[bytes], &mut 0, watchdog()).unwrap();
    drop(there);
    let mut received = 0;
    loop {
        match Receiving::new(here.as_fd(), track, MOST).go_on(watchdog()) {
            Ok(message) => {
                assert!(message.len() <= MOST);
                received += message.len();
            }
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::TimedOut, "it hangs");
                break;
            }
        }
    }
    assert!(received <= bytes.len());
}

fuzz_target!(|bytes: &[u8]| {
    receive_all(bytes, None);
    let (here, _there) = PipeShared::pair().unwrap();
    receive_all(bytes, Some(&here));
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(argument) = BootstrapArgument::parse(text)
    {
        let again = BootstrapArgument::parse(&argument.to_string()).unwrap();
        assert_eq!(again, argument);
    }
});
