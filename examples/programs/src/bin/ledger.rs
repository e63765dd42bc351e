//! A ledger in a process of its own: threads call its methods, one at a time, and what it has is
//! written when it is stopped. A call that panics costs nobody else anything.

use std::collections::BTreeMap;
use std::thread;

use procession::{Actor, Result};

struct Ledger {
    accounts: BTreeMap<String, u64>,
}

impl Ledger {
    fn open(accounts: Vec<(String, u64)>) -> Self {
        let accounts = accounts.into_iter().collect();
        Self { accounts }
    }

    fn transfer(
        &mut self,
        from: String,
        to: String,
        amount: u64,
    ) -> std::result::Result<(), String> {
        let balance = self.accounts.get_mut(&from).ok_or("no such account")?;
        *balance = balance
            .checked_sub(amount)
            .ok_or_else(|| format!("{from} has only {balance}"))?;
        *self.accounts.entry(to).or_default() += amount;
        Ok(())
    }

    fn balance(&self, account: String) -> Option<u64> {
        self.accounts.get(&account).copied()
    }

    fn total(&self) -> u64 {
        self.accounts.values().sum()
    }
}

#[procession::main]
fn main() -> Result<()> {
    let [ada, bob] = ["Ada", "Bob"].map(str::to_owned);
    let ledger = Actor::new(Ledger::open, vec![(ada.clone(), 100), (bob.clone(), 0)])?;

    thread::scope(|scope| {
        let tellers = [(); 4].map(|()| {
            scope.spawn(|| {
                for _ in 0..20 {
                    let moved = ledger.call(Ledger::transfer, (ada.clone(), bob.clone(), 1))?;
                    moved.expect("Ada has enough");
                }
                Ok(())
            })
        });
        tellers
            .into_iter()
            .try_for_each(|teller| teller.join().expect("a teller"))
    })
    .inspect_err(|error: &procession::Error| eprintln!("{error}"))?;

    println!(
        "Ada has {:?}, Bob {:?}",
        ledger.call(Ledger::balance, ada.clone())?,
        ledger.call(Ledger::balance, bob.clone())?
    );
    if let Err(refusal) = ledger.call(Ledger::transfer, (ada, bob, 1000))? {
        println!("refused: {refusal}");
    }
    println!("{} in all", ledger.call(Ledger::total, ())?);
    ledger.stop()
}
