//! Loom models of the allocators, with a death at each step.
//!
//! Here chunks have two or four blocks, and neither memory nor empty spans are kept
//! for later, so that the rarer paths are taken, too. A model fails when memory is used that
//! is not backed, or by two members at a time, or as a block of the wrong class.

use std::ops::Range;
use std::sync::Mutex;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicBool;
use loom::thread;

use super::*;
use crate::alloc::blocks::{self, WordLocation};
use crate::alloc::layout::CHUNK;
use crate::alloc::spans::{CLASSES, Hints};
use crate::alloc::state_word::{StateWord, Use};
use crate::alloc::{runs, spans};
use crate::lock::raw_lock::Liveness;
use crate::member::reclaim;
use crate::member::stamp::Stamp;
use procession_sys::primitive::Ordering;
use procession_sys::primitive::model::{at_each_step, dies_after, end_slices, step};

const CHUNKS: usize = 4;

/// The classes of blocks of which a chunk has two, and four.
const WIDE: usize = CLASSES - 1;
const NARROW: usize = CLASSES - 2;

/// Narrow blocks in a chunk; a wide one is as large as two of them.
const BLOCKS: usize = 4;

/// A family of which one member may die.
#[derive(Default)]
struct Relatives(AtomicBool);

impl Liveness for Relatives {
    fn is_dead(&self, stamp: Stamp) -> bool {
        stamp == mortal() && self.0.load(Ordering::SeqCst)
    }
}

/// A store of a few words.
struct ModelStore {
    header: ArenaHeader,
    chunk_words: [AtomicU64; CHUNKS],
    chunk_flags: [AtomicU32; CHUNKS],
    block_words: [[AtomicU64; BLOCKS]; CHUNKS],
    /// Which chunks have memory. A mutex will do: the kernel's state needs no model.
    memory: Mutex<[bool; CHUNKS]>,
    /// The blocks' bytes, which loom watches for races.
    bytes: [[UnsafeCell<()>; BLOCKS]; CHUNKS],
    relatives: Relatives,
}

impl BackingStore for ModelStore {
    fn layout(&self) -> Layout {
        let chunks = CHUNKS as u64;
        Layout { chunks }
    }

    fn header(&self) -> &ArenaHeader {
        &self.header
    }

    fn chunk_word(&self, chunk: u64) -> &AtomicU64 {
        &self.chunk_words[chunk as usize]
    }

    fn chunk_flags(&self, chunk: u64) -> &AtomicU32 {
        &self.chunk_flags[chunk as usize]
    }

    fn block_word(&self, chunk: u64, index: u64) -> &AtomicU64 {
        &self.block_words[chunk as usize][index as usize]
    }

    fn commit_table(&self, _offset: u64, _len: u64) -> Result<()> {
        Ok(())
    }

    fn back(&self, first: u64, count: u64) -> Result<()> {
        self.set_memory(first, count, true);
        Ok(())
    }

    fn unback(&self, first: u64, count: u64) -> Result<()> {
        self.set_memory(first, count, false);
        Ok(())
    }
}

fn mortal() -> Stamp {
    Stamp::new(9, 1)
}

fn reclaimer() -> Stamp {
    Stamp::new(1, 1)
}

fn other() -> Stamp {
    Stamp::new(2, 1)
}

impl ModelStore {
    fn new() -> Arc<Self> {
        let books = Self {
            header: ArenaHeader::default(),
            chunk_words: Default::default(),
            chunk_flags: Default::default(),
            block_words: Default::default(),
            memory: Mutex::default(),
            bytes: std::array::from_fn(|_| std::array::from_fn(|_| UnsafeCell::new(()))),
            relatives: Relatives::default(),
        };
        books.header.limit.store(1 << 40, Ordering::Relaxed);
        Arc::new(books)
    }

    fn set_memory(&self, first: u64, count: u64, there: bool) {
        step();
        let (first, end) = (first as usize, (first + count) as usize);
        self.memory.lock().unwrap()[first..end].fill(there);
    }

    /// Writes to all of a chunk from a narrow block on up to another.
    fn touch(&self, chunk: u64, blocks: Range<usize>) {
        assert!(
            self.memory.lock().unwrap()[chunk as usize],
            "there is no memory behind chunk {chunk}"
        );
        for bytes in &self.bytes[chunk as usize][blocks] {
            bytes.with_mut(|_| ());
        }
    }

    fn alloc(&self, me: Stamp, class: usize, hints: &mut Hints) -> (u64, u64) {
        let (chunk, index) = spans::alloc(self, &self.relatives, me, class, hints).unwrap();
        assert_eq!(
            spans::class_at(self, chunk),
            class,
            "a block of another span was taken for one of ours"
        );
        let each = 1 << (class - NARROW);
        let first = index as usize * each;
        self.touch(chunk, first..first + each);
        (chunk, index)
    }

