//! Runs tests one after the other, and sees that each leaves nothing behind.
//!
//! # Safety
//! `alarm` ends a test that hangs; there are no handlers.

#![expect(unsafe_code, reason = "alarm as a watchdog")]

use std::time::Duration;

use procession_engine::shm::Usage;
use procession_engine::sys::fork_safe::once::ForkOnce;
use procession_engine::sys::wait::time::Deadline;

/// A test's name and what it does; it panics if the promise is broken.
pub type Test = (&'static str, fn());

/// Makes a list of tests from functions.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub const TESTS: &[crate::harness::Test] = &[$((stringify!($name), $name)),*];
    };
}
pub(crate) use tests;

/// Seconds after which a test is ended.
const WATCHDOG: u32 = 60;

/// How long a test waits before it says that something hangs.
pub fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(u64::from(WATCHDOG) / 2))
}

/// What this program had open when it began: its own parent's doing.
pub static AT_FIRST: ForkOnce<Vec<String>> = ForkOnce::new();

/// Runs the tests whose names hold an argument of the program, or all.
pub fn run(lists: &[&[Test]]) {
    AT_FIRST.get_or_init(descriptors);
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    for (name, test) in lists.iter().copied().flatten() {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        eprint!("{name} ... ");
        // SAFETY: the default action of SIGALRM is all that is wanted.
        unsafe { libc::alarm(WATCHDOG) };
        let before = Traces::now();
        test();
        // A process that was killed may not be quite gone yet, or, forked by one that
        // was, not quite there: what is judged is one and the same look.
        let settled = soon();
        let mut now = Traces::now();
        while !now.are_no_more_than(&before) && !settled.has_passed() {
            std::thread::yield_now();
            now = Traces::now();
        }
        now.must_be_no_more_than(&before);
        eprintln!("ok");
    }
}

/// What a test could leave behind.
#[derive(Debug)]
struct Traces {
    usage: Usage,
    members: usize,
    descriptors: Vec<String>,
    children: String,
}

impl Traces {
    fn now() -> Self {
        let family = procession_engine::family().expect("there is a family");
        // Children of killed children have no parent to clear away after them.
        family.reclaim_all();
        let mut members = 0;
        family.for_each_member(|_, _| members += 1);
        let me = std::process::id();
        Self {
            usage: family.usage(),
            members,
            descriptors: descriptors(),
            children: std::fs::read_to_string(format!("/proc/{me}/task/{me}/children"))
                .expect("/proc tells of children"),
        }
    }

    fn are_no_more_than(&self, before: &Self) -> bool {
        self.usage == before.usage
            && self.members <= before.members
            && self.children == before.children
    }

    fn must_be_no_more_than(&self, before: &Self) {
        assert_eq!(self.usage, before.usage, "blocks were left behind");
        assert!(
            self.members <= before.members,
            "{} members were left behind",
            self.members - before.members
        );
        assert_eq!(self.children, before.children, "children were left behind");
        let new: Vec<_> = self
            .descriptors
            .iter()
            .filter(|fd| !before.descriptors.contains(fd))
            // Opened once per process, and kept: the lifeline, the ringer.
            .filter(|fd| !fd.starts_with("pipe:") && !fd.starts_with("socket:"))
            .collect();
        assert!(new.is_empty(), "descriptors were left behind: {new:?}");
        assert!(
            self.descriptors.len() <= before.descriptors.len() + 3,
            "descriptors were left behind: {:?}",
            self.descriptors
        );
    }
}

/// Returns what this process has open.
pub fn descriptors() -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir("/proc/self/fd")
        .expect("/proc tells of descriptors")
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .filter(|target| !target.contains("/proc/"))
        .collect();
    names.sort_unstable();
    names
}
