//! Blocks and objects.
//!
//! # Safety
//! As in `family/mod.rs`.

#![expect(unsafe_code, reason = "forks that procession is not told of")]

use std::cell::Cell;
use std::sync::atomic::AtomicU64;

use procession_engine::shm::member::table::Stage;
use procession_engine::shm::{Block, SharedObject};
use procession_engine::sync::Semaphore;
use procession_engine::sys::steps;

use crate::family::{Relative, fork, killed_after, watchdog};
use crate::{alone, at_every_step, at_every_step_after, stopped_at_every_step};

/// An object that is nothing but bytes.
type Bytes = SharedObject<[AtomicU64; 0]>;

/// From the least class to several chunks.
const SIZES: [u64; 4] = [1, 5_000, 60_000, 300_000];

fn nothing() {}

/// Allocates a block that its owner's death frees.
fn leak(size: u64) {
    let _ = procession_engine::family()
        .unwrap()
        .alloc(size)
        .unwrap()
        .leak();
}

/// Allocates and frees a block of each size, which takes each lock of the allocator.
fn use_allocator() {
    for size in SIZES {
        drop(procession_engine::family().unwrap().alloc(size).unwrap());
    }
}

#[test]
fn who_allocates() {
    at_every_step(
        "allocate",
        nothing,
        |()| {
            SIZES
                .map(|size| {
                    procession_engine::family()
                        .unwrap()
                        .alloc(size)
                        .unwrap()
                        .leak()
                })
                .into_iter()
                .for_each(drop)
        },
        |(), _| use_allocator(),
    );
}

#[test]
fn who_frees() {
    at_every_step(
        "free",
        nothing,
        |()| use_allocator(),
        |(), _| use_allocator(),
    );
}

#[test]
fn who_gives_a_block_away() {
    at_every_step(
        "give",
        || fork(|| ()),
        |other| {
            let block = procession_engine::family().unwrap().alloc(100).unwrap();
            block.give(other.stamp).unwrap();
        },
        |_, _| use_allocator(),
    );
}

#[test]
fn who_makes_and_drops_an_object() {
    at_every_step(
        "object",
        nothing,
        |()| drop(Bytes::create(procession_engine::family().unwrap(), 100).unwrap()),
        |(), _| use_allocator(),
    );
}

#[test]
fn who_drops_the_last_of_an_object_that_many_used() {
    at_every_step_after(
        "destroy",
        || {
            let object = Bytes::create(procession_engine::family().unwrap(), 100).unwrap();
            // More than the header has cells for.
            let others: Vec<_> = (0..8).map(|_| fork(|| ())).collect();
            others.into_iter().for_each(Relative::join);
            Cell::new(Some(object))
        },
        |object| drop(object.take()),
        |object| drop(object.take()),
        |_, _| use_allocator(),
    );
}

#[test]
fn who_starts_a_relative_and_gives_it_up() {
    at_every_step(
        "member",
        || Bytes::create(procession_engine::family().unwrap(), 100).unwrap(),
        |_| {
            let family = procession_engine::family().unwrap();
            let stamp = family.prepare_fork().unwrap();
            assert_eq!(family.cancel_fork(stamp), None);
        },
        |_, _| fork(|| ()).join(),
    );
}

#[test]
fn who_buries() {
    at_every_step(
        "reclaim",
        || {
            killed_after(|| {
                let object = Bytes::create(procession_engine::family().unwrap(), 1000).unwrap();
                std::mem::forget(object);
                SIZES.into_iter().for_each(leak);
            })
        },
        |dead| procession_engine::family().unwrap().reclaim(dead.stamp),
        |dead, _| {
            procession_engine::family().unwrap().reclaim(dead.stamp);
            use_allocator();
        },
    );
}

#[test]
fn a_place_that_is_being_set_aside_is_not_taken_for_a_dead_ones() {
    stopped_at_every_step(
        "set aside",
        nothing,
        |()| {
            let family = procession_engine::family().unwrap();
            let stamp = family.prepare_fork().unwrap();
            assert_eq!(family.member(stamp).stage(), Stage::Reserved);
            steps::stop_counting();
            assert_eq!(family.cancel_fork(stamp), None);
        },
        |()| {
            procession_engine::family().unwrap().reclaim_all();
        },
        |()| (),
    );
}

/// A semaphore with more cells than fit into its header, and somebody dead.
struct Scene {
    semaphore: Cell<Option<Semaphore>>,
    dead: Relative,
    reused: Cell<Vec<Block>>,
}

impl Scene {
    fn new(dead_one_used_it: bool) -> Self {
        let before = (!dead_one_used_it).then(|| killed_after(|| ()));
        let semaphore = Semaphore::create(2, None).unwrap();
        let family = procession_engine::family().unwrap();
        let others = [(); 8].map(|()| family.prepare_fork().unwrap());
        others
            .into_iter()
            .for_each(|other| assert_eq!(family.cancel_fork(other), None));
        let dead = before.unwrap_or_else(|| killed_after(|| ()));
        Self {
            semaphore: Cell::new(Some(semaphore)),
            dead,
            reused: Cell::default(),
        }
    }

    /// Drops the semaphore, and fills its memory, which may be free now, with a number.
    fn reuse_memory(&self, number: u32) {
        drop(self.semaphore.take());
        let fill = |size| {
            let mut block = procession_engine::family().unwrap().alloc(size).unwrap();
            block
                .chunks_exact_mut(4)
                .for_each(|word| word.copy_from_slice(&number.to_ne_bytes()));
            block
        };
        let sizes = (6..=12).map(|power| 1 << power);
        self.reused.set(
            sizes
                .flat_map(|size| (0..8).map(move |_| fill(size)))
                .collect(),
        );
    }

