//! A process with a fresh image, by posix_spawn.
//!
//! The child inherits the descriptors in `keep`, at the same numbers, and the
//! standard streams; those that are closed are /dev/null there. All others are closed, those that the program has made
//! inheritable for children of its own included.
//!
//! # Safety
//! The C library's attribute objects are initialised before use and destroyed
//! once; arrays of strings end in a null and outlive the call.

#![expect(unsafe_code, reason = "posix_spawn, which std calls only in part")]

use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result};
use crate::fd::inherited::inheritable;
use crate::fd::streams;
use crate::process::fork::refusal;
use crate::process::guardian::{Guardian, start_aside};
use crate::process::pidfd::PidFd;

/// Starts a prepared program; returns an error number and the process id.
type Run<'a> = &'a mut dyn FnMut() -> (c_int, u32);

/// Says which program to start, and with what.
#[derive(Debug, Default)]
pub struct Spawn<'fd> {
    /// The executable; searched on PATH if it has no slash. A relative path is
    /// taken from `cwd`.
    pub program: PathBuf,
    /// All arguments, the program's own name first.
    pub argv: Vec<OsString>,
    /// The environment; `None` is a copy of this process's.
    pub env: Option<Vec<(OsString, OsString)>>,
    /// The working directory; `None` is this process's.
    pub cwd: Option<PathBuf>,
    /// Descriptors that the child keeps, at the same numbers.
    pub keep: Vec<BorrowedFd<'fd>>,
    /// Whether interrupts from the terminal wait until the child lets them come.
    pub hold_interrupts: bool,
}

