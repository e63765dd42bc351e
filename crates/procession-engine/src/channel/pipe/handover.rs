//! A message that goes past the socket, to a receiver that is awake.
//!
//! The [README](../README.md#handing-over) has the protocol, and the races that it survives.

use procession_shm::Stamp;
use procession_sys::primitive::{AtomicU32, AtomicU64, Ordering};

/// Bytes of the longest message that needs no block.
pub const INLINE: usize = 8 * WORDS;

#[cfg(not(loom))]
const WORDS: usize = 56;
#[cfg(loom)]
const WORDS: usize = 1;

/// Set in `state` when the message is there.
const HANDED: u64 = 1;

/// One direction's place for one message.
#[derive(Debug)]
#[cfg_attr(all(test, loom), derive(Default))]
#[repr(C, align(64))]
pub struct Handover {
    /// Twice the time, in nanoseconds of the monotonic clock, until which the receiver takes a
    /// message here; 0 if it does not. [`HANDED`] besides once a message is there.
    state: AtomicU64,
    /// The process that receives here, or nobody.
    receiver: AtomicU32,
    /// Not 0 once the program knows the descriptor that this direction is sent by.
    bare: AtomicU32,
    /// Messages that were sent through the socket; only the sender that has the turn writes it.
    posted: AtomicU64,
    /// Those of them that were received.
    taken: AtomicU64,
    len: AtomicU64,
    /// Where the block lies that the message is in; 0 if it is in `words`.
    block: AtomicU64,
    words: [AtomicU64; WORDS],
}

/// A receiver's offer to take a message past the socket, as a sender sees it.
#[derive(Clone, Copy, Debug)]
pub struct Offer(u64);

/// What is handed over.
#[derive(Debug)]
pub enum Handed<'a> {
    /// The message.
    Bytes(&'a [u8]),
    /// The message lies in the block at this offset, which is on its way, and has so many bytes.
    Block(u64, u64),
}

/// A sender's part; it has the turn.
impl Handover {
    /// Counts a message that is about to be sent through the socket.
    pub fn post(&self) {
        // Release: a receiver that sees it looks into the socket.
        self.posted.store(self.posted() + 1, Ordering::Release);
    }

    /// Takes back the count of a message that was not sent.
    pub fn unpost(&self) {
        self.posted.store(self.posted() - 1, Ordering::Release);
    }

    /// Sends by the socket alone from now on, as bytes that the program sends by the bare
    /// descriptor must not be overtaken.
    pub fn keep_to_socket(&self) {
        if self.bare.load(Ordering::Relaxed) == 0 {
            self.bare.store(1, Ordering::Relaxed);
        }
    }

    /// Returns the offer of a receiver that takes the next message here.
    pub fn offer(&self, now: impl FnOnce() -> u64) -> Option<Offer> {
        // Acquire pairs with the Release of the receiver: it has read what was here before.
        let state = self.state.load(Ordering::Acquire);
        if state == 0
            || state & HANDED != 0
            || self.bare.load(Ordering::Relaxed) != 0
            || self.has_posted()
        {
            return None;
        }
        (now() < state >> 1).then_some(Offer(state))
    }

    /// Hands over a message of bytes; returns false if the receiver has withdrawn its offer.
    #[must_use]
    pub fn hand_bytes(&self, offer: Offer, parts: &[&[u8]]) -> bool {
        let mut bytes = [0; INLINE];
        let mut len = 0;
        for part in parts {
            bytes[len..len + part.len()].copy_from_slice(part);
            len += part.len();
        }
        let (chunks, _) = bytes[..len.next_multiple_of(8)].as_chunks();
        for (word, chunk) in self.words.iter().zip(chunks) {
            word.store(u64::from_ne_bytes(*chunk), Ordering::Relaxed);
        }
        self.hand(offer, 0, len as u64)
    }

    /// Hands over a message in a block that has departed; returns false if the receiver has
    /// withdrawn its offer.
    #[must_use]
    pub fn hand_block(&self, offer: Offer, offset: u64, len: u64) -> bool {
        self.hand(offer, offset, len)
    }

    fn hand(&self, Offer(asked): Offer, block: u64, len: u64) -> bool {
        self.block.store(block, Ordering::Relaxed);
        self.len.store(len, Ordering::Relaxed);
        // Release: a receiver that sees the mark sees the message.
        self.state
            .compare_exchange(asked, asked | HANDED, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }
}

/// A receiver's part.
impl Handover {
    /// Counts a message that was received from the socket.
    pub fn took(&self) {
        // Release pairs with the Acquire in `has_posted`.
        self.taken.fetch_add(1, Ordering::Release);
    }

