//! The arena from outside: blocks, objects and members across real forks and kills.
//!
//! # Safety
//! Each test forks children that only use the arena and leave by `_exit`.

#![expect(unsafe_code, reason = "fork and kill in tests")]

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};

use procession_engine::ErrorKind;
use procession_engine::channel::Queue;
use procession_engine::shm::{Block, Family, Handle, HandleSource, Loans, SharedObject, Stamp};
use procession_engine::sync::Lock;
use procession_engine::sys::wait::time::Deadline;

/// An object that is nothing but bytes.
type Bytes = SharedObject<[AtomicU64; 0]>;

/// Counts of the entire arena are compared: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Forks a child that runs `work` and is then killed by SIGKILL, not exited.
fn killed_child(work: impl FnOnce(&'static Family)) -> Stamp {
    let family = procession_engine::family().unwrap();
    let stamp = family.prepare_fork().unwrap();
    // SAFETY: the child touches only the arena and its own memory.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        work(family);
        // SAFETY: ends this process at once.
        unsafe { libc::raise(libc::SIGKILL) };
        unreachable!();
    }
    let mut status = 0;
    // SAFETY: waits for our own child.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid);
    assert_eq!(
        libc::WTERMSIG(status),
        libc::SIGKILL,
        "the child failed before its kill"
    );
    stamp
}

#[test]
fn blocks_of_every_size_come_back_when_dropped() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let before = family.usage();
    let mut blocks = Vec::new();
    for len in [
        0,
        1,
        64,
        65,
        1000,
        16 << 10,
        (16 << 10) + 1,
        65536,
        65537,
        5 << 20,
    ] {
        let mut block = procession_engine::family().unwrap().alloc(len).unwrap();
        assert!(block.capacity() >= len);
        block.fill(0xa5);
        blocks.push(block);
    }
    for (i, a) in blocks.iter().enumerate() {
        for b in &blocks[i + 1..] {
            let apart =
                a.offset() + a.capacity() <= b.offset() || b.offset() + b.capacity() <= a.offset();
            assert!(apart, "{a:?} and {b:?} overlap");
        }
    }
    drop(blocks);
    assert_eq!(family.usage(), before);
}

#[test]
fn many_small_blocks_are_all_different_and_all_return() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let before = family.usage();
    let blocks: Vec<Block> = (0..5000)
        .map(|i| procession_engine::family().unwrap().alloc(i % 300).unwrap())
        .collect();
    let mut offsets: Vec<u64> = blocks.iter().map(Block::offset).collect();
    offsets.sort_unstable();
    offsets.dedup();
    assert_eq!(offsets.len(), 5000);
    drop(blocks);
    assert_eq!(family.usage(), before);
}

#[test]
fn memory_of_a_burst_is_given_back() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let blocks: Vec<Block> = (0..16)
        .map(|_| {
            let mut block = procession_engine::family()
                .unwrap()
                .alloc(32 << 20)
                .unwrap();
            block.fill(1);
            block
        })
        .collect();
    assert!(family.resident().unwrap() >= 512 << 20);
    drop(blocks);
    let small: Vec<Block> = (0..200_000)
        .map(|_| procession_engine::family().unwrap().alloc(1024).unwrap())
        .collect();
    assert!(family.resident().unwrap() >= 200 << 20);
    drop(small);
    assert!(
        family.resident().unwrap() <= 160 << 20,
        "{} bytes are kept",
        family.resident().unwrap()
    );
}

#[test]
fn what_a_killed_member_held_comes_back() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let before = family.usage();
    let dead = killed_child(|family| {
        for len in [10, 5000, 100_000, 1 << 20] {
            let _ = family.alloc(len).unwrap().leak();
        }
    });
    assert!(family.is_dead(dead));
    assert!(family.usage().blocks > before.blocks);
    family.release_member(dead);
    assert_eq!(family.usage(), before);
}

