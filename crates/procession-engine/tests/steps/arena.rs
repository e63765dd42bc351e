//! Blocks and objects.

use std::cell::Cell;

use procession_engine::arena::{Block, Family, Object, ObjectKind};

use crate::family::{Relative, fork, killed_after};
use crate::{at_every_step, at_every_step_after};

/// From the least class to several chunks.
const SIZES: [u64; 4] = [1, 5_000, 60_000, 300_000];

fn nothing() {}

/// Allocates a block that its owner's death frees.
fn leak(size: u64) {
    let _ = Block::new(size).unwrap().leak();
}

/// Allocates and frees a block of each size, which takes each lock of the allocator.
fn use_allocator() {
    for size in SIZES {
        drop(Block::new(size).unwrap());
    }
}

#[test]
fn who_allocates() {
    at_every_step(
        "allocate",
        nothing,
        |()| {
            SIZES
                .map(|size| Block::new(size).unwrap().leak())
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
            let block = Block::new(100).unwrap();
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
        |()| drop(Object::create(ObjectKind::Array, 100).unwrap()),
        |(), _| use_allocator(),
    );
}

#[test]
fn who_drops_the_last_of_an_object_that_many_used() {
    at_every_step_after(
        "destroy",
        || {
            let object = Object::create(ObjectKind::Array, 100).unwrap();
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
        || Object::create(ObjectKind::Array, 100).unwrap(),
        |_| {
            let family = Family::get().unwrap();
            let stamp = family.prepare_fork().unwrap();
            family.cancel_fork(stamp);
        },
        |_, _| fork(|| ()).join(),
    );
}

#[test]
fn who_buries() {
    at_every_step(
        "bury",
        || {
            killed_after(|| {
                let object = Object::create(ObjectKind::Array, 1000).unwrap();
                std::mem::forget(object);
                SIZES.into_iter().for_each(leak);
            })
        },
        |dead| Family::get().unwrap().bury(dead.stamp),
        |dead, _| {
            Family::get().unwrap().bury(dead.stamp);
            use_allocator();
        },
    );
}
