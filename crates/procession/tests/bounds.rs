//! What the workers of a pool may use, and where they are.

mod watchdog;

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use procession::{Barrier, Pool, Queue, StartMethod, current_process};
use rustix::process::{Resource, Rlimit, setrlimit};
use watchdog::watch;

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

/// Long enough for a slow machine, short enough for a watchdog.
const SOON: Duration = Duration::from_secs(60);

const MEBIBYTE: usize = 1 << 20;

/// More than a worker has by itself.
const LIMIT: u64 = 256 << 20;

/// Has so much memory for a while.
fn uses(mebibytes: usize) -> usize {
    std::hint::black_box(vec![1_u8; mebibytes * MEBIBYTE]).len() / MEBIBYTE
}

#[procession::test]
fn a_task_that_needs_too_much_memory_fails_alone_and_is_named() {
    let _watchdog = watch();
    for method in METHODS {
        let builder = Pool::builder().workers(2).start_method(method);
        let pool = builder.memory_limit(LIMIT).start().unwrap();
        let results: Vec<_> = pool.imap(uses, [1, 1024, 2]).collect();
        let [Ok(1), Err(error), Ok(2)] = &results[..] else {
            panic!("{results:?}");
        };
        assert!(error.is_out_of_memory() && error.is_died(), "{error}");
        assert_eq!(error.memory_limit(), Some(LIMIT));
        let text = error.to_string();
        assert!(
            text.contains("uses") && text.contains("268435456 bytes"),
            "{text}"
        );
        assert_eq!(pool.apply(uses, 10).unwrap(), 10);
    }
}

#[procession::test]
fn other_deaths_are_not_blamed_on_the_limit() {
    let _watchdog = watch();
    let pool = Pool::builder()
        .workers(1)
        .memory_limit(LIMIT)
        .start()
        .unwrap();
    let error = pool
        .apply(|| -> u8 { std::process::abort() }, ())
        .unwrap_err();
    assert!(error.is_died() && !error.is_out_of_memory(), "{error}");
    assert_eq!(error.memory_limit(), None);
}

#[procession::test]
fn a_limit_below_what_a_worker_has_is_an_error_at_once() {
    let _watchdog = watch();
    let pool = Pool::builder()
        .workers(1)
        .memory_limit(4096)
        .start()
        .unwrap();
    let error = pool.apply(uses, 1).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("more than the 4096 that it may have"),
        "{error}"
    );
}

static HOARD: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Keeps so much more memory.
fn grows(mebibytes: usize) -> u32 {
    HOARD.lock().unwrap().push(vec![1; mebibytes * MEBIBYTE]);
    std::process::id()
}

#[procession::test]
fn a_worker_that_has_grown_is_replaced_between_tasks() {
    let _watchdog = watch();
    for method in METHODS {
        let builder = Pool::builder().workers(1).start_method(method);
        let pool = builder.max_memory_per_worker(LIMIT).start().unwrap();
        let first = pool.apply(grows, 1).unwrap();
        assert_eq!(pool.apply(grows, 1).unwrap(), first);
        assert_eq!(pool.apply(grows, 300).unwrap(), first);
        assert_ne!(pool.apply(grows, 1).unwrap(), first);
    }
}

fn meets(barrier: Barrier) -> (Option<u32>, Option<String>) {
    barrier.wait_timeout(SOON).unwrap();
    let place = std::env::var("PROCESSION_TEST_PLACE").ok();
    (current_process().worker_index(), place)
}

#[procession::test]
fn each_worker_has_a_place_and_an_environment_of_its_own() {
    let _watchdog = watch();
    for method in METHODS {
        let pool = Pool::builder()
            .workers(3)
            .start_method(method)
            .env(|index| [("PROCESSION_TEST_PLACE", format!("place {index}"))])
            .start()
            .unwrap();
        let barrier = Barrier::new(3).unwrap();
        let found = pool.map(meets, vec![barrier; 3]).unwrap();
        let found: BTreeSet<_> = found.into_iter().collect();
        let expected = (0..3).map(|index| (Some(index), Some(format!("place {index}"))));
        assert_eq!(found, expected.collect());
    }
    assert_eq!(current_process().worker_index(), None);
    assert!(std::env::var_os("PROCESSION_TEST_PLACE").is_none());
}

#[procession::test]
fn workers_run_where_they_are_told() {
    let _watchdog = watch();
    for method in METHODS {
        let builder = Pool::builder().workers(1).start_method(method);
        let pool = builder.affinity(|_| [0]).start().unwrap();
        let cpus = pool.apply(procession::cpu_count, ()).unwrap();
        assert_eq!(cpus.get(), 1);
    }
}

