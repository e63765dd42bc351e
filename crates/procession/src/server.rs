//! The fork server of this program.

use procession_engine::process::Child;
use procession_engine::start::{Orders, spawn};

use crate::error::Result;
use crate::init;

pub fn start(orders: Orders<'_>) -> Result<Child> {
    Ok(spawn(&init::program()?, orders)?)
}

pub fn serve() -> ! {
    std::process::exit(1)
}