#[test]
fn a_block_handed_over_survives_its_sender() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let me = family.me();
    let slot =
        SharedObject::<[AtomicU64; 1]>::create(procession_engine::family().unwrap(), 0).unwrap();
    let dead = killed_child(|family| {
        let mut block = family.alloc(100_000).unwrap();
        block[..5].copy_from_slice(b"hello");
        let offset = block.give(me).unwrap();
        slot.body()[0].store(offset, Ordering::Release);
    });
    family.release_member(dead);
    let offset = slot.body()[0].load(Ordering::Acquire);
    let block = Block::claim(offset, me).unwrap();
    assert_eq!(&block[..5], b"hello");
}

#[test]
fn an_object_lives_until_its_last_member_leaves() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let before = family.usage();
    let object = Bytes::create(procession_engine::family().unwrap(), 100).unwrap();
    let handle = object.handle();
    // Many more members than the header has cells for.
    let dead: Vec<Stamp> = (0..20).map(|_| family.prepare_fork().unwrap()).collect();
    drop(object);
    assert!(
        family.usage().objects > before.objects,
        "reserved children hold it"
    );
    for stamp in &dead[1..] {
        family.release_member(*stamp);
    }
    let again = Bytes::attach(family, handle, &HandleSource::KEPT).unwrap();
    family.release_member(dead[0]);
    drop(again);
    assert_eq!(family.usage(), before);
    let error = Bytes::attach(family, handle, &HandleSource::KEPT).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stale);
}

#[test]
fn a_block_that_is_gone_is_told_with_its_place() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let offset = Block::of(family, &[b"bytes"], 5).unwrap().offset();
    let error = Block::claim(offset, family.me()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stale);
    assert!(
        error
            .to_string()
            .contains(&format!("memory at {offset} is gone")),
        "{error}"
    );
}

#[test]
fn a_lent_handle_keeps_the_object_until_it_is_used() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let before = family.usage();
    let object = Bytes::create(procession_engine::family().unwrap(), 100).unwrap();
    let mut loans = Loans::default();
    let handle = object.lend(&mut loans);
    loans.send_untracked();
    drop(object);
    let object = Bytes::attach(family, handle, &HandleSource::UNTRACKED).unwrap();
    let wrong = Queue::attach(handle, &HandleSource::UNTRACKED).unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Invalid);
    drop(object);
    assert_eq!(family.usage(), before);
}

#[test]
fn a_lent_lock_is_the_same_lock() {
    let _alone = alone();
    let lock = Lock::create().unwrap();
    lock.acquire(Deadline::NEVER).unwrap();
    let mut loans = Loans::default();
    let handle = lock.lend(&mut loans);
    loans.send_untracked();
    drop(lock);
    let lock = Lock::attach(handle, &HandleSource::UNTRACKED).unwrap();
    assert!(lock.is_locked());
    drop(lock);
    let gone = Lock::attach(handle, &HandleSource::UNTRACKED).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Stale);
}

#[test]
fn an_object_that_is_smaller_than_a_body_is_not_taken_for_it() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let before = family.usage();
    let object = Bytes::create(family, 100).unwrap();
    let source = &HandleSource::KEPT;
    let wrong = SharedObject::<[AtomicU64; 100]>::attach(family, object.handle(), source);
    let wrong = wrong.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Invalid);
    drop(object);
    assert_eq!(family.usage(), before);
}

#[test]
fn an_object_of_more_bytes_than_there_are_is_refused() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let error = Bytes::create(family, u64::MAX).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
}

#[test]
fn a_forked_child_shares_objects_and_its_death_detaches_it() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let before = family.usage();
    let object =
        SharedObject::<[AtomicU64; 1]>::create(procession_engine::family().unwrap(), 0).unwrap();
    let body = || &object.body()[0];
    let dead = killed_child(|family| {
        body().store(u64::from(family.me().raw()), Ordering::Release);
    });
    assert_eq!(body().load(Ordering::Acquire), u64::from(dead.raw()));
    family.release_member(dead);
    drop(object);
    assert_eq!(family.usage(), before);
}

