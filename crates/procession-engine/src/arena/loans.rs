//! Handles that are on their way to a process which is yet to start.
//!
//! A handle in a message keeps its object alive by a count in the object's header, its
//! lends, which nobody corrects if the message is lost. Of what a process is started
//! with it is known for whom it is: that process is attached before it exists, as by a
//! fork, so that its burial gives back what it never came to use. Until then, and for
//! as long as a message is being written, the writer's own attachment does.

use std::cell::RefCell;

use crate::arena::family::Family;
use crate::arena::member::Stage;
use crate::arena::object::Object;
use crate::arena::stamp::Stamp;
use crate::primitive::Ordering;

thread_local! {
    /// What was lent since somebody began to collect it.
    static LENT: RefCell<Option<Vec<Object>>> = const { RefCell::new(None) };
}

/// The objects whose handles stand in a message, each as often as it stands there.
///
/// Dropping them is all there is to do if the message is not sent.
#[derive(Debug, Default)]
pub struct Loans(Vec<Object>);

/// Runs `work`, which writes a message, and collects what it lends.
pub fn collect<T>(work: impl FnOnce() -> T) -> (T, Loans) {
    let outer = LENT.replace(Some(Vec::new()));
    let done = work();
    let lent = LENT.replace(outer).unwrap_or_default();
    (done, Loans(lent))
}

/// Collects an object that is being lent; tells whether somebody does collect.
pub(super) fn note(object: &Object) -> bool {
    LENT.with_borrow_mut(|lent| {
        if let Some(lent) = lent {
            lent.push(object.clone());
        }
        lent.is_some()
    })
}

impl Loans {
    /// Leaves the handles to a message that is about to be sent, to whomever. If it is
    /// part of a larger one, they are collected with those of that.
    pub fn leave(self) {
        for object in self.0 {
            let _ = object.lend();
        }
    }

    /// Adds those of another part of the same message.
    pub fn append(&mut self, mut more: Self) {
        self.0.append(&mut more.0);
    }

    /// Attaches a member that is about to start, and will find the handles in what it
    /// is started with.
    pub(crate) fn hand_to(self, member: Stamp) -> Handed {
        for object in &self.0 {
            object.promise_to(member);
        }
        Handed {
            objects: self.0,
            member,
        }
    }
}

/// What was handed to a member, until it is sure that its burial will give it back.
#[derive(Debug)]
#[must_use = "what is handed to a member that is buried already would stay for ever"]
pub(crate) struct Handed {
    objects: Vec<Object>,
    member: Stamp,
}

impl Handed {
    /// Takes all back if the member was buried before: nobody will do it again.
    pub(crate) fn settle(self, family: &Family) {
        let entry = family.member(self.member);
        let is_buried = entry.generation.load(Ordering::Acquire) != self.member.generation()
            || matches!(entry.stage().0, Stage::Dying | Stage::Dead | Stage::Free);
        if !is_buried {
            return;
        }
        // Waits for whoever is at it.
        family.bury(self.member);
        for object in &self.objects {
            object.view().detach(self.member);
        }
    }
}
