//! Changing this process's environment.
//!
//! # Safety
//! No other thread runs that might read it meanwhile: they are counted.

#![expect(unsafe_code, reason = "set_var")]
#![expect(
    clippy::disallowed_methods,
    reason = "the place where it is looked after"
)]

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use crate::error::{Error, ErrorKind, Result};
use crate::procfs::status::thread_ids;

/// Tells whether variables could be in an environment.
///
/// # Errors
/// `Invalid` for a name that is empty or holds `=`, and where there is a NUL.
pub fn check<'a>(variables: impl IntoIterator<Item = &'a (OsString, OsString)>) -> Result<()> {
    for (name, value) in variables {
        let bytes = name.as_bytes();
        if bytes.is_empty() || bytes.contains(&b'=') || bytes.contains(&0) {
            let message = format!("{name:?} cannot be the name of an environment variable");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        if value.as_bytes().contains(&0) {
            let message = format!("the environment variable {name:?} cannot hold a NUL");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
    }
    Ok(())
}

/// Sets variables of this process's environment, which were checked.
///
/// # Errors
/// `Unsupported` when other threads run, which might read it meanwhile.
pub fn set(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<()> {
    let mut variables = variables.into_iter().peekable();
    if variables.peek().is_none() {
        return Ok(());
    }
    if thread_ids(std::process::id()).len() != 1 {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the environment cannot be changed while other threads run",
        ));
    }
    for (name, value) in variables {
        // SAFETY: there is no other thread, counted above; only this one could
        // start any.
        unsafe { std::env::set_var(name, value) };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{WATCHDOG, child};

    #[test]
    fn a_variable_is_set_where_there_is_one_thread_and_nowhere_else() {
        let pair = || [(OsString::from("PROCESSION_TEST"), OsString::from("here"))];
        let (process, _release) = child(|_| {
            set(pair()).unwrap();
            i32::from(std::env::var("PROCESSION_TEST").as_deref() != Ok("here"))
        });
        assert!(process.wait(WATCHDOG()).unwrap());
        assert!(process.reap().unwrap().unwrap().is_success());
        // The harness has a thread of its own for this test.
        assert_eq!(set(pair()).unwrap_err().kind(), ErrorKind::Unsupported);
        assert!(set([]).is_ok());
    }
}
