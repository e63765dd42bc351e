//! What a queue keeps in the arena, and what becomes of it when a member dies.

use crate::arena::{Family, Hooks, Stamp, View};
use crate::channel::head::Head;
use crate::channel::parking::Parking;
use crate::channel::tail::Tail;
use crate::primitive::{AtomicU64, Ordering};
use crate::sync::bells::Bells;

/// The two ends, each for its own side to write, and what both rarely change.
#[derive(Debug)]
#[repr(C)]
pub struct Body {
    /// Where items go in.
    pub tail: Tail,
    /// Where items come out.
    pub head: Head,
    /// Those that wait for an item.
    pub items: Parking,
    /// Those that wait for room.
    pub space: Parking,
    /// Those that wait for an item by descriptor.
    pub bells: Bells,
    limit: AtomicU64,
}

impl Body {
    /// Sets up a zeroed one around its first segment, still the caller's own.
    pub fn begin(&self, limit: u64, segment: u64, capacity: u64) {
        self.limit.store(limit, Ordering::Relaxed);
        self.head.begin(segment);
        self.tail.begin(segment, capacity);
    }

    /// Returns how many items there may be; 0 is any number.
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Returns how many items there were at one moment of the call.
    pub fn len(&self) -> u64 {
        loop {
            let taken = self.head.count();
            let put = self.tail.count();
            // No item was taken out in between: both were true at once.
            if self.head.count() == taken {
                return put - taken;
            }
        }
    }

    /// Tells whether there was an item at one moment of the call.
    pub fn has_items(&self) -> bool {
        self.head.count() != self.tail.count()
    }

    /// Tells whether there was room at one moment of the call.
    pub fn has_room(&self) -> bool {
        let limit = self.limit();
        limit == 0 || self.len() < limit
    }

    /// Tells those who wait for items that `count` were put after the first
    /// `before` of all.
    pub fn tell_of_items(&self, family: &Family, before: u64, count: u32) {
        self.items.wake(count);
        // The fence in `wake` lies between our change and these looks. If
        // items are left from before, their bells still ring.
        if self.bells.any() && self.head.count() >= before {
            self.bells.ring(family);
        }
    }
}

/// What the arena calls at the two ends of a queue's life.
pub const HOOKS: Hooks = Hooks {
    on_death,
    on_destroy,
};

fn on_death(view: View<'_>, dead: Stamp) {
    let (body, family) = (view.body::<Body>(), view.family());
    // To take a guard is to set right what a dead holder left. It is taken in
    // any case: who holds it now may have got it from the dead, and be at it.
    drop(body.tail.lock(family));
    drop(body.head.lock(family));
    body.bells.forget(family, dead);
    // The dead may have been woken for what it now never does, or have put
    // what it then told nobody.
    if body.has_items() {
        body.items.wake(1);
        body.bells.ring(family);
    }
    if body.has_room() {
        body.space.wake(1);
    }
}

fn on_destroy(view: View<'_>) {
    let (body, family) = (view.body::<Body>(), view.family());
    loop {
        let mut emptied = None;
        let getting = body.head.lock(family);
        let item = getting.get(&mut emptied, || body.tail.count());
        drop(getting);
        if !matches!(item, Ok(Some(_))) {
            break;
        }
    }
    let getting = body.head.lock(family);
    let segment = getting.take_segment();
    drop(getting);
    drop(segment);
    body.bells.destroy();
}
