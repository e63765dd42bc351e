//! Any bytes that another process of the family hands over become a value or an error:
//! never a panic, never unlimited memory.
//!
//! One thing is believed: a process of the same build that sends the address of a function. Bytes
//! that do not name this build are refused before anything is called.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_core::Serialize;

use crate::any_bytes::{self, attach_to_all};
use crate::codec;
use crate::{Barrier, Condition, Event, Lock, Queue, RLock, Semaphore, SharedArray, pipe};

/// Bytes such as a value's: small numbers, long ones, text, and what is none of these.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let number = any::<u64>().prop_map(|number| number.to_le_bytes().to_vec());
    let text = "\\PC{0,8}".prop_map(|text| bytes_of(&text));
    let piece = prop_oneof![
        vec(0..4_u8, 1..4),
        vec(any::<u8>(), 1..8),
        Just(vec![0xff; 9]),
        number,
        text,
    ];
    vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

fn bytes_of<T: Serialize>(value: &T) -> Vec<u8> {
    codec::encode(value, "a test").unwrap().to_vec()
}

/// Objects of all kinds, and the numbers of their handles.
struct Objects {
    _kept: Box<dyn std::any::Any>,
    numbers: Vec<(u64, u64)>,
}

fn objects() -> Objects {
    let kept = (
        Lock::new().unwrap(),
        RLock::new().unwrap(),
        Semaphore::new(2).unwrap(),
        Condition::new().unwrap(),
        Event::new().unwrap(),
        Barrier::new(2).unwrap(),
        Queue::<u32>::new().unwrap(),
        SharedArray::<u64>::from_slice(&[1, 2, 3]).unwrap(),
        pipe::<u32, u32>().unwrap(),
    );
    let all = codec::encode(
        &(
            &kept.0, &kept.1, &kept.2, &kept.3, &kept.4, &kept.5, &kept.6, &kept.7, &kept.8.0,
            &kept.8.1,
        ),
        "objects",
    )
    .unwrap();
    let mut numbers = Vec::new();
    let mut rest = &all[..];
    while let Ok((pair, after)) = codec::decode_first::<(u64, u64)>(rest, "a handle") {
        numbers.push(pair);
        rest = after;
    }
    Objects {
        _kept: Box::new(kept),
        numbers,
    }
}

proptest! {
    #[test]
    fn bytes_are_a_launch_or_an_error(bytes in bytes()) {
        any_bytes::as_a_launch(&bytes);
    }

    #[test]
    fn bytes_are_a_workers_set_up_or_an_error(bytes in bytes()) {
        any_bytes::as_a_set_up(&bytes);
    }

    #[test]
    fn bytes_name_no_function_of_this_build(bytes in bytes()) {
        prop_assert!(!any_bytes::as_a_function(&bytes));
    }

    #[test]
    fn bytes_are_an_outcome_or_an_error(bytes in bytes()) {
        any_bytes::as_an_outcome(&bytes);
    }

    #[test]
    fn numbers_are_the_handle_of_an_object_or_an_error(
        which in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        beside in -70_i64..70,
        wild in any::<(u64, u64)>(),
    ) {
        let objects = objects();
        let (offset, serial) = objects.numbers[which.index(objects.numbers.len())];
        let (_, another) = objects.numbers[other.index(objects.numbers.len())];
        let numbers = |pair: (u64, u64)| bytes_of(&pair);
        attach_to_all(&numbers((offset, serial)));
        for wrong in [
            (offset.wrapping_add_signed(beside), another),
            (offset, wild.1),
            wild,
        ] {
            if wrong != (offset, serial) {
                prop_assert_eq!(attach_to_all(&numbers(wrong)), 0);
            }
        }
    }
}
