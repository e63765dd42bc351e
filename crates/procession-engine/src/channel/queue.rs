//! A queue from any processes to any others.
//!
//! `README.md` beside this file tells how it survives kills at any instruction. The
//! faces know what a message means.

pub(crate) mod layout;

mod consumer;
mod producer;

mod commit;
mod segment;
mod undo;
mod unfinished;

pub(crate) mod put_error;

use std::sync::Arc;

use crate::channel::message::Message;
use crate::channel::parking::{Parked, Parking};
use crate::channel::queue::layout::QueueLayout;
use crate::channel::queue::producer::{Item, Put};
use crate::channel::queue::put_error::PutError;
use crate::family;
use crate::sync::notify::OwnDoorbell;
use crate::sync::{Armed, AwaitFd, BlockedOn, ReadableFd, attachable};
use procession_shm::{Block, Family, Handle, HandleSource, SharedObject};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::wait::adaptive_spin::AdaptiveSpin;
use procession_sys::wait::time::Deadline;

/// The most items that are moved while a guard is held: other processes want it, too.
const BATCH: usize = 64;

/// Carries messages from any processes to any others, in order.
///
/// Cloning is cheap and gives the same queue. It lives while any process has it. When a
/// process dies, only the items that it has already taken out are lost.
#[derive(Clone, Debug)]
pub struct Queue(Arc<QueueAttachment>);

/// This process's use of a queue.
#[derive(Debug)]
struct QueueAttachment {
    object: SharedObject<QueueLayout>,
    getters: AdaptiveSpin,
    putters: AdaptiveSpin,
    joiners: AdaptiveSpin,
    bell: OwnDoorbell,
}

attachable!(Queue, 0.object);

impl Queue {
    /// Makes a queue that holds up to `maxsize` items; 0 is any number.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub fn create(maxsize: u64) -> Result<Self> {
        let object: SharedObject<QueueLayout> = SharedObject::create(family()?, 0)?;
        let first = object.family().alloc(segment::SIZES[0])?;
        let body = object.body();
        body.begin(maxsize, first.offset(), first.capacity());
        first.disown()?;
        Ok(Self::of(object))
    }

    /// Attaches by a handle that no message has lent.
    pub(crate) fn visit(handle: Handle) -> Result<Self> {
        SharedObject::attach(family()?, handle, &HandleSource::KEPT).map(Self::of)
    }

    fn of(object: SharedObject<QueueLayout>) -> Self {
        Self(Arc::new(QueueAttachment {
            object,
            getters: AdaptiveSpin::new(),
            putters: AdaptiveSpin::new(),
            joiners: AdaptiveSpin::new(),
            bell: OwnDoorbell::default(),
        }))
    }

    /// Returns how many items there may be; 0 is any number.
    #[must_use]
    pub fn maxsize(&self) -> u64 {
        self.body().limit()
    }

    /// Returns how many items there are, exactly, at one moment of the call.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.body().len()
    }

    /// Tells whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.body().has_items()
    }

    /// Tells whether there is no room for another item.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.body().has_room()
    }

    /// Tells whether the queue was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.body().tail.is_closed()
    }

    /// Closes the queue: it takes no more items, and those that it has can still be
    /// got.
    ///
    /// # Errors
    /// When this process could not join its family.
    pub fn close(&self) -> Result<()> {
        let (body, family) = (self.body(), family()?);
        body.tail.lock(family).close();
        body.tell_of_end(family);
        Ok(())
    }

    /// Closes the queue, and throws its items away; tasks among them count as done.
    ///
    /// # Errors
    /// When this process could not join its family.
    pub fn close_now(&self) -> Result<()> {
        self.close()?;
        let (body, family) = (self.body(), family()?);
        body.head.lock(family).cut();
        body.joiners().wake_all();
        body.putting.ring_armed(family);
        loop {
            // Dropped when the guard is free: an object that a message carries may end with the
            // message.
            let mut thrown_away = Vec::with_capacity(BATCH);
            let getting = body.head.lock(family);
            while thrown_away.len() < BATCH {
                let mut emptied = None;
                match getting.take(&mut emptied, || body.tail.count()) {
                    Ok(Some(message)) => thrown_away.push((message, emptied)),
                    Ok(None) | Err(_) => break,
                }
            }
            drop(getting);
            if thrown_away.is_empty() {
                return Ok(());
            }
        }
    }

    #[inline]
    fn body(&self) -> &QueueLayout {
        self.0.object.body()
    }
}

