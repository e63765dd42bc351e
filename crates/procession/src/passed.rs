//! Files and sockets that cross with the start of a process.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde_core::{Deserialize, Deserializer, Serialize, Serializer};

/// Makes a file, a socket or whatever else owns a descriptor cross to a process that is started.
///
/// It crosses in the arguments of a [`Process`](crate::Process), at any depth. The process has a
/// descriptor of its own for the same open file, under whatever number; this one stays open
/// until it is dropped. In a message of a queue or a pipe, as the input of a pool, or as a result,
/// it is refused (`is_codec`): there, send what it is opened by, or send it over a `UnixStream`
/// that was passed.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// use procession::{Passed, Process};
///
/// # procession::init();
/// let (mut ours, theirs) = UnixStream::pair()?;
/// let answer = |mut stream: Passed<UnixStream>| stream.write_all(b"hello").is_ok();
/// let child = Process::new(answer).args(Passed(theirs)).start()?;
/// let mut text = String::new();
/// ours.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// assert!(child.join()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Passed<T>(pub T);

impl<T> Passed<T> {
    /// Returns what was passed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{PipeReader, pipe};
    /// # use procession::{Passed, Process};
    /// # procession::init();
    /// let (reader, writer) = pipe()?;
    /// let read = |reader: Passed<PipeReader>| std::io::read_to_string(reader.into_inner()).ok();
    /// let child = Process::new(read).args(Passed(reader)).start()?;
    /// drop(writer);
    /// assert_eq!(child.join()?.as_deref(), Some(""));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Passed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Passed<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

thread_local! {
    /// The descriptors of the launch that this thread is writing, if it is writing one.
    static LEAVING: RefCell<Option<Vec<OwnedFd>>> = const { RefCell::new(None) };

    /// The descriptors that this process was started with and that were not taken yet.
    static ARRIVED: RefCell<Vec<Option<OwnedFd>>> = const { RefCell::new(Vec::new()) };
}

/// Runs `write`, which serialises what a process is started with; returns its result and the
/// descriptors in it.
pub fn collecting<T>(write: impl FnOnce() -> T) -> (T, Vec<OwnedFd>) {
    /// Also after a panic.
    struct Restore(Option<Vec<OwnedFd>>);

    impl Drop for Restore {
        fn drop(&mut self) {
            LEAVING.replace(self.0.take());
        }
    }

    let restore = Restore(LEAVING.replace(Some(Vec::new())));
    let written = write();
    let leaving = LEAVING.take().unwrap_or_default();
    drop(restore);
    (written, leaving)
}

/// Notes the descriptors that this process was started with, for the arguments that this thread
/// reads.
pub fn arrive(fds: Vec<OwnedFd>) {
    ARRIVED.replace(fds.into_iter().map(Some).collect());
}

fn leave(fd: BorrowedFd<'_>) -> Result<u32, String> {
    LEAVING.with_borrow_mut(|leaving| {
        let leaving = leaving.as_mut().ok_or(
            "a descriptor crosses in the arguments of a process that is started, and in nothing \
             else: send what it is opened by, or send it over a UnixStream",
        )?;
        let own = fd.try_clone_to_owned();
        leaving.push(own.map_err(|error| format!("cannot pass the descriptor on: {error}"))?);
        Ok(leaving.len() as u32 - 1)
    })
}

impl<T: AsFd> Serialize for Passed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde_core::ser::Error;
        let place = leave(self.0.as_fd()).map_err(S::Error::custom)?;
        serializer.serialize_newtype_struct("Passed", &place)
    }
}

impl<'de, T: From<OwnedFd>> Deserialize<'de> for Passed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct("Passed", Place(PhantomData))
    }
}

/// Takes the descriptor at a place.
struct Place<T>(PhantomData<T>);

impl<'de, T: From<OwnedFd>> serde_core::de::Visitor<'de> for Place<T> {
    type Value = Passed<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the place of a descriptor")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, reader: D) -> Result<Passed<T>, D::Error> {
        let place = u32::deserialize(reader)?;
        let arrived = |fds: &mut Vec<Option<OwnedFd>>| fds.get_mut(place as usize)?.take();
        match ARRIVED.with_borrow_mut(arrived) {
            Some(fd) => Ok(Passed(T::from(fd))),
            None => Err(serde_core::de::Error::custom(
                "this process was not started with such a descriptor, or has taken it",
            )),
        }
    }
}