    /// Tells whether a message is in the socket, or on its way into it.
    pub fn has_posted(&self) -> bool {
        let taken = self.taken.load(Ordering::Acquire);
        self.posted.load(Ordering::Acquire) != taken
    }

    /// Tells whether a message lies here whose receiver has not taken it yet.
    #[inline]
    pub fn is_handed(&self) -> bool {
        self.state.load(Ordering::Acquire) & HANDED != 0
    }

    /// Tells whether there is a message here, or an offer to take one.
    #[inline]
    pub fn is_in_use(&self) -> bool {
        self.state.load(Ordering::Acquire) != 0
    }

    /// Tells whether a message lies here whose receiver has died.
    pub fn has_orphan(&self, is_dead: impl FnOnce(Stamp) -> bool) -> bool {
        self.is_handed() && is_dead(Stamp::from_raw(self.receiver.load(Ordering::Acquire)))
    }

    /// Offers to take a message here until a time. Returns `None` if another thread, or a process
    /// that lives, does so already. What a dead process was handed is handed to this one.
    pub fn ask(
        &self,
        me: Stamp,
        until: u64,
        is_dead: impl FnOnce(Stamp) -> bool,
    ) -> Option<Asking<'_>> {
        let take = |from| {
            self.receiver
                .compare_exchange(from, me.raw(), Ordering::Acquire, Ordering::Acquire)
        };
        if let Err(other) = take(0) {
            let is_free = other != me.raw() && is_dead(Stamp::from_raw(other));
            if !is_free || take(other).is_err() {
                return None;
            }
        }
        let mut asked = until << 1;
        let state = self.state.load(Ordering::Acquire);
        if state & HANDED != 0 {
            asked = state & !HANDED;
        } else if let Err(now) =
            // Release: whoever received here before has read what it was handed. It fails if a
            // sender has answered the offer of a dead receiver just now.
            self.state.compare_exchange(
                state,
                asked,
                Ordering::AcqRel,
                Ordering::Acquire,
            )
        {
            asked = now & !HANDED;
        }
        Some(Asking {
            handover: self,
            asked,
        })
    }

    fn read<T>(&self, take: impl FnOnce(Handed<'_>) -> T) -> T {
        let len = self.len.load(Ordering::Relaxed);
        let block = self.block.load(Ordering::Relaxed);
        if block != 0 {
            return take(Handed::Block(block, len));
        }
        let mut bytes = [0; INLINE];
        let len = INLINE.min(len as usize);
        let (chunks, _) = bytes.as_chunks_mut();
        for (chunk, word) in chunks.iter_mut().zip(&self.words).take(len.div_ceil(8)) {
            *chunk = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        take(Handed::Bytes(&bytes[..len]))
    }

    fn posted(&self) -> u64 {
        self.posted.load(Ordering::Relaxed)
    }
}

/// This thread receives here.
#[derive(Debug)]
#[must_use]
pub struct Asking<'a> {
    handover: &'a Handover,
    asked: u64,
}

impl Asking<'_> {
    /// Tells whether there is something to look for: a message here, or in the socket.
    #[inline]
    pub fn has_news(&self) -> bool {
        self.handover.is_handed() || self.handover.has_posted()
    }

