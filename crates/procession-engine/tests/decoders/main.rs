//! Whatever a peer sends is a value or an error: never a panic, never more than was sent.
//!
//! What was found to fail once is kept in `main.regressions` and tried first.

mod received;

use std::os::fd::AsFd;

use procession_engine::ErrorKind;
use procession_engine::channel::PipeShared;
use procession_engine::channel::pipe::receiving::Receiving;
use procession_engine::channel::pipe::sending::Sending;
use procession_engine::launch::bootstrap::BootstrapArgument;
use procession_engine::shm::Stamp;
use procession_engine::sys::socket::fd_passing::recv_with_fds;
use procession_engine::sys::socket::io;
use procession_engine::sys::socket::mailbox::{self, Mailbox};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use received::{received, watchdog};

/// Bytes that are most often the begin of a frame: a length, or what stands for one.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let head = prop_oneof![
        any::<i32>(),
        Just(-1),
        Just(-2),
        Just(-3),
        Just(i32::MIN),
        0..100,
    ];
    let length = prop_oneof![any::<u64>(), 0..300_u64, Just(u64::MAX)];
    let frame = (head, vec(length, 0..3), vec(any::<u8>(), 0..200));
    vec(frame, 0..4).prop_map(|frames| {
        let mut bytes = Vec::new();
        for (head, lengths, rest) in frames {
            bytes.extend(head.to_be_bytes());
            lengths
                .iter()
                .for_each(|length| bytes.extend(length.to_be_bytes()));
            bytes.extend(rest);
        }
        bytes
    })
}

/// The number of a stamp that names somebody: any slot but the one of nobody.
fn stamp() -> impl Strategy<Value = u32> {
    any::<u32>()
        .prop_map(Stamp::from_raw)
        .prop_filter_map("it names nobody", |stamp| {
            (!stamp.is_nobody()).then(|| stamp.raw())
        })
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn frames_of_a_stranger_are_messages_or_an_error(bytes in stream(), most in 0..500_usize) {
        prop_assert!(received(&bytes, None, most) <= bytes.len());
    }

    #[test]
    fn frames_of_a_relative_are_messages_or_an_error(bytes in stream()) {
        let (here, _there) = PipeShared::pair().unwrap();
        // No block is on its way, whatever place a frame names.
        prop_assert!(received(&bytes, Some(&here), 500) <= bytes.len());
    }

    #[test]
    fn what_was_sent_comes_whole_behind_what_is_refused_nothing_does(
        messages in vec(vec(any::<u8>(), 0..3_000), 1..5),
    ) {
        let (here, there) = io::stream_pair().unwrap();
        for message in &messages {
            let parts: [&[u8]; 1] = [message];
            Sending::new(there.as_fd(), None, &parts).go_on(watchdog()).unwrap();
        }
        drop(there);
        for message in &messages {
            let got = Receiving::new(here.as_fd(), None, 3_000).go_on(watchdog()).unwrap();
            prop_assert_eq!(&*got, &message[..]);
        }
        let end = Receiving::new(here.as_fd(), None, 3_000).go_on(watchdog()).unwrap_err();
        prop_assert_eq!(end.kind(), ErrorKind::Closed);
    }

    #[test]
    fn an_argument_introduces_or_does_not(text in "(procession:)?[a-z]{0,8}(=[0-9+]{0,22}|,|[a-z]+=|\\PC){0,12}") {
        if let Ok(introduction) = BootstrapArgument::parse(&text) {
            let again = BootstrapArgument::parse(&introduction.to_string()).unwrap();
            prop_assert_eq!(again, introduction);
        }
    }

    #[test]
    fn an_introduction_reads_as_it_was_written(
        (family, stamp) in (0..i32::MAX, stamp()),
        payload in any::<Option<(u64, u64)>>(),
        fds in vec(0..i32::MAX, 0..4),
        slot in any::<Option<u32>>(),
    ) {
        let mut text = format!("procession:family={family},stamp={stamp}");
        if let Some((offset, len)) = payload {
            text += &format!(",payload={offset}+{len}");
        }
        if let Some(slot) = slot {
            text += &format!(",slot={slot}");
        }
        if !fds.is_empty() {
            let fds: Vec<_> = fds.iter().map(i32::to_string).collect();
            text += &format!(",fds={}", fds.join("+"));
        }
        let introduction = BootstrapArgument::parse(&text).unwrap();
        prop_assert_eq!(BootstrapArgument::parse(&introduction.to_string()).unwrap(), introduction);
    }

    #[test]
    fn bytes_without_descriptors_pass_no_descriptors(bytes in vec(any::<u8>(), 1..200), room in 1..300_usize) {
        let (here, there) = io::stream_pair().unwrap();
        io::send_all(&there, &[&bytes], &mut 0, watchdog()).unwrap();
        let mut buffer = vec![0; room];
        let (count, fds) = recv_with_fds(&here, &mut buffer, watchdog()).unwrap();
        prop_assert_eq!(count, room.min(bytes.len()));
        prop_assert_eq!(&buffer[..count], &bytes[..count]);
        prop_assert!(fds.is_empty());
    }

    #[test]
    fn a_mailbox_takes_only_what_begins_with_its_secret(wrong in vec(any::<u64>(), 0..4), stamp in stamp()) {
        let family = u128::from(std::process::id()) << 64 | 0xdec0;
        let mailbox = Mailbox::bind(family, stamp).unwrap();
        let (here, there) = io::stream_pair().unwrap();
        let secret = mailbox::secret().unwrap();
        for strange in wrong.into_iter().filter(|&strange| strange != secret) {
            mailbox::post(family, stamp, strange, &[there.as_fd()], watchdog()).unwrap();
        }
        mailbox::post(family, stamp, secret, &[here.as_fd(), there.as_fd()], watchdog()).unwrap();
        prop_assert_eq!(mailbox.receive(secret, 2, watchdog()).unwrap().len(), 2);
    }
}
