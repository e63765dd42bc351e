//! A program without `procession::init()`, under fork.
//!
//! A forked child is a copy of the process as it stands at the start, so it
//! does not run `main` again and needs no line in it that turns it into its
//! task. The other two methods start the program anew and do need one;
//! forgetting it is an error at the first start, never a storm of processes.

use procession::{Process, Result};

/// Says which of the children it is.
fn child(number: u32) {
    println!("child {number} is a copy of the main process");
}

fn main() -> Result<()> {
    println!("this line is reached once");
    let forgotten = Process::new(child).args(0).start();
    assert!(forgotten.is_err_and(|error| error.is_uninitialised()));
    for number in 1..=3 {
        // SAFETY: this process has one thread.
        #[expect(unsafe_code, reason = "fork is unsafe in a process with threads")]
        let child = unsafe { Process::new(child).args(number).start_by_fork()? };
        child.join()?;
    }
    println!("this line is reached once, too");
    Ok(())
}
