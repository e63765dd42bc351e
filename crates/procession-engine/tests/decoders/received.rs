//! Messages of a peer that sends any bytes.
//!
//! The fuzz target `frames` receives by it, too.

use std::os::fd::AsFd;
use std::time::Duration;

use procession_engine::ErrorKind;
use procession_engine::channel::PipeShared;
use procession_engine::channel::pipe::receiving::Receiving;
use procession_engine::sys::socket::io;
use procession_engine::sys::wait::time::Deadline;

/// How long it may take to receive before something hangs.
pub fn watchdog() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// Sends bytes and ends; receives messages until one is refused. Tells how many bytes
/// they were, together.
pub fn received(bytes: &[u8], track: Option<&PipeShared>, most: usize) -> usize {
    let (here, there) = io::stream_pair().unwrap();
    let mut sent = 0;
    io::send_all(&there, &[bytes], &mut sent, watchdog()).unwrap();
    drop(there);
    let mut count = 0;
    loop {
        match Receiving::new(here.as_fd(), track, most).go_on(watchdog()) {
            Ok(message) => {
                assert!(message.len() <= most);
                count += message.len();
            }
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::TimedOut, "it hangs");
                return count;
            }
        }
    }
}