#[procession::test]
fn bounds_that_cannot_be_met_fail_the_tasks_and_say_why() {
    let _watchdog = watch();
    for method in METHODS {
        let builder = || Pool::builder().workers(1).start_method(method);
        let pool = builder().affinity(|_| [100_000]).start().unwrap();
        let error = pool.apply(uses, 1).unwrap_err();
        assert!(
            error.is_invalid() && error.os_error() == Some(22),
            "{error:?}"
        );
        assert!(error.to_string().contains("[100000]"), "{error}");

        let pool = builder().memory_limit(1).start().unwrap();
        let error = pool.apply(uses, 1).unwrap_err();
        assert!(error.is_invalid(), "{error:?}");
        assert!(
            error.to_string().contains("more than the 1 that"),
            "{error}"
        );

        for (name, value) in [("a=b", "c"), ("", "c"), ("a", "b\0")] {
            let pool = builder().env(move |_| [(name, value)]).start();
            let error = pool.unwrap_err();
            assert!(error.is_invalid() && !error.is_codec(), "{error:?}");
        }
    }
}

#[procession::test]
fn worker_keeps_the_limits_that_its_initializer_sets() {
    let _watchdog = watch();
    let limit = |most: u64| {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(Resource::Fsize, limit).unwrap();
        let cores = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        setrlimit(Resource::Core, cores).unwrap();
    };
    let writes = |path: PathBuf, bytes: usize| std::fs::write(path, vec![1; bytes]).is_ok();
    let path = std::env::temp_dir().join(format!("procession-limit-{}", std::process::id()));
    for method in METHODS {
        let builder = Pool::builder().workers(1).start_method(method);
        let pool = builder.initializer(limit, 1000).start().unwrap();
        assert!(pool.apply(writes, (path.clone(), 1000)).unwrap());
        // Rust programs ignore no signal but SIGPIPE: the kernel's for this ends them.
        let error = pool.apply(writes, (path.clone(), 2000)).unwrap_err();
        assert!(error.to_string().contains("SIGXFSZ"), "{error}");
        assert!(pool.apply(writes, (path.clone(), 1000)).unwrap());
    }
    std::fs::remove_file(path).unwrap();
}

#[procession::test]
fn worker_has_no_descriptor_of_its_parent() {
    let _watchdog = watch();
    let path = std::env::temp_dir().join(format!("procession-secret-{}", std::process::id()));
    let secret = std::fs::File::create(&path).unwrap();
    // One that a program which it executes would inherit.
    let inheritable = rustix::io::dup(&secret).unwrap();
    let sees = |path: PathBuf| {
        let all = std::fs::read_dir("/proc/self/fd").unwrap();
        let mut links = all.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        links.any(|link| link == path)
    };
    assert!(sees(path.clone()));
    for method in METHODS {
        let builder = Pool::builder().workers(1).start_method(method);
        let pool = builder.start().unwrap();
        assert!(!pool.apply(sees, path.clone()).unwrap(), "{method:?}");
    }
    drop(inheritable);
    std::fs::remove_file(path).unwrap();
}

/// Returns how many bytes of memory the family's file has.
fn backed() -> u64 {
    let mut sizes = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let path = entry.unwrap().path();
        let is_ours = |target: PathBuf| target.to_string_lossy().contains("memfd:procession");
        if std::fs::read_link(&path).is_ok_and(is_ours) {
            sizes.push(std::fs::metadata(&path).unwrap().blocks() * 512);
        }
    }
    sizes.into_iter().max().unwrap()
}

/// Bytes that a family keeps for the next who needs them, and what else it may have.
const KEPT: u64 = (128 + 16) << 20;

#[procession::test]
fn memory_that_a_burst_took_is_given_back() {
    let _watchdog = watch();
    let count = 32;
    let item = || serde_bytes::ByteBuf::from(vec![7; 8 * MEBIBYTE]);
    let queue = Queue::new().unwrap();
    for _ in 0..count {
        queue.put(item()).unwrap();
    }
    assert!(backed() >= (8 * MEBIBYTE * count) as u64);
    for _ in 0..count {
        assert_eq!(queue.get().unwrap(), item());
    }
    assert!(backed() <= KEPT, "{} after the queue", backed());
    let pool = Pool::builder().workers(2).start().unwrap();
    let same = |bytes: serde_bytes::ByteBuf| bytes;
    let results = pool.map(same, (0..count).map(|_| item())).unwrap();
    assert!(results.into_iter().all(|bytes| bytes == item()));
    assert!(backed() <= KEPT, "{} after the map", backed());
    let calls: Vec<_> = (0..count)
        .map(|_| pool.apply_async(same, item()).unwrap())
        .collect();
    for call in calls {
        assert_eq!(call.get().unwrap(), item());
    }
    assert!(backed() <= KEPT, "{} after the calls", backed());
}
