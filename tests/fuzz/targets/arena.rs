//! Any words in the shared memory of a family that `ps` and `top` look at.

#![no_main]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use procession::{Barrier, Lock, Pool, Queue};
use procession_engine::observe::Observer;
use rustix::fs::{MemfdFlags, SeekFrom, memfd_create, seek};

/// The memory of a family of this process, of which copies are made.
struct Template {
    size: u64,
    /// What is not zero: where it is, and what.
    pages: Vec<(u64, Vec<u8>)>,
    words: u64,
}

const PAGE: usize = 4096;

fn twice(number: u64) -> u64 {
    2 * number
}

impl Template {
    fn of_this_process() -> Self {
        procession::init_in_library();
        let lock = Lock::new().unwrap();
        let _held = lock.lock().unwrap();
        let _barrier = Barrier::new(2).unwrap();
        let queue = Queue::new().unwrap();
        queue.put(&1).unwrap();
        let pool = Pool::new(1).unwrap();
        assert_eq!(pool.map(twice, [1, 2]).unwrap(), [2, 4]);
        let file = own_memory();
        let size = file.metadata().unwrap().len();
        let mut pages = Vec::new();
        let mut at = 0;
        // Where there is data, in pages.
        while let Ok(data) = seek(&file, SeekFrom::Data(at)) {
            let hole = seek(&file, SeekFrom::Hole(data)).unwrap();
            for place in (data..hole).step_by(PAGE) {
                let mut bytes = vec![0; PAGE];
                file.read_exact_at(&mut bytes, place).unwrap();
                if bytes.iter().any(|&byte| byte != 0) {
                    pages.push((place, bytes));
                }
            }
            at = hole;
        }
        pool.terminate();
        let words = (pages.len() * PAGE / 8) as u64;
        Self { size, pages, words }
    }

    /// Returns a copy in which some words are others.
    fn changed(&self, changes: &[(u32, u64)]) -> File {
        let file = File::from(memfd_create("copy", MemfdFlags::CLOEXEC).unwrap());
        file.set_len(self.size).unwrap();
        for (at, bytes) in &self.pages {
            file.write_all_at(bytes, *at).unwrap();
        }
        for (which, word) in changes {
            let which = u64::from(*which) % self.words;
            let (at, _) = self.pages[(which as usize * 8) / PAGE];
            let place = at + which * 8 % PAGE as u64;
            file.write_all_at(&word.to_le_bytes(), place).unwrap();
        }
        file
    }
}

fn own_memory() -> File {
    let entries = fs::read_dir("/proc/self/fd").unwrap();
    let mut paths = entries.flatten().map(|entry| entry.path());
    let path = paths.find(|path| {
        fs::read_link(path).is_ok_and(|link| link.to_string_lossy().contains("memfd:procession"))
    });
    File::open(path.unwrap()).unwrap()
}

static TEMPLATE: OnceLock<Template> = OnceLock::new();

fuzz_target!(|input: (Option<u32>, Vec<(u32, u64)>)| {
    let (size, changes) = input;
    let file = TEMPLATE
        .get_or_init(Template::of_this_process)
        .changed(&changes);
    if let Some(size) = size {
        file.set_len(size.into()).unwrap();
    }
    if let Ok(observer) = Observer::of_fd(file.into()) {
        let view = observer.look();
        assert!(view.members.len() < 100_000);
    }
});