#[test]
fn forks_go_well_while_other_threads_drop_what_they_are_attached_to() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let is_over = AtomicBool::new(false);
    let mut strangers = 0;
    // SAFETY: the default action of SIGALRM ends a test that hangs.
    unsafe { libc::alarm(60) };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    drop(Bytes::create(family, 0).unwrap());
                }
            });
        }
        for _ in 0..500 {
            // SAFETY: the child leaves at once.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                let is_stranger = procession_engine::family().is_err();
                // SAFETY: ends the copy without running the test's destructors.
                unsafe { libc::_exit(is_stranger.into()) };
            }
            let mut status = 0;
            // SAFETY: waits for our own child.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
            strangers += u32::from(status != 0);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    // SAFETY: as above.
    unsafe { libc::alarm(0) };
    assert_eq!(strangers, 0, "children that are no members");
}

#[test]
fn a_forked_copy_does_not_keep_what_it_does_not_inherit_and_attaches_by_the_handle() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let first = Bytes::create_uninherited(family, 0).unwrap();
    let second = Bytes::create_uninherited(family, 0).unwrap();
    let kept = second.handle();
    let stamp = family.prepare_fork().unwrap();
    let (mut told, mut tell) = std::io::pipe().unwrap();
    // SAFETY: the child touches only the arena and its own memory, and leaves at once.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // Copies of its parent's attachments: to drop them takes nothing from the parent.
        drop((first, second));
        let attached = Bytes::attach(family, kept, &HandleSource::KEPT).unwrap();
        tell.write_all(b"1").unwrap();
        loop {
            // SAFETY: waits to be killed.
            unsafe { libc::pause() };
            assert_eq!(attached.handle(), kept);
        }
    }
    family.end_fork();
    drop(tell);
    told.read_exact(&mut [0]).unwrap();
    let users = |handle: Handle| {
        let mut users = Vec::new();
        family.for_each_object(|object| {
            if object.handle() == handle {
                users.extend(object.attached());
            }
        });
        users
    };
    let me = family.me();
    assert_eq!(users(first.handle()), [me]);
    assert_eq!(users(kept), [me, stamp]);
    let gone = first.handle();
    drop((first, second));
    assert_eq!(users(gone), [], "nobody keeps it, so it is gone");
    assert_eq!(users(kept), [stamp], "the child keeps it");
    // SAFETY: our own child, which has not been waited for.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
    let mut status = 0;
    // SAFETY: waits for our own child.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    family.release_member(stamp);
    assert_eq!(users(kept), [], "it was the last");
}

#[test]
fn a_child_is_attached_once_to_each_though_another_thread_is_about_to_fork() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let first = Bytes::create(family, 0).unwrap();
    // SAFETY: the default action of SIGALRM ends a test that hangs because one thread has failed.
    unsafe { libc::alarm(60) };
    let (is_prepared, are_both) = (Barrier::new(2), Barrier::new(2));
    let fork = |child: Stamp, objects: [&Bytes; 2]| {
        // SAFETY: the child only reads the arena, and leaves at once.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let serials = objects.map(|object| object.handle().serial);
            let mut times = 0;
            family.for_each_object(|object| {
                let count = object
                    .attached()
                    .iter()
                    .filter(|each| **each == child)
                    .count();
                match serials
                    .iter()
                    .position(|serial| *serial == object.handle().serial)
                {
                    Some(0) => times += 10 * count,
                    Some(_) => times += count,
                    None => {}
                }
            });
            // SAFETY: ends the copy without running the test's destructors.
            unsafe { libc::_exit(times as i32) };
        }
        let mut status = 0;
        // SAFETY: waits for our own child.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        family.end_fork();
        family.release_member(child);
        assert_eq!(libc::WEXITSTATUS(status), 11, "how often it was attached");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let child = family.prepare_fork().unwrap();
            is_prepared.wait();
            let second = Bytes::create(family, 0).unwrap();
            are_both.wait();
            is_prepared.wait();
            fork(child, [&first, &second]);
            are_both.wait();
        });
        is_prepared.wait();
        are_both.wait();
        let child = family.prepare_fork().unwrap();
        is_prepared.wait();
        are_both.wait();
        let third = Bytes::create(family, 0).unwrap();
        fork(child, [&first, &third]);
    });
    // SAFETY: as above.
    unsafe { libc::alarm(0) };
}