/// Putting.
impl Queue {
    /// Puts one message in, its bytes taken from the parts in turn.
    ///
    /// # Errors
    /// `Full` when there is no room and the deadline has passed already,
    /// `TimedOut` when it passed meanwhile, `Closed`, `Interrupted`,
    /// `OutOfMemory`. The message is not in then.
    pub fn put(&self, parts: &[&[u8]], deadline: Deadline) -> Result<()> {
        let len = parts.iter().map(|part| part.len()).sum();
        if len <= segment::INLINE {
            return self.put_payload(&Item::Inline(parts, len), deadline);
        }
        let block = Block::of(family()?, parts, len as u64)?;
        self.put_payload(&Item::Apart(&block, len as u64), deadline)?;
        let _ = block.leak();
        Ok(())
    }

    /// Puts the first `len` bytes of a block in as a message, uncopied.
    ///
    /// # Errors
    /// As [`Queue::put`], with the block.
    pub fn put_block(
        &self,
        block: Block,
        len: u64,
        deadline: Deadline,
    ) -> std::result::Result<(), PutError> {
        let len = len.min(block.capacity());
        match self.put_payload(&Item::Apart(&block, len), deadline) {
            Ok(()) => {
                let _ = block.leak();
                Ok(())
            }
            Err(error) => Err(PutError { error, block }),
        }
    }

    /// Puts as many of the messages in as there is room for, and waits until there is
    /// room for one; returns how many it has put.
    ///
    /// # Errors
    /// As [`Queue::put`], when none of them is in.
    pub fn put_many(&self, messages: &[&[u8]], deadline: Deadline) -> Result<usize> {
        let mut done = 0;
        for batch in messages.chunks(BATCH) {
            let put = match self.put_batch(batch) {
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
                Ok(put) => put,
            };
            done += put;
            if put < batch.len() {
                break;
            }
        }
        if done == 0
            && let Some(first) = messages.first()
        {
            self.put(&[first], deadline)?;
            done = 1;
        }
        Ok(done)
    }

    fn put_payload(&self, payload: &Item<'_>, deadline: Deadline) -> Result<()> {
        let family = family()?;
        let body = self.body();
        let mut segment = None;
        let mut timed_out = false;
        loop {
            let putting = body.tail.lock(family);
            let before = body.tail.count();
            let put = putting.put(payload, &mut segment, body.limit(), || body.head.count());
            drop(putting);
            match put? {
                Put::Done => {
                    body.tell_of_items(family, before, 1);
                    return Ok(());
                }
                Put::Closed => return Err(self.closed()),
                Put::NeedsSegment(size) => segment = Some(family.alloc(size)?),
                Put::Full if timed_out => {
                    return Err(self.error(
                        ErrorKind::TimedOut,
                        &format!("had {} until the deadline", self.no_room()),
                    ));
                }
                Put::Full => {
                    let room = || body.has_room() || body.tail.is_closed();
                    let spin = &self.0.putters;
                    match self.wait(family, &body.space, spin, room, deadline)? {
                        Waited::Look => {}
                        Waited::TimedOut => timed_out = true,
                        Waited::NotAtAll => {
                            return Err(self.error(
                                ErrorKind::Full,
                                &format!("is full: it has {}", self.no_room()),
                            ));
                        }
                    }
                }
            }
        }
    }

    /// Puts as many in as there is room for, without waiting.
    fn put_batch(&self, messages: &[&[u8]]) -> Result<usize> {
        let family = family()?;
        let body = self.body();
        let mut blocks = Vec::new();
        for message in messages {
            let apart = message.len() > segment::INLINE;
            blocks.push(if apart {
                Some(Block::of(family, &[message], message.len() as u64)?)
            } else {
                None
            });
        }
        let mut segment = None;
        let mut done = 0;
        loop {
            let putting = body.tail.lock(family);
            let before = body.tail.count();
            let begun = done;
            let mut outcome = Ok(Put::Done);
            while done < messages.len() && matches!(outcome, Ok(Put::Done)) {
                let parts = [messages[done]];
                let payload = match &blocks[done] {
                    Some(block) => Item::Apart(block, messages[done].len() as u64),
                    None => Item::Inline(&parts, messages[done].len()),
                };
                outcome = putting.put(&payload, &mut segment, body.limit(), || body.head.count());
                if matches!(outcome, Ok(Put::Done)) {
                    if let Some(block) = blocks[done].take() {
                        let _ = block.leak();
                    }
                    done += 1;
                }
            }
            drop(putting);
            if done > begun {
                body.tell_of_items(family, before, (done - begun) as u32);
            }
            match outcome {
                Ok(Put::NeedsSegment(size)) => segment = Some(family.alloc(size)?),
                Ok(Put::Closed) if done == 0 => return Err(self.closed()),
                Err(error) if done == 0 => return Err(error),
                _ => return Ok(done),
            }
        }
    }
}

