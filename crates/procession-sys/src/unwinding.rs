//! What happens before the C library unwinds a thread that ends in the middle of its work.
//!
//! glibc's `pthread_exit` unwinds the stack of its thread. Rust's frames do not bear that: their
//! destructors run where nothing may run any more, and whoever catches panics ends the process.
//! Before it leaves the first frame, glibc calls the cleanup handlers that were pushed in frames
//! that are left by then; it tells so by the handler's address. A handler on the heap lies in no
//! frame, and is called before any is left.
//!
//! musl's `pthread_exit` unwinds nothing, so there is nothing to do.
//!
//! # Safety
//! glibc keeps the address of a handler until its thread ends. The handler is freed by the thread's
//! last steps, after which glibc looks at it no more.

#![expect(unsafe_code, reason = "calls of the C library that no crate has")]

/// Calls `before` in this thread if the C library is about to unwind it. A later call has no effect.
///
/// `before` must not panic. If it returns, the thread is unwound.
#[inline]
pub fn before_unwinding(before: fn()) {
    #[cfg(target_env = "gnu")]
    handlers::push(before);
    #[cfg(not(target_env = "gnu"))]
    let _ = before;
}

#[cfg(target_env = "gnu")]
mod handlers {
    use std::cell::OnceCell;
    use std::ffi::{c_int, c_void};
    use std::ptr::null_mut;

    /// `struct _pthread_cleanup_buffer` of glibc's `pthread.h`.
    #[repr(C)]
    struct Handler {
        routine: Option<extern "C" fn(*mut c_void)>,
        argument: *mut c_void,
        cancel_type: c_int,
        previous: *mut Handler,
    }

    unsafe extern "C" {
        fn _pthread_cleanup_push(
            handler: *mut Handler,
            routine: extern "C" fn(*mut c_void),
            argument: *mut c_void,
        );
    }

    /// Owns a handler that glibc knows.
    struct Pushed(*mut Handler);

    impl Drop for Pushed {
        fn drop(&mut self) {
            // SAFETY: it came from a box; see the head of this file.
            drop(unsafe { Box::from_raw(self.0) });
        }
    }

    thread_local! {
        static PUSHED: OnceCell<Pushed> = const { OnceCell::new() };
    }

    #[inline]
    pub fn push(before: fn()) {
        // A thread that has freed its handler runs no more of the program.
        let _ = PUSHED.try_with(|pushed| pushed.get_or_init(|| register(before)).0);
    }

    #[cold]
    fn register(before: fn()) -> Pushed {
        let handler = Box::into_raw(Box::new(Handler {
            routine: None,
            argument: null_mut(),
            cancel_type: 0,
            previous: null_mut(),
        }));
        // SAFETY: the handler stays where it is until the thread has ended.
        unsafe { _pthread_cleanup_push(handler, run, before as *mut c_void) };
        Pushed(handler)
    }

    extern "C" fn run(before: *mut c_void) {
        // SAFETY: `register` made it of a function of this type.
        let before = unsafe { std::mem::transmute::<*mut c_void, fn()>(before) };
        before();
    }
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use std::sync::{Condvar, Mutex};
    use std::thread;

    use super::before_unwinding;

    static CALLED: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

    fn stay() {
        *CALLED.0.lock().unwrap() = true;
        CALLED.1.notify_all();
        loop {
            thread::park();
        }
    }

    #[test]
    fn a_thread_is_stopped_before_its_frames_are_left_and_may_end_without_it() {
        thread::spawn(|| before_unwinding(|| unreachable!("it was not unwound")))
            .join()
            .unwrap();

        /// Would abort the process: no thread can panic in here.
        struct NeverLeft;
        impl Drop for NeverLeft {
            fn drop(&mut self) {
                std::process::abort();
            }
        }
        thread::spawn(|| {
            let _never_left = NeverLeft;
            before_unwinding(stay);
            // SAFETY: nothing is unwound, as `stay` does not return.
            unsafe { libc::pthread_exit(std::ptr::null_mut()) };
        });
        let called = CALLED.0.lock().unwrap();
        drop(CALLED.1.wait_while(called, |called| !*called).unwrap());
    }
}