#[test]
fn a_forked_child_for_which_there_is_no_place_changes_nothing() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let object = Bytes::create(family, 64).unwrap();
    let taken: Vec<Stamp> = std::iter::from_fn(|| family.reserve_member().ok()).collect();
    // SAFETY: the child touches only the arena and its own memory.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let error = procession_engine::family().unwrap_err();
        let is_told = error.kind() == ErrorKind::Limit && error.to_string().contains("places");
        // SAFETY: 64 bytes lie behind the body.
        unsafe { object.view().behind(0, 64).write_bytes(7, 64) };
        // SAFETY: ends the copy without running the test's destructors.
        unsafe { libc::_exit(i32::from(!is_told)) };
    }
    let mut status = 0;
    // SAFETY: waits for our own child.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(status, 0);
    // SAFETY: nobody writes to it now.
    assert_eq!(unsafe { object.view().behind(0, 1).read() }, 0);
    taken
        .into_iter()
        .for_each(|one| family.release_unused_member(one));
}

#[test]
fn a_slot_gets_a_new_stamp_each_time() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let first = family.reserve_member().unwrap();
    family.release_member(first);
    let second = family.reserve_member().unwrap();
    assert_eq!(first.slot(), second.slot());
    assert_ne!(first, second);
    assert!(family.is_dead(first));
    assert!(!family.is_dead(second));
    family.release_member(second);
}

#[test]
fn a_made_up_handle_is_refused() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let object = SharedObject::<[AtomicU64; 1]>::create(family, 0).unwrap();
    let mut handle = object.handle();
    handle.serial += 1000;
    assert_eq!(
        Bytes::attach(family, handle, &HandleSource::KEPT)
            .unwrap_err()
            .kind(),
        ErrorKind::Stale
    );
    handle.offset = u64::MAX - 5;
    assert_eq!(
        Bytes::attach(family, handle, &HandleSource::KEPT)
            .unwrap_err()
            .kind(),
        ErrorKind::Stale
    );
}

/// Runs this test program again, for one ignored test only, in a shell that
/// first runs `setup`.
fn rerun(setup: &str, test: &str) {
    let program = std::env::current_exe().unwrap();
    let output = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("{setup}; exec \"$0\" --exact {test} --ignored"))
        .arg(program)
        .env("PROCESSION_ARENA_LIMIT", "4194304")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

#[test]
fn a_full_family_is_an_error_and_what_was_there_stays_usable() {
    rerun(":", "in_a_small_family");
}

#[test]
fn a_family_fits_into_a_limited_address_space_and_file_size() {
    rerun("ulimit -v 8000000; ulimit -f 4000000", "in_a_small_family");
}

#[test]
#[ignore = "run by others, in a process of its own"]
fn in_a_small_family() {
    let family = procession_engine::family().unwrap();
    let before = family.usage();
    let mut blocks = Vec::new();
    let error = loop {
        match procession_engine::family().unwrap().alloc(300_000) {
            Ok(block) => blocks.push(block),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
    assert!(blocks.len() >= 10, "only {} blocks fitted", blocks.len());
    for block in &mut blocks {
        block.fill(7);
    }
    blocks.pop();
    assert!(
        procession_engine::family().unwrap().alloc(300_000).is_ok(),
        "freed memory is not found again"
    );
    assert_eq!(
        procession_engine::family()
            .unwrap()
            .alloc(1 << 50)
            .unwrap_err()
            .kind(),
        ErrorKind::OutOfMemory
    );
    drop(blocks);
    assert_eq!(family.usage(), before);
}