    fn alloc_small(&self, me: Stamp) -> (u64, u64) {
        self.alloc(me, WIDE, &mut Hints::default())
    }

    fn free(&self, me: Stamp, (chunk, index): (u64, u64), hints: &mut Hints) {
        spans::free(self, &self.relatives, me, chunk, index, hints);
    }

    fn free_small(&self, me: Stamp, block: (u64, u64)) {
        self.free(me, block, &mut Hints::default());
    }

    fn use_small(&self, me: Stamp) {
        let block = self.alloc_small(me);
        self.free_small(me, block);
    }

    fn use_narrow(&self, me: Stamp) {
        let block = self.alloc(me, NARROW, &mut Hints::default());
        self.free_small(me, block);
    }

    fn alloc_run(&self, me: Stamp) -> u64 {
        let chunk = runs::alloc(self, &self.relatives, me, 1).unwrap();
        self.touch(chunk, 0..BLOCKS);
        chunk
    }

    fn use_run(&self, me: Stamp) {
        let chunk = self.alloc_run(me);
        runs::free(self, chunk);
    }

    fn offset_of(&self, (chunk, index): (u64, u64), class: usize) -> u64 {
        self.layout().data() + chunk * CHUNK + index * spans::size_of(class)
    }

    /// Holds the object at an offset, if there is one and nobody else does.
    fn holds(&self, me: Stamp, at: u64) -> bool {
        blocks::find(self, at).is_ok_and(|found| {
            found.word.object && found.word.owner == 0 && blocks::hold_object(self, &found, me)
        })
    }

    /// Dies before a step of some work; tells whether it did.
    fn dies(&self, steps: u32, work: impl FnOnce(&Self, Stamp)) -> bool {
        let done = dies_after(steps, || work(self, mortal()));
        self.relatives.0.store(true, Ordering::SeqCst);
        done.is_none()
    }

    /// Frees what the dead member held, as reclaim does.
    fn sweep(&self, me: Stamp) {
        for offset in reclaim::held_by(self, mortal()) {
            if blocks::change_owner(self, offset, mortal(), me).is_ok() {
                match blocks::find(self, offset).unwrap().place {
                    WordLocation::Run(chunk) => runs::free(self, chunk),
                    WordLocation::Small(chunk, index) => self.free_small(me, (chunk, index)),
                }
            }
        }
        reclaim::recount(self);
    }

    /// Asserts that everything is free, and can be allocated again.
    fn assert_whole(&self) {
        // The next owner of the chunk lock finishes what the dead member has begun.
        spans::locked(self, &self.relatives, reclaimer(), || ());
        assert_eq!(self.header.chunk_lock.holder(), None);
        let mut taken = 0;
        reclaim::for_each_block(self, |_, _, _| taken += 1);
        assert_eq!(taken, 0, "a block was lost");
        for (word, blocks) in self.chunk_words.iter().zip(&self.block_words) {
            let word = StateWord::unpack(word.load(Ordering::Relaxed));
            if word.usage == Use::Span {
                let count = CHUNK / spans::size_of(word.size as usize);
                let is_retired = |block: &AtomicU64| {
                    StateWord::unpack(block.load(Ordering::Relaxed)).usage == Use::Retired
                };
                assert!(!blocks[..count as usize].iter().any(is_retired));
            }
        }
        let small: Vec<_> = (0..3).map(|_| self.alloc_small(reclaimer())).collect();
        let run = self.alloc_run(reclaimer());
        small
            .into_iter()
            .for_each(|at| self.free_small(reclaimer(), at));
        runs::free(self, run);
    }
}

fn model(preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(run);
}

fn spawn<T: 'static>(
    books: &Arc<ModelStore>,
    run: impl FnOnce(&ModelStore) -> T + 'static,
) -> thread::JoinHandle<T> {
    let books = Arc::clone(books);
    thread::spawn(move || run(&books))
}

/// Runs two members at once, which start with different hints.
fn at_once(first: fn(&ModelStore, Stamp), second: fn(&ModelStore, Stamp)) {
    model(2, move || {
        let books = ModelStore::new();
        let theirs = spawn(&books, move |books| second(books, other()));
        first(&books, reclaimer());
        theirs.join().unwrap();
        books.assert_whole();
    });
}

/// Runs a member that dies, at each of its steps, while another works.
fn death_beside(dying: fn(&ModelStore, Stamp), work: fn(&ModelStore, Stamp)) {
    at_each_step(1, move |steps| {
        end_slices();
        let books = ModelStore::new();
        let dies = spawn(&books, move |books| books.dies(steps, dying));
        work(&books, reclaimer());
        let died = dies.join().unwrap();
        books.sweep(reclaimer());
        books.assert_whole();
        died
    });
}

