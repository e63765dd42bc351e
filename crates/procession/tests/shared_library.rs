//! In a shared library there is no program that could be started anew.

#![expect(unsafe_code, reason = "loads a library")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// As the loader wants it: all at once.
const NOW: c_int = 2;

#[test]
fn a_library_starts_nothing_and_says_why() {
    // Test programs lie in `deps`, beside the folder of the examples.
    let here = std::env::current_exe().unwrap();
    let examples = here.ancestors().nth(2).unwrap().join("examples");
    let path = examples.join("libin_a_library.so");
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: a text that ends; what runs when it is loaded is ours.
    let library = unsafe { dlopen(path.as_ptr(), NOW) };
    assert!(!library.is_null(), "`cargo test` builds {path:?}");
    let name: &CStr = c"is_refused";
    // SAFETY: a library that was loaded, and a text that ends.
    let function = unsafe { dlsym(library, name.as_ptr()) };
    assert!(!function.is_null());
    // SAFETY: that is its type.
    let is_refused: extern "C" fn() -> bool = unsafe { std::mem::transmute(function) };
    assert!(is_refused());
}
