//! A way to the server that breaks at a certain word.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Returns the port of a way to the server's port. The first connection on which somebody says the word to the
/// server is cut there, and the word does not arrive.
pub fn cut_at(server: u16, word: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let was_cut = Arc::new(AtomicBool::new(false));
    thread::spawn(move || {
        for here in listener.incoming() {
            let here = here.unwrap();
            let there = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).unwrap();
            let back = (there.try_clone().unwrap(), here.try_clone().unwrap());
            let was_cut = was_cut.clone();
            let cuts = move |bytes: &[u8]| {
                let is_said = bytes.windows(word.len()).any(|it| it == word.as_bytes());
                is_said && !was_cut.swap(true, Ordering::Relaxed)
            };
            thread::spawn(move || carry(here, there, cuts));
            thread::spawn(move || carry(back.0, back.1, |_| false));
        }
    });
    port
}

/// Carries bytes until one of the two ends, or it is cut.
fn carry(mut from: TcpStream, mut to: TcpStream, cuts: impl Fn(&[u8]) -> bool) {
    let mut bytes = [0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes)
        && !cuts(&bytes[..count])
        && to.write_all(&bytes[..count]).is_ok()
    {}
    // The other one may have closed it.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