impl Spawn<'_> {
    /// Starts the program; the caller is its parent, and reaps it.
    ///
    /// No other signal is blocked in it, and SIGPIPE, which Rust and Python ignore,
    /// does what it does by default. Other ignored signals stay ignored.
    ///
    /// # Errors
    /// `Invalid` when the program or the directory is missing or unusable, or
    /// a text holds a NUL; `Limit` and `OutOfMemory` when the system has no
    /// room for another process.
    ///
    /// # Platform
    /// `cwd` needs glibc 2.29 or newer, else `Unsupported`.
    pub fn start(&self) -> Result<PidFd> {
        let (mut code, mut pid) = (0, 0);
        self.prepared(&mut |run| {
            (code, pid) = run();
            Ok(())
        })?;
        if code != 0 {
            return Err(self.failed(code));
        }
        PidFd::of_child(pid)
    }

    /// As [`start`](Self::start), but until the process is adopted, no wait for any
    /// child of this process reports it.
    ///
    /// # Errors
    /// As [`start`](Self::start), and where a sandbox is in the way.
    pub fn start_aside(&self) -> Result<(PidFd, Guardian)> {
        let (mut code, mut pid) = (0, 0);
        let mut aside = None;
        self.prepared(&mut |run| {
            aside = Some(start_aside(&mut || {
                (code, pid) = run();
                pid
            })?);
            Ok(())
        })?;
        match aside {
            Some(aside) if code == 0 => Ok((PidFd::of_ward(pid)?, aside)),
            _ => Err(self.failed(code)),
        }
    }

    /// Calls `take` with the function that starts the program; that returns an error
    /// number or the new process's id, and allocates nothing.
    fn prepared(&self, take: &mut dyn FnMut(Run<'_>) -> Result<()>) -> Result<()> {
        let program = c_string(self.program.as_os_str(), "the program's path")?;
        let argv = self.arguments()?;
        let env = self.environment()?;
        let actions = self.actions()?;
        let held: &[c_int] = match self.hold_interrupts {
            true => &[libc::SIGINT],
            false => &[],
        };
        let attributes = Attributes::new(held)?;
        let argv_pointers = pointers(&argv);
        let env_pointers = pointers(&env);
        take(&mut || {
            let mut pid = 0;
            // SAFETY: every pointer comes from an owned value above that lives on;
            // both arrays end in a null.
            let code = unsafe {
                libc::posix_spawnp(
                    &raw mut pid,
                    program.as_ptr(),
                    &raw const actions.0,
                    &raw const attributes.0,
                    argv_pointers.as_ptr(),
                    env_pointers.as_ptr(),
                )
            };
            (code, pid.unsigned_abs())
        })
    }

    fn arguments(&self) -> Result<Vec<CString>> {
        self.argv
            .iter()
            .map(|argument| c_string(argument, "an argument"))
            .collect()
    }

    fn environment(&self) -> Result<Vec<CString>> {
        let variable = |(name, value): (&OsStr, &OsStr)| {
            let mut text = name.to_os_string();
            text.push("=");
            text.push(value);
            c_string(&text, "an environment variable")
        };
        match &self.env {
            Some(env) => env
                .iter()
                .map(|(name, value)| variable((name, value)))
                .collect(),
            None => std::env::vars_os()
                .map(|(name, value)| variable((&name, &value)))
                .collect(),
        }
    }

    fn actions(&self) -> Result<FileActions> {
        let mut actions = FileActions::new()?;
        if let Some(cwd) = &self.cwd {
            actions.change_directory(&c_string(cwd.as_os_str(), "the working directory")?)?;
        }
        for number in streams::missing() {
            actions.open_nothing(number)?;
        }
        for fd in &self.keep {
            actions.keep(*fd)?;
        }
        for number in inheritable() {
            if self.keep.iter().all(|fd| fd.as_raw_fd() != number) {
                actions.close(number)?;
            }
        }
        Ok(actions)
    }

    fn failed(&self, code: c_int) -> Error {
        let program = self.program.display();
        let what = format!("start {program}");
        let error = io::Error::from_raw_os_error(code);
        let invalid = |why: String| {
            Error::new(ErrorKind::Invalid, format!("cannot {what}: {why}")).with_errno(code)
        };
        match code {
            libc::ENOENT | libc::ENOTDIR | libc::EACCES => match &self.cwd {
                Some(cwd) if !cwd.is_dir() => {
                    invalid(format!("no such directory to work in: {}", cwd.display()))
                }
                _ if code == libc::EACCES => invalid("it may not be executed".into()),
                _ => invalid("there is no such executable".into()),
            },
            libc::ENOEXEC => invalid("it is no executable for this machine".into()),
            libc::E2BIG => invalid("its arguments and environment are too long".into()),
            libc::EBADF => Error::new(
                ErrorKind::Invalid,
                format!("cannot {what}: a descriptor that it was to keep is closed"),
            ),
            _ => refusal(&what, error),
        }
    }
}

fn c_string(text: &OsStr, what: &str) -> Result<CString> {
    CString::new(text.to_os_string().into_vec()).map_err(|_| {
        let shown = String::from_utf8_lossy(text.as_bytes()).replace('\0', "\\0");
        let message = format!("{what} of the process to start holds a NUL: {shown}");
        Error::new(ErrorKind::Invalid, message)
    })
}

/// Returns the strings' addresses and a null, as exec wants them.
fn pointers(strings: &[CString]) -> Vec<*mut c_char> {
    strings
        .iter()
        .map(|s| s.as_ptr().cast_mut())
        .chain([std::ptr::null_mut()])
        .collect()
}

/// The changes of descriptors and directory that the child makes before exec.
struct FileActions(libc::posix_spawn_file_actions_t);

