//! What messages of a queue carry handles of, and what becomes of it.

use procession_engine::ErrorKind;
use procession_engine::channel::{Message, Queue};
use procession_engine::shm::{Handle, HandleSource, Loans, Object, ObjectKind, TransferContext};
use procession_engine::sync::Lock;
use procession_engine::sys::wait::time::Deadline;

use crate::alone;
use crate::family::{killed_after, watchdog};

/// Puts the handle of a new lock, which nobody but the message keeps alive.
fn put_lock(queue: &Queue) -> Handle {
    let lock = Lock::create().unwrap();
    let mut loans = Loans::default();
    let handle = lock.lend(&mut loans);
    let bytes = [handle.offset.to_le_bytes(), handle.serial.to_le_bytes()];
    let parts = [&bytes[0][..], &bytes[1][..]];
    let block = loans
        .into_message(procession_engine::family().unwrap(), &parts, 16)
        .unwrap();
    queue.put_block(block, 16, watchdog()).unwrap();
    handle
}

fn handle_in(bytes: &[u8]) -> Handle {
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    Handle {
        offset: number(0),
        serial: number(8),
    }
}

fn attach(message: &Message) -> Lock {
    message
        .read(|bytes, source| Lock::attach(handle_in(bytes), source))
        .unwrap()
}

fn is_gone(handle: Handle) -> bool {
    let visit = Object::attach(
        procession_engine::family().unwrap(),
        handle,
        ObjectKind::Lock,
        &HandleSource::KEPT,
    );
    visit.is_err_and(|error| error.kind() == ErrorKind::Stale)
}

#[test]
fn who_reads_a_message_has_what_it_carried() {
    let _alone = alone();
    let queue = Queue::create(0).unwrap();
    let before = procession_engine::family().unwrap().usage();
    let handle = put_lock(&queue);
    let message = queue.get(Deadline::now()).unwrap();
    let lock = attach(&message);
    drop(message);
    lock.acquire(Deadline::now()).unwrap();
    assert_eq!(lock.handle(), handle);
    drop(lock);
    assert!(is_gone(handle));
    assert_eq!(procession_engine::family().unwrap().usage(), before);
}

#[test]
fn a_thousand_messages_whose_readers_die_leave_nothing() {
    let _alone = alone();
    let queue = Queue::create(0).unwrap();
    put_lock(&queue);
    drop(attach(&queue.get(Deadline::now()).unwrap()));
    let before = procession_engine::family().unwrap().usage();
    for reader in 0..100 {
        let handles: Vec<_> = (0..10).map(|_| put_lock(&queue)).collect();
        let reader = killed_after(|| {
            let messages = queue.get_many(10, watchdog()).unwrap();
            // Some of them come as far as to attach to a few.
            let locks: Vec<_> = messages.iter().take(reader % 3).map(attach).collect();
            std::mem::forget((messages, locks));
        });
        assert!(!handles.iter().any(|&handle| is_gone(handle)));
        reader.reclaim();
        assert!(handles.iter().all(|&handle| is_gone(handle)));
    }
    let after = procession_engine::family().unwrap().usage();
    // The queue's own segments have become larger.
    assert_eq!(
        (after.blocks, after.objects),
        (before.blocks, before.objects)
    );
}

#[test]
fn a_queue_that_ends_with_messages_in_it_gives_back_what_they_carry() {
    let _alone = alone();
    let before = procession_engine::family().unwrap().usage();
    let queue = Queue::create(0).unwrap();
    let handles: Vec<_> = (0..100).map(|_| put_lock(&queue)).collect();
    drop(queue);
    assert!(handles.into_iter().all(is_gone));
    assert_eq!(procession_engine::family().unwrap().usage(), before);
}

#[test]
fn a_message_that_cannot_be_read_gives_back_what_it_carries() {
    let _alone = alone();
    let queue = Queue::create(0).unwrap();
    let handle = put_lock(&queue);
    let message = queue.get(Deadline::now()).unwrap();
    assert!(
        message
            .read(|_, _| Err::<(), _>("not what it seems"))
            .is_err()
    );
    drop(message);
    assert!(is_gone(handle));
}

#[test]
fn what_a_reader_has_not_attached_to_yet_stays_lent() {
    let _alone = alone();
    let queue = Queue::create(0).unwrap();
    put_lock(&queue);
    let message = queue.get(Deadline::now()).unwrap();
    let kept = message
        .read(|bytes, _| Ok::<_, ()>(bytes.to_vec()))
        .unwrap();
    drop(message);
    drop(Lock::attach(handle_in(&kept), &HandleSource::UNTRACKED).unwrap());
    assert!(is_gone(handle_in(&kept)));
}

#[test]
fn a_message_that_is_refused_gives_back_what_it_carries() {
    let _alone = alone();
    let queue = Queue::create(1).unwrap();
    queue.put(&[b"full"], Deadline::now()).unwrap();
    let lock = Lock::create().unwrap();
    let handle = lock.handle();
    let mut loans = Loans::default();
    lock.lend(&mut loans);
    let block = loans
        .into_message(procession_engine::family().unwrap(), &[b"no room"], 7)
        .unwrap();
    drop(lock);
    let refused = queue.put_block(block, 7, Deadline::now()).unwrap_err();
    assert_eq!(refused.error.kind(), ErrorKind::Full);
    assert!(!is_gone(handle));
    drop(refused);
    assert!(is_gone(handle));
}

#[test]
fn what_is_lent_in_the_middle_of_a_message_goes_with_the_inner_one() {
    let _alone = alone();
    let context = TransferContext::new();
    let [outer, inner] = [(); 2].map(|()| Lock::create().unwrap());
    let handles = [&outer, &inner].map(Lock::handle);
    let (within, loans) = context.collect(|| {
        context.lend(|loans| outer.lend(loans));
        context
            .collect(|| context.lend(|loans| inner.lend(loans)))
            .1
    });
    drop((outer, inner));
    drop(within);
    assert_eq!(handles.map(is_gone), [false, true]);
    drop(loans);
    assert!(is_gone(handles[0]));
}

#[test]
fn what_is_lent_outside_of_a_message_lives_until_it_is_used() {
    let _alone = alone();
    let context = TransferContext::new();
    let lock = Lock::create().unwrap();
    let handle = context.lend(|loans| lock.lend(loans));
    drop(lock);
    // Who reads a message that its sender keeps uses up nothing, and within it another does.
    let attach = || {
        context
            .attach(|source| Lock::attach(handle, source))
            .unwrap()
    };
    context.read(&HandleSource::KEPT, || drop(attach()));
    assert!(!is_gone(handle));
    context.read(&HandleSource::KEPT, || {
        context.read(&HandleSource::UNTRACKED, || drop(attach()));
    });
    assert!(is_gone(handle));
}