/// Getting.
impl Queue {
    /// Takes the oldest message out, waiting for one until the deadline.
    ///
    /// # Errors
    /// `Empty` when there is none and the deadline has passed already,
    /// `TimedOut` when it passed meanwhile, `Closed` when there is none and
    /// will be none, `Interrupted`.
    pub fn get(&self, deadline: Deadline) -> Result<Message> {
        let mut one = None;
        self.get_each(1, deadline, &mut |message| one = Some(message))?;
        one.ok_or_else(|| self.error(ErrorKind::Empty, "is empty"))
    }

    /// Takes the oldest message out, if there is one.
    ///
    /// # Errors
    /// `Closed` when there is none and will be none.
    pub fn try_get(&self) -> Result<Option<Message>> {
        let mut one = None;
        match self.take(1, &mut |message| one = Some(message))? {
            Taken::Closed => Err(self.closed()),
            Taken::Some | Taken::Nothing => Ok(one),
        }
    }

    /// Takes up to `max` messages out, waiting for the first until the
    /// deadline and for the rest not at all.
    ///
    /// # Errors
    /// As [`Queue::get`].
    pub fn get_many(&self, max: usize, deadline: Deadline) -> Result<Vec<Message>> {
        let mut many = Vec::new();
        if max > 0 {
            self.get_each(max, deadline, &mut |message| many.push(message))?;
        }
        Ok(many)
    }

    fn get_each(
        &self,
        max: usize,
        deadline: Deadline,
        each: &mut dyn FnMut(Message),
    ) -> Result<()> {
        let family = family()?;
        let body = self.body();
        let mut timed_out = false;
        loop {
            match self.take(max, each)? {
                Taken::Some => return Ok(()),
                Taken::Closed => return Err(self.closed()),
                Taken::Nothing if timed_out => {
                    return Err(self.error(ErrorKind::TimedOut, "got no item in time"));
                }
                Taken::Nothing => {}
            }
            let item = || body.has_end_or_items();
            match self.wait(family, &body.items, &self.0.getters, item, deadline)? {
                Waited::Look => {}
                Waited::TimedOut => timed_out = true,
                Waited::NotAtAll => return Err(self.error(ErrorKind::Empty, "is empty")),
            }
        }
    }

    /// Takes up to `max` messages out, without waiting.
    fn take(&self, max: usize, each: &mut dyn FnMut(Message)) -> Result<Taken> {
        let family = family()?;
        let body = self.body();
        let mut done = 0;
        while done < max {
            // Read before the items are looked at: once the queue is closed, their number is final.
            let closed = body.tail.is_closed();
            let begun = done;
            let mut emptied = Vec::new();
            let mut outcome = Ok(None);
            let getting = body.head.lock(family);
            while done < max && done - begun < BATCH {
                let mut segment = None;
                outcome = getting.get(&mut segment, || body.tail.count());
                emptied.extend(segment);
                match &mut outcome {
                    Ok(message @ Some(_)) => {
                        if let Some(message) = message.take() {
                            each(message);
                        }
                        done += 1;
                    }
                    Ok(None) | Err(_) => break,
                }
            }
            drop(getting);
            if done > begun && body.limit() != 0 {
                body.tell_of_room(family, (done - begun) as u32);
            }
            if done - begun < BATCH {
                self.quieten(family, closed);
                return match outcome {
                    Err(error) if done == 0 => Err(error),
                    _ if done > 0 => Ok(Taken::Some),
                    _ if closed => Ok(Taken::Closed),
                    _ => Ok(Taken::Nothing),
                };
            }
        }
        self.quieten(family, false);
        Ok(Taken::Some)
    }

    /// Returns a descriptor that is readable while there is something to get.
    ///
    /// When another process gets the last item, the descriptor stays readable until
    /// this process finds the queue empty or asks for the descriptor again. When this
    /// process gets the last item, the descriptor is unreadable at once.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left.
    pub fn readable_fd(&self) -> Result<ReadableFd> {
        let (fd, family) = (self.bell()?, family()?);
        let body = self.body();
        fd.clear(&body.bells, family, || body.has_end_or_items());
        Ok(fd)
    }

    /// Returns the descriptor, for a caller that looks at the queue whenever the
    /// descriptor is readable.
    pub(crate) fn bell(&self) -> Result<ReadableFd> {
        let (body, family) = (self.body(), family()?);
        let fd = self.0.bell.get_or_register(&body.bells, family)?;
        fd.ring(&body.bells, family, || body.has_end_or_items());
        Ok(fd)
    }

    /// Makes the descriptor unreadable, if there is one and nothing to get.
    pub(crate) fn quieten(&self, family: &Family, closed: bool) {
        let Some(fd) = self.0.bell.get(family) else {
            return;
        };
        let body = self.body();
        if !closed && !body.has_items() {
            fd.clear(&body.bells, family, || body.has_end_or_items());
        }
    }
}