impl FileActions {
    fn new() -> Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: the object is there to be initialised.
        let code = unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) };
        check(code)?;
        // SAFETY: initialised just above.
        Ok(Self(unsafe { actions.assume_init() }))
    }

    /// Copies a descriptor onto itself: that clears close-on-exec (POSIX 2024;
    /// glibc since 2.29).
    fn keep(&mut self, fd: BorrowedFd<'_>) -> Result<()> {
        let fd = fd.as_raw_fd();
        // SAFETY: the object is initialised.
        let code = unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut self.0, fd, fd) };
        check(code)
    }

    /// Opens /dev/null under a number.
    fn open_nothing(&mut self, number: RawFd) -> Result<()> {
        let path = streams::NOTHING.as_ptr();
        // SAFETY: the object is initialised; the path is copied by the call.
        let code = unsafe {
            libc::posix_spawn_file_actions_addopen(&raw mut self.0, number, path, libc::O_RDWR, 0)
        };
        check(code)
    }

    /// Closes a descriptor, if it is still open by then.
    fn close(&mut self, number: RawFd) -> Result<()> {
        // SAFETY: the object is initialised.
        let code = unsafe { libc::posix_spawn_file_actions_addclose(&raw mut self.0, number) };
        match code {
            // The number is beyond the limit of open files, which was lowered: the C
            // library refuses to name it, so the child cannot close it.
            libc::EBADF => Ok(()),
            code => check(code),
        }
    }

    fn change_directory(&mut self, path: &CStr) -> Result<()> {
        type AddChdir =
            unsafe extern "C" fn(*mut libc::posix_spawn_file_actions_t, *const c_char) -> c_int;
        let name = c"posix_spawn_file_actions_addchdir_np";
        // Looked up, not linked, so that a build on an older system runs here.
        // SAFETY: the name ends in a NUL.
        let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        if symbol.is_null() {
            let message = "a process cannot be started in another directory before glibc 2.29";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        // SAFETY: the C library defines the symbol with this signature.
        let add = unsafe { std::mem::transmute::<*mut libc::c_void, AddChdir>(symbol) };
        // SAFETY: the object is initialised; the path is copied by the call.
        check(unsafe { add(&raw mut self.0, path.as_ptr()) })
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

/// The child's signal mask and handlers.
struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new(blocked: &[c_int]) -> Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the object is there to be initialised.
        check(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: initialised just above.
        let mut attributes = Self(unsafe { attributes.assume_init() });
        let this = &raw mut attributes.0;
        let blocked = signals(blocked);
        // SAFETY: both objects are initialised.
        check(unsafe { libc::posix_spawnattr_setsigmask(this, &raw const blocked) })?;
        let defaults = signals(&[libc::SIGPIPE]);
        // SAFETY: both objects are initialised.
        check(unsafe { libc::posix_spawnattr_setsigdefault(this, &raw const defaults) })?;
        let flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        let flags = libc::c_short::try_from(flags).unwrap_or(0);
        // SAFETY: the object is initialised.
        check(unsafe { libc::posix_spawnattr_setflags(this, flags) })?;
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed once.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

fn signals(members: &[c_int]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the set is there to be initialised; it cannot fail.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialised just above.
    let mut set = unsafe { set.assume_init() };
    for signal in members {
        // SAFETY: the set is initialised.
        unsafe { libc::sigaddset(&raw mut set, *signal) };
    }
    set
}

fn check(code: c_int) -> Result<()> {
    if code == 0 {
        return Ok(());
    }
    let error = io::Error::from_raw_os_error(code);
    Err(Error::os("prepare the start of a process", error))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::os::fd::AsFd as _;

    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;
    use crate::testing::WATCHDOG;

    /// Runs a shell script to its end; returns its exit code and what it wrote
    /// to the descriptor that it knows as `$OUT`.
    fn shell(script: &str, change: impl FnOnce(&mut Spawn<'_>)) -> (i32, String) {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let mut spawn = Spawn {
            program: "/bin/sh".into(),
            argv: ["sh", "-c", script].map(OsString::from).into(),
            env: Some(vec![("OUT".into(), write.as_raw_fd().to_string().into())]),
            keep: vec![write.as_fd()],
            ..Spawn::default()
        };
        change(&mut spawn);
        let process = spawn.start().unwrap();
        drop(spawn);
        drop(write);
        assert!(process.wait(WATCHDOG()).unwrap());
        let code = process.reap().unwrap().unwrap().code();
        let mut text = Vec::new();
        // Children of tests beside this one may hold the write end open.
        let _ = rustix::io::ioctl_fionbio(&read, true);
        let _ = File::from(read).read_to_end(&mut text);
        (code, String::from_utf8(text).unwrap())
    }

    #[test]
    fn the_child_runs_and_its_exit_code_comes_back() {
        assert_eq!(shell("exit 5", |_| ()).0, 5);
        assert_eq!(shell("kill -9 $$", |_| ()).0, -9);
    }

    #[test]
    fn kept_descriptors_are_there_at_the_same_number_and_others_are_not() {
        let (other, _end) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let script = format!(
            "test -e /proc/self/fd/{} && exit 1; echo here >/proc/self/fd/$OUT",
            other.as_raw_fd()
        );
        assert_eq!(shell(&script, |_| ()), (0, "here\n".into()));
    }

    #[test]
    fn what_the_program_has_made_inheritable_is_closed_unless_it_is_kept() {
        let (other, end) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        for fd in [&other, &end] {
            rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()).unwrap();
        }
        let script = format!(
            "test -e /proc/self/fd/{} && exit 1; test -e /proc/self/fd/{} || exit 2",
            other.as_raw_fd(),
            end.as_raw_fd()
        );
        let (code, _) = shell(&script, |spawn| {
            // SAFETY: open until the end of the test.
            let end = unsafe { BorrowedFd::borrow_raw(end.as_raw_fd()) };
            spawn.keep.push(end);
        });
        assert_eq!(code, 0);
    }

    #[test]
    fn the_environment_is_exactly_the_one_given() {
        let script = "echo ${HOME-none} $MINE >/proc/self/fd/$OUT";
        let (_, text) = shell(script, |spawn| {
            let env = spawn.env.as_mut().unwrap();
            env.push(("MINE".into(), "a b".into()));
        });
        assert_eq!(text, "none a b\n");
    }

    #[test]
    fn the_child_works_in_the_directory_given() {
        let (_, text) = shell("pwd >/proc/self/fd/$OUT", |spawn| {
            spawn.cwd = Some("/proc".into())
        });
        assert_eq!(text, "/proc\n");
    }

    #[test]
    fn no_signal_is_blocked_or_ignored_in_the_child() {
        // The test runner ignores SIGPIPE, as every Rust program does.
        let script = "grep -E 'Sig(Blk|Ign)' /proc/self/status >/proc/self/fd/$OUT";
        let (_, text) = shell(script, |spawn| {
            spawn
                .env
                .as_mut()
                .unwrap()
                .push(("PATH".into(), "/bin:/usr/bin".into()));
        });
        let masks: Vec<_> = text
            .lines()
            .filter_map(|line| u64::from_str_radix(line.split_once('\t')?.1, 16).ok())
            .collect();
        assert_eq!(masks[0], 0);
        assert_eq!(masks[1] & 1 << (libc::SIGPIPE - 1), 0);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = |spawn: Spawn<'_>| {
            let error = spawn.start().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            error.to_string()
        };
        let program = |path: &str| Spawn {
            program: path.into(),
            ..Spawn::default()
        };
        assert_eq!(
            error(program("/nowhere/to/be found")),
            "cannot start /nowhere/to/be found: there is no such executable"
        );
        assert_eq!(
            error(program("/proc/self/status")),
            "cannot start /proc/self/status: it may not be executed"
        );
        let lost = Spawn {
            cwd: Some("/nowhere".into()),
            ..program("/bin/sh")
        };
        assert_eq!(
            error(lost),
            "cannot start /bin/sh: no such directory to work in: /nowhere"
        );
        let mut spawn = program("/bin/sh");
        spawn.argv.push("a\0b".into());
        assert_eq!(
            error(spawn),
            "an argument of the process to start holds a NUL: a\\0b"
        );
    }
}