/// Reclaims a member that has died, at each of its steps, while another works.
fn reclaim_beside(dying: fn(&ModelStore, Stamp), work: fn(&ModelStore, Stamp)) {
    at_each_step(2, move |steps| {
        end_slices();
        let books = ModelStore::new();
        let died = books.dies(steps, dying);
        let works = spawn(&books, move |books| work(books, other()));
        books.sweep(reclaimer());
        works.join().unwrap();
        books.assert_whole();
        died
    });
}

#[test]
fn loom_no_block_is_had_by_two() {
    at_once(ModelStore::use_small, ModelStore::use_small);
    at_once(ModelStore::use_small, ModelStore::use_run);
    at_once(ModelStore::use_run, ModelStore::use_run);
}

/// Gives a span back, and uses its chunk anew, while another member looks for a block in it.
fn remade_beside_a_search(anew: fn(&ModelStore, Stamp)) {
    model(2, move || {
        let books = ModelStore::new();
        let block = books.alloc_small(reclaimer());
        let works = spawn(&books, |books| books.use_small(other()));
        books.free_small(reclaimer(), block);
        anew(&books, reclaimer());
        works.join().unwrap();
        books.assert_whole();
    });
}

/// Does the same in a member that dies, at each of its steps, while another remembers a
/// block that was free there.
fn remade_by_the_dying(anew: fn(&ModelStore, Stamp)) {
    at_each_step(1, move |steps| {
        end_slices();
        let books = ModelStore::new();
        let last = books.alloc_small(mortal());
        let hints = &mut Hints::default();
        let remembered = books.alloc(reclaimer(), WIDE, hints);
        books.free(reclaimer(), remembered, hints);
        let dies = spawn(&books, move |books| {
            books.dies(steps, |books, me| {
                books.free_small(me, last);
                anew(books, me);
            })
        });
        let block = books.alloc(reclaimer(), WIDE, hints);
        books.free(reclaimer(), block, hints);
        let died = dies.join().unwrap();
        books.sweep(reclaimer());
        books.assert_whole();
        died
    });
}

#[test]
fn loom_a_block_of_another_span_is_not_mistaken() {
    remade_beside_a_search(|_, _| ());
    remade_beside_a_search(ModelStore::use_narrow);
}

#[test]
fn loom_a_block_that_is_remembered_is_not_mistaken() {
    remade_by_the_dying(ModelStore::use_small);
    remade_by_the_dying(ModelStore::use_narrow);
    remade_by_the_dying(ModelStore::use_run);
}

#[test]
fn loom_an_object_that_was_held_can_be_let_go_of() {
    model(3, || {
        let books = ModelStore::new();
        // It lies in the second wide block. It is destroyed, and another is made in the
        // second narrow one, elsewhere, while somebody looks for it by a stale handle.
        let wide = [(); 2].map(|()| books.alloc_small(reclaimer()));
        let at = books.offset_of(wide[1], WIDE);
        blocks::publish_object(&*books, at);
        let looks = spawn(&books, move |books| {
            if books.holds(other(), at) {
                blocks::change_owner(books, at, other(), Stamp::NOBODY)
                    .expect("an object in another span was held");
            }
        });
        if books.holds(reclaimer(), at) {
            wide.iter()
                .for_each(|&block| books.free_small(reclaimer(), block));
            let narrow = [(); 2].map(|()| books.alloc(reclaimer(), NARROW, &mut Hints::default()));
            blocks::publish_object(&*books, books.offset_of(narrow[1], NARROW));
        }
        looks.join().unwrap();
    });
}

#[test]
fn loom_a_death_among_small_blocks_costs_nothing() {
    death_beside(ModelStore::use_small, ModelStore::use_small);
    death_beside(ModelStore::use_narrow, ModelStore::use_small);
}

#[test]
fn loom_a_death_among_runs_costs_nothing() {
    death_beside(ModelStore::use_run, ModelStore::use_run);
}

#[test]
fn loom_reclaim_disturbs_nobody_who_uses_small_blocks() {
    reclaim_beside(ModelStore::use_small, ModelStore::use_small);
    reclaim_beside(ModelStore::use_narrow, ModelStore::use_small);
}

#[test]
fn loom_reclaim_disturbs_nobody_who_uses_runs() {
    reclaim_beside(ModelStore::use_small, ModelStore::use_run);
    reclaim_beside(ModelStore::use_run, ModelStore::use_run);
}

#[test]
fn loom_a_change_of_owner_is_made_by_one() {
    model(3, || {
        let books = ModelStore::new();
        let (chunk, index) = books.alloc_small(mortal());
        books.relatives.0.store(true, Ordering::SeqCst);
        let at = books.offset_of((chunk, index), WIDE);
        let theirs = spawn(&books, move |books| {
            blocks::change_owner(books, at, mortal(), other()).is_ok()
        });
        let ours = blocks::change_owner(&*books, at, mortal(), reclaimer()).is_ok();
        if ours {
            books.touch(chunk, 0..2);
        }
        assert!(ours != theirs.join().unwrap());
    });
}