/// Waiting by a descriptor that is told of one change.
impl Queue {
    /// Returns the descriptor by which this process waits for items, without a thread.
    #[must_use]
    pub fn await_items(&self) -> AwaitFd {
        AwaitFd::of(&self.0.object, &self.0.object.body().getting)
    }

    /// Returns the descriptor by which this process waits for room, or for the end of all tasks,
    /// without a thread.
    #[must_use]
    pub fn await_room(&self) -> AwaitFd {
        AwaitFd::of(&self.0.object, &self.0.object.body().putting)
    }

    /// Returns what to poll until there is something to get; `None` when there is something now.
    ///
    /// # Errors
    /// `Limit` when no descriptor is left, or too many processes wait in this way.
    pub fn arm_for_items(&self, fd: &AwaitFd) -> Result<Option<Armed>> {
        fd.arm(|| self.body().has_end_or_items())
    }

    /// Returns what to poll until there is room or the queue is closed; `None` when that is so now.
    ///
    /// # Errors
    /// As [`Queue::arm_for_items`].
    pub fn arm_for_room(&self, fd: &AwaitFd) -> Result<Option<Armed>> {
        fd.arm(|| self.body().has_room() || self.is_closed())
    }

    /// Returns what to poll until no task is unfinished; `None` when that is so now.
    ///
    /// # Errors
    /// As [`Queue::arm_for_items`].
    pub fn arm_for_tasks(&self, fd: &AwaitFd) -> Result<Option<Armed>> {
        fd.arm(|| self.unfinished() == 0)
    }
}

/// Tasks: items that somebody has to say are done.
impl Queue {
    /// Returns how many tasks are unfinished: items that were put, and of which
    /// nobody has said that they are done.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.body().unfinished()
    }

    /// Notes that a task is done.
    ///
    /// # Errors
    /// `Invalid` when none is unfinished.
    pub fn task_done(&self) -> Result<()> {
        if self.body().finish_task(family()?) {
            return Ok(());
        }
        Err(self.error(
            ErrorKind::Invalid,
            "has no unfinished task: task_done() called too many times",
        ))
    }

    /// Waits until no task is unfinished, or the deadline.
    ///
    /// # Errors
    /// `TimedOut`, `Interrupted`.
    pub fn join(&self, deadline: Deadline) -> Result<()> {
        let (body, family) = (self.body(), family()?);
        let all_done = || body.unfinished() == 0;
        let mut in_time = true;
        while !all_done() {
            if !in_time {
                let what = format!("still had {} unfinished tasks", body.unfinished());
                return Err(self.error(ErrorKind::TimedOut, &what));
            }
            let spin = &self.0.joiners;
            in_time = match self.wait(family, body.joiners(), spin, all_done, deadline)? {
                Waited::Look => true,
                Waited::TimedOut | Waited::NotAtAll => false,
            };
        }
        Ok(())
    }
}

enum Taken {
    Some,
    Nothing,
    Closed,
}

enum Waited {
    Look,
    TimedOut,
    NotAtAll,
}

/// Waiting.
impl Queue {
    fn wait(
        &self,
        family: &Family,
        parking: &Parking,
        spin: &AdaptiveSpin,
        ready: impl Fn() -> bool,
        deadline: Deadline,
    ) -> Result<Waited> {
        if deadline.has_passed() {
            return Ok(Waited::NotAtAll);
        }
        if spin.spin(&ready) {
            return Ok(Waited::Look);
        }
        let ticket = parking.register();
        if ready() {
            parking.leave(ticket);
            return Ok(Waited::Look);
        }
        let waiting = BlockedOn::on(&self.0.object, family.me());
        let parked = parking.park(ticket, deadline, ready);
        drop(waiting);
        match parked {
            Parked::Look => Ok(Waited::Look),
            Parked::TimedOut => Ok(Waited::TimedOut),
            Parked::Interrupted => Err(self.error(
                ErrorKind::Interrupted,
                "was being waited for when a signal arrived",
            )),
        }
    }

    fn no_room(&self) -> String {
        match self.maxsize() {
            1 => "no room for more than 1 item".into(),
            most => format!("no room for more than {most} items"),
        }
    }

    fn closed(&self) -> Error {
        self.error(ErrorKind::Closed, "was closed")
    }

    fn error(&self, kind: ErrorKind, what: &str) -> Error {
        Error::new(kind, format!("queue #{} {what}", self.handle().serial))
    }
}

impl Drop for QueueAttachment {
    fn drop(&mut self) {
        let bells = &self.object.body().bells;
        self.bell.unregister(bells, self.object.family());
    }
}
