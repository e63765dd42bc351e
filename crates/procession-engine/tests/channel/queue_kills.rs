//! Queues whose users are killed after each number of instructions.

use crate::family::watchdog;
use crate::segments::{LARGE, almost_full_segment, large_item_in_second_segment};
use crate::stepping::{Stepped, killed_after, killed_after_meanwhile};
use crate::{Random, alone};

/// Set to more than [`POINTS`] for a thorough search, best with `--release`:
/// a step takes some ten microseconds.
const POINTS_VARIABLE: &str = "PROCESSION_KILL_POINTS";

/// Instructions after which each test kills, by default.
const POINTS: u64 = 4;

/// About how many instructions a put of [`LARGE`] is, unoptimised.
const PUT: u64 = 12_000;

fn points() -> u64 {
    std::env::var(POINTS_VARIABLE).map_or(POINTS, |points| points.parse().unwrap())
}

/// Runs `round` to the end of its work, and then only up to points on the way.
fn at_many_points(seed: u64, mut round: impl FnMut(u64, &mut Random) -> (Stepped, u64)) {
    let mut random = Random(seed);
    let (stepped, end) = round(u64::MAX, &mut random);
    assert_eq!(stepped, Stepped::Ended);
    assert!(end > 200, "{end} instructions cannot be all");
    for i in 0..points() {
        let section = end / points();
        round(i * section + random.below(section + 1), &mut random);
    }
}

#[test]
fn a_putter_killed_at_any_instruction_has_put_its_item_or_not() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let before = family.usage();
    at_many_points(0x1111, |count, random| {
        let queue = almost_full_segment();
        let put = || queue.put(&[&LARGE], watchdog()).unwrap();
        let (stepped, count, dead) = killed_after(count, put);
        let dead = Some(dead).filter(|_| random.below(2) == 0);
        queue.put(&[b"next"], watchdog()).unwrap();
        for _ in 0..4 {
            assert_eq!(queue.get(watchdog()).unwrap()[0], 1);
        }
        let next = queue.get(watchdog()).unwrap();
        if *next == *b"next" {
            assert_eq!(stepped, Stepped::Killed, "the item is lost");
        } else {
            assert_eq!(*next, LARGE);
            assert_eq!(*queue.get(watchdog()).unwrap(), *b"next");
        }
        assert!(queue.is_empty());
        drop(dead);
        drop((queue, next));
        assert_eq!(family.usage(), before, "after {count} instructions");
        (stepped, count)
    });
}

#[test]
fn a_getter_killed_at_any_instruction_has_its_item_or_leaves_it() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let before = family.usage();
    at_many_points(0x2222, |count, random| {
        let queue = large_item_in_second_segment();
        let get = || drop(queue.get(watchdog()).unwrap());
        let (stepped, count, dead) = killed_after(count, get);
        let dead = Some(dead).filter(|_| random.below(2) == 0);
        let left = queue.try_get().unwrap();
        match &left {
            Some(item) => {
                assert_eq!(stepped, Stepped::Killed, "the item came twice");
                assert_eq!(**item, LARGE);
            }
            None => assert!(count > 200, "the item is lost"),
        }
        assert!(queue.is_empty());
        drop(dead);
        drop((queue, left));
        assert_eq!(family.usage(), before, "after {count} instructions");
        (stepped, count)
    });
}

#[test]
fn whoever_repairs_may_be_killed_at_any_instruction_too() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let before = family.usage();
    let mut random = Random(0x3333);
    for _ in 0..points() {
        let queue = almost_full_segment();
        let mut dead = Vec::new();
        for _ in 0..4 {
            let count = random.below(PUT);
            let putting = random.below(2) == 0;
            let (_, _, relative) = killed_after(count, || {
                if putting {
                    queue.put(&[&LARGE], watchdog()).unwrap();
                } else {
                    drop(queue.get(watchdog()).unwrap());
                }
            });
            dead.push(relative);
        }
        if random.below(2) == 0 {
            // Destroys it with all that the dead left, in their burials.
            drop(queue);
        } else {
            queue.put(&[b"next"], watchdog()).unwrap();
            while *queue.get(watchdog()).unwrap() != *b"next" {}
            drop(queue);
        }
        drop(dead);
        assert_eq!(family.usage(), before);
    }
}

#[test]
fn whoever_destroys_a_queue_may_be_killed_at_any_instruction() {
    let _alone = alone();
    let family = procession_engine::family().unwrap();
    let before = family.usage();
    at_many_points(0x4444, |count, _| {
        let queue = almost_full_segment();
        queue.put(&[&LARGE], watchdog()).unwrap();
        // The child is the last that has it, or its reclaim is.
        let last = std::cell::Cell::new(Some(queue));
        let (stepped, count, dead) =
            killed_after_meanwhile(count, || drop(last.take()), || drop(last.take()));
        drop(dead);
        assert_eq!(family.usage(), before, "after {count} instructions");
        (stepped, count)
    });
}
