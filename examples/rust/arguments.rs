//! Arguments, and what becomes of them.
//!
//! They reach the function as if it had been called here. They are copies: a
//! change that the child makes to its list is not seen in the parent. Rust has
//! no arguments by name or with defaults; a struct with `Default` is both.

use procession::Process;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Order {
    drink: String,
    cups: u32,
    extras: Vec<String>,
    sugar: bool,
    guests: Vec<String>,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            drink: "tea".into(),
            cups: 1,
            extras: Vec::new(),
            sugar: false,
            guests: Vec::new(),
        }
    }
}

/// Prints an order, and adds a name to its own copy of the guests.
fn take(mut order: Order, last_guest: String) {
    order.guests.push(last_guest);
    let mut parts = vec![format!("{} x {}", order.cups, order.drink)];
    parts.extend(order.extras);
    parts.push(
        if order.sugar {
            "with sugar"
        } else {
            "without sugar"
        }
        .into(),
    );
    println!("{}, for {}", parts.join(", "), order.guests.join(" and "));
}

/// Places one order in a process of its own.
fn run(order: Order) -> procession::Result<()> {
    let child = Process::new(take)
        .args((order, "the cook".into()))
        .start()?;
    child.join()
}

#[procession::main]
fn main() -> procession::Result<()> {
    let guests = vec!["Ada".to_owned(), "Grace".to_owned()];
    run(Order::default())?;
    run(Order {
        cups: 2,
        ..Order::default()
    })?;
    run(Order {
        cups: 2,
        extras: vec!["milk".into(), "lemon".into()],
        ..Order::default()
    })?;
    run(Order {
        drink: "coffee".into(),
        sugar: true,
        ..Order::default()
    })?;
    run(Order {
        drink: "coffee".into(),
        cups: 3,
        extras: vec!["cream".into()],
        sugar: true,
        guests: guests.clone(),
    })?;
    println!("guests in the main process: {}", guests.join(" and "));
    Ok(())
}