    /// Withdraws the offer. If a message was handed over, calls `take` with it before anybody else
    /// may put one here.
    pub fn finish<T>(self, take: impl FnOnce(Handed<'_>) -> T) -> Option<T> {
        let Self { handover, asked } = self;
        let withdrawn =
            handover
                .state
                .compare_exchange(asked, 0, Ordering::Release, Ordering::Acquire);
        let taken = withdrawn.is_err().then(|| handover.read(take));
        if taken.is_some() {
            // Release: read before a sender writes the next.
            handover.state.store(0, Ordering::Release);
        }
        // Release: the next that receives here finds the state as it was left.
        handover.receiver.store(0, Ordering::Release);
        taken
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn me() -> Stamp {
        Stamp::new(7, 1)
    }

    fn other() -> Stamp {
        Stamp::new(9, 1)
    }

    fn handover() -> Handover {
        // What a new object's memory has.
        Handover {
            state: AtomicU64::new(0),
            receiver: AtomicU32::new(0),
            bare: AtomicU32::new(0),
            posted: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            len: AtomicU64::new(0),
            block: AtomicU64::new(0),
            words: [const { AtomicU64::new(0) }; WORDS],
        }
    }

    fn lives(_: Stamp) -> bool {
        false
    }

    fn bytes(handed: Handed<'_>) -> Vec<u8> {
        match handed {
            Handed::Bytes(bytes) => bytes.to_vec(),
            Handed::Block(..) => panic!("it is in no block"),
        }
    }

    #[test]
    fn what_is_handed_over_is_what_was_sent() {
        let place = handover();
        let long: Vec<u8> = (0..INLINE).map(|at| at as u8).collect();
        for parts in [
            &[][..],
            &[&b"a"[..]],
            &[b"he", b"", b"llo, it is"],
            &[&long],
        ] {
            let asking = place.ask(me(), 100, lives).unwrap();
            assert!(!asking.has_news());
            let offer = place.offer(|| 99).unwrap();
            assert!(place.hand_bytes(offer, parts));
            assert!(asking.has_news());
            assert!(place.offer(|| 99).is_none(), "one message at a time");
            assert_eq!(asking.finish(bytes).unwrap(), parts.concat());
        }
        let asking = place.ask(me(), 100, lives).unwrap();
        let offer = place.offer(|| 99).unwrap();
        assert!(place.hand_block(offer, 64, 5));
        let handed = asking.finish(|handed| matches!(handed, Handed::Block(64, 5)));
        assert_eq!(handed, Some(true));
        assert!(!place.is_handed());
    }

    #[test]
    fn nothing_is_handed_to_one_who_does_not_look() {
        let place = handover();
        assert!(place.offer(|| 0).is_none(), "nobody has asked");
        let asking = place.ask(me(), 100, lives).unwrap();
        assert!(place.offer(|| 100).is_none(), "the time is over");
        let offer = place.offer(|| 99).unwrap();
        assert!(asking.finish(|_| ()).is_none());
        assert!(!place.hand_bytes(offer, &[b"late"]), "it was withdrawn");
        let asking = place.ask(me(), 101, lives).unwrap();
        assert!(!place.hand_bytes(offer, &[b"late"]), "it is another offer");
        assert!(asking.finish(|_| ()).is_none());
    }

    #[test]
    fn nothing_overtakes_what_is_in_the_socket() {
        let place = handover();
        let asking = place.ask(me(), 100, lives).unwrap();
        place.post();
        assert!(place.offer(|| 0).is_none());
        assert!(asking.has_news(), "it is in the socket");
        place.unpost();
        assert!(!asking.has_news());
        assert!(place.offer(|| 0).is_some());
        place.post();
        place.took();
        assert!(place.offer(|| 0).is_some());
        place.keep_to_socket();
        assert!(place.offer(|| 0).is_none());
        assert!(asking.finish(|_| ()).is_none());
    }

    #[test]
    fn one_receives_at_a_time() {
        let place = handover();
        let asking = place.ask(me(), 100, lives).unwrap();
        assert!(place.ask(me(), 100, |_| true).is_none(), "a thread of mine");
        assert!(place.ask(other(), 100, lives).is_none());
        assert!(asking.finish(|_| ()).is_none());
        let asking = place.ask(other(), 100, lives).unwrap();
        assert!(asking.finish(|_| ()).is_none());
    }

    #[test]
    fn the_message_of_a_dead_receiver_is_the_next_ones() {
        let place = handover();
        let _ = place.ask(other(), 100, lives).unwrap();
        assert!(!place.has_orphan(|_| true), "it was handed nothing");
        let offer = place.offer(|| 99).unwrap();
        assert!(place.hand_bytes(offer, &[b"left"]));
        assert!(!place.has_orphan(|_| false), "it will take it itself");
        assert!(place.has_orphan(|dead| dead == other()));
        let asking = place.ask(me(), 200, |dead| dead == other()).unwrap();
        assert_eq!(asking.finish(bytes).unwrap(), b"left");
        assert!(!place.has_orphan(|_| true));
        // One that dies before it is handed anything leaves a place as good as new.
        let _ = place.ask(other(), 300, lives).unwrap();
        let asking = place.ask(me(), 400, |dead| dead == other()).unwrap();
        assert!(place.offer(|| 399).is_some());
        assert!(asking.finish(|_| ()).is_none());
    }
}

#[cfg(all(test, loom))]
mod loom_tests;