    fn check_memory(&self, number: u32) {
        for block in self.reused.take() {
            for (place, word) in block.chunks_exact(4).enumerate() {
                let size = block.len();
                assert_eq!(word, number.to_ne_bytes(), "word {place} of {size} bytes");
            }
        }
    }
}

#[test]
fn a_burial_leaves_alone_what_takes_the_place_of_an_object() {
    for dead_one_used_it in [true, false] {
        for number in [|_: &Scene| 0, |scene: &Scene| scene.dead.stamp.raw()] {
            stopped_at_every_step(
                "reclaim while objects are destroyed",
                || Scene::new(dead_one_used_it),
                |scene| {
                    drop(scene.semaphore.take());
                    procession_engine::family()
                        .unwrap()
                        .reclaim(scene.dead.stamp);
                },
                |scene| scene.reuse_memory(number(scene)),
                |scene| scene.check_memory(number(scene)),
            );
        }
    }
}

/// Has a process fork another as `prepare` tells, which is stopped after so many steps of its
/// joining, and dies and is reclaimed; returns the other, and whether it was stopped.
fn orphan_stopped_after(steps: u64, prepare: fn(), at_work: impl Fn()) -> (libc::pid_t, bool) {
    let family = procession_engine::family().unwrap();
    let parent = fork(|| {
        prepare();
        steps::stop_child_after(steps);
        // SAFETY: the child runs `at_work` alone and leaves by `_exit`.
        if unsafe { libc::fork() } == 0 {
            steps::stop_counting();
            at_work();
            let me = family.me();
            let standing = family.member(me).state();
            let lives = (standing.stage, standing.generation) == (Stage::Alive, me.generation());
            // SAFETY: ends the copy without running the test's destructors.
            unsafe { libc::_exit(i32::from(!lives)) };
        }
        steps::stop_counting();
        // SAFETY: waits for a signal, here to be killed.
        unsafe { libc::pause() };
    });
    let (child, was_stopped) = parent.stopped_child();
    parent.kill();
    parent.reclaim();
    (child, was_stopped)
}

/// Lets an orphan go on, and waits until it has ended well.
fn let_end(orphan: libc::pid_t) {
    // SAFETY: ours, since we adopt orphans, and not reaped yet.
    unsafe { libc::kill(orphan, libc::SIGCONT) };
    let mut status = 0;
    // SAFETY: waits for our own child, into our own word.
    let reaped = unsafe { libc::waitpid(orphan, &raw mut status, 0) };
    assert_eq!((reaped, status), (orphan, 0));
}

/// Forks as procession does, and as other code does.
const FORKS: [fn(); 2] = [
    || _ = procession_engine::family().unwrap().prepare_fork().unwrap(),
    nothing,
];

#[test]
fn a_fork_whose_parent_is_buried_while_it_joins_has_all_that_it_inherited() {
    let _alone = alone();
    // SAFETY: orphans become this process's.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
    let family = procession_engine::family().unwrap();
    let before = family.usage();
    for prepare in FORKS {
        for count in 0.. {
            let scene = Scene::new(false);
            let semaphore = scene.semaphore.take().unwrap();
            let (orphan, was_stopped) = orphan_stopped_after(count, prepare, || {
                semaphore.release().unwrap();
                assert_eq!(semaphore.value(), 3);
            });
            // Nobody has it but the orphan, who has not said so yet.
            scene.semaphore.set(Some(semaphore));
            scene.reuse_memory(0);
            let_end(orphan);
            scene.check_memory(0);
            drop(scene);
            family.reclaim_all();
            assert_eq!(family.usage(), before, "after {count} steps");
            if !was_stopped {
                assert!(count > 0, "joining has no steps");
                break;
            }
        }
    }
}

#[test]
fn a_parent_that_dies_when_it_forks_leaves_no_place_for_a_child() {
    for (what, prepare) in ["fork", "fork by other code"].into_iter().zip(FORKS) {
        at_every_step(
            what,
            || Semaphore::create(2, None).unwrap(),
            |_| {
                prepare();
                // SAFETY: the child leaves by `_exit` at once.
                match unsafe { libc::fork() } {
                    // SAFETY: ends the copy without running the test's destructors.
                    0 => unsafe { libc::_exit(0) },
                    // SAFETY: waits for our own child.
                    pid => unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) },
                };
            },
            |_, _| reclaim_the_unborn(),
        );
    }
}

/// Reclaims until no child of a dead parent can come any more: one that was just forked keeps its
/// place until it has ended.
fn reclaim_the_unborn() {
    let family = procession_engine::family().unwrap();
    let patience = watchdog();
    loop {
        family.reclaim_all();
        let mut unborn = 0;
        family.for_each_member(|_, member| unborn += usize::from(member.stage() == Stage::Forking));
        if unborn == 0 {
            return;
        }
        assert!(!patience.has_passed(), "{unborn} children are awaited");
        std::thread::yield_now();
    }
}

#[test]
fn forks_by_other_code_that_are_killed_before_they_join_leave_few_places() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let before = family.usage();
    let parent = fork(|| {
        for _ in 0..40 {
            steps::stop_child_after(0);
            // SAFETY: the child stops before it joins, and is killed.
            let pid = unsafe { libc::fork() };
            steps::stop_counting();
            // SAFETY: our own child, which is not reaped yet.
            assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
            // SAFETY: reaps it.
            assert_eq!(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) }, pid);
        }
        let mut left = 0;
        family.for_each_member(|_, member| left += usize::from(member.stage() == Stage::Forking));
        assert!((1..=16).contains(&left), "{left} places are left");
    });
    parent.join();
    family.reclaim_all();
    assert_eq!(family.usage(), before);
}
