//! Values and arrays that several processes read and write in place.
//!
//! # Safety
//! The bytes behind a guard are reached by one process at a time, because
//! every access goes through the lock word in front of them; any bits are a
//! valid value, because `T` is plain old data.

#![expect(unsafe_code, reason = "references into shared memory under a lock")]

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;
use procession_engine::shm::{
    Acquired, Handle, HandleSource, Loans, NotAcquired, ObjectKind, RawLock, SharedBody,
    SharedObject,
};
use procession_engine::sys::primitive::{AtomicU64, Ordering};
use procession_engine::sys::wait::time::Deadline;
use procession_engine::{Error as EngineError, ErrorKind};

use crate::error::{Error, Result};
use crate::handle::travels;

/// A value of plain old data that several processes share, with its lock.
///
/// What `multiprocessing.Value` is in Python. Cloning it, or sending it to
/// another process as an argument or in a message, shares it.
///
/// # Examples
///
/// ```
/// use procession::Shared;
///
/// let counter = Shared::new(0_u64)?;
/// counter.update(|n| *n += 1)?;
/// assert_eq!(counter.get()?, 1);
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Shared<T: Pod> {
    array: SharedArray<T>,
}

impl<T: Pod> Shared<T> {
    /// Puts a value into shared memory.
    ///
    /// # Errors
    /// When memory is exhausted.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Shared;
    /// assert_eq!(Shared::new(2.5)?.get()?, 2.5);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn new(value: T) -> Result<Self> {
        let array = SharedArray::from_slice(&[value])?;
        Ok(Self { array })
    }

    /// Returns a copy of the value.
    ///
    /// # Errors
    /// `is_owner_died` when a process died while it was writing; the value may
    /// be half written. The lock is free again after that error.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::{Process, Shared};
    /// # procession::init();
    /// let count = Shared::new(1_u32)?;
    /// let add = |count: Shared<u32>| count.update(|count| *count += 1).is_ok();
    /// Process::new(add).args(count.clone()).start()?.join()?;
    /// assert_eq!(count.get()?, 2);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn get(&self) -> Result<T> {
        Ok(self.array.lock()?[0])
    }

    /// Replaces the value.
    ///
    /// # Errors
    /// As [`Shared::get`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Shared;
    /// let flag = Shared::new(0_u8)?;
    /// flag.set(1)?;
    /// assert_eq!(flag.get()?, 1);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn set(&self, value: T) -> Result<()> {
        self.array.lock()?[0] = value;
        Ok(())
    }

    /// Changes the value in place while no other process can see it.
    ///
    /// # Errors
    /// As [`Shared::get`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::Shared;
    /// let highest = Shared::new(3_i64)?;
    /// let before = highest.update(|n| std::mem::replace(n, 7))?;
    /// assert_eq!((before, highest.get()?), (3, 7));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R> {
        Ok(change(&mut self.array.lock()?[0]))
    }
}

impl<T: Pod> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self {
            array: self.array.clone(),
        }
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&self.array.handle()).finish()
    }
}

/// An array of plain old data that several processes share, with its lock.
///
/// What `multiprocessing.Array` is in Python.
///
/// # Examples
///
/// ```
/// use procession::SharedArray;
///
/// let array = SharedArray::<f64>::zeroed(3)?;
/// array.lock()?[1] = 2.5;
/// assert_eq!(array.to_vec()?, [0.0, 2.5, 0.0]);
/// # Ok::<(), procession::Error>(())
/// ```
pub struct SharedArray<T: Pod> {
    object: SharedObject<Head>,
    items: PhantomData<T>,
}

/// The header in front of the items; 64 bytes, so that they are well aligned.
#[repr(C, align(64))]
struct Head {
    lock: RawLock,
    len: AtomicU64,
    item_size: AtomicU64,
}

// SAFETY: a lock word and atomics, in the order of C.
unsafe impl SharedBody for Head {
    const KIND: ObjectKind = ObjectKind::Array;
}

impl<T: Pod> SharedArray<T> {
    /// Makes an array that holds a copy of `items`.
    ///
    /// # Errors
    /// When memory is exhausted.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::SharedArray;
    /// let array = SharedArray::from_slice(&[1_u16, 2, 3])?;
    /// assert_eq!(array.len(), 3);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn from_slice(items: &[T]) -> Result<Self> {
        let array = Self::zeroed(items.len())?;
        array.lock()?.copy_from_slice(items);
        Ok(array)
    }

    /// Makes an array of `len` items whose bytes are all zero.
    ///
    /// # Errors
    /// When memory is exhausted.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::SharedArray;
    /// let array = SharedArray::<u32>::zeroed(2)?;
    /// assert_eq!(array.to_vec()?, [0, 0]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn zeroed(len: usize) -> Result<Self> {
        const {
            assert!(
                align_of::<T>() <= 64,
                "shared items are aligned to 64 bytes at most"
            );
        }
        let bytes = (size_of::<T>() as u64)
            .checked_mul(len as u64)
            .ok_or_else(|| {
                Error::invalid(format!(
                    "an array of {len} items is larger than the address space"
                ))
            })?;
        let object = SharedObject::create(procession_engine::family()?, bytes)?;
        let array = Self {
            object,
            items: PhantomData,
        };
        let head = array.head();
        let size = size_of::<T>() as u64;
        head.item_size.store(size, Ordering::Relaxed);
        // Release: a process that reads the length sees the item size.
        head.len.store(len as u64, Ordering::Release);
        Ok(array)
    }

    /// Blocks until no other process uses the items, and gives access to them.
    ///
    /// Locking twice in one thread waits for ever, as with a std mutex.
    ///
    /// # Errors
    /// `is_owner_died` in one caller when a process died holding the lock: the
    /// items may be half written. The lock is free again after that error.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession::{Process, SharedArray};
    ///
    /// # procession::init();
    /// let array = SharedArray::from_slice(&[3, 1, 2])?;
    /// let sort = |array: SharedArray<i32>| array.lock().map(|mut items| items.sort()).is_ok();
    /// Process::new(sort).args(array.clone()).start()?.join()?;
    /// assert_eq!(*array.lock()?, [1, 2, 3]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn lock(&self) -> Result<SharedGuard<'_, T>> {
        let family = procession_engine::family()?;
        loop {
            let lock = &self.head().lock;
            match lock.lock_until(family.me(), family, Deadline::NEVER) {
                Ok(Acquired::Free) => return Ok(SharedGuard { array: self }),
                Ok(Acquired::FromDead(owner)) => {
                    lock.unlock();
                    let pid = family.member(owner).pid();
                    return Err(EngineError::new(
                        ErrorKind::OwnerDied,
                        format!(
                            "the process that held array #{} (pid {pid}) has died; it is free \
                             now, but may be half written",
                            self.handle().serial
                        ),
                    )
                    .into());
                }
                Err(NotAcquired::Interrupted | NotAcquired::TimedOut) => {}
            }
        }
    }

    /// Returns a copy of the items.
    ///
    /// # Errors
    /// As [`SharedArray::lock`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::SharedArray;
    /// let array = SharedArray::from_slice(&[1, 2, 3])?;
    /// assert_eq!(array.to_vec()?, [1, 2, 3]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn to_vec(&self) -> Result<Vec<T>> {
        Ok(self.lock()?.to_vec())
    }

    /// Returns the number of items.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::SharedArray;
    /// assert_eq!(SharedArray::<f64>::zeroed(3)?.len(), 3);
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.head().len.load(Ordering::Acquire) as usize
    }

    /// Tells whether there are no items.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::SharedArray;
    /// assert!(SharedArray::<f64>::zeroed(0)?.is_empty());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn head(&self) -> &Head {
        self.object.body()
    }

    fn handle(&self) -> Handle {
        self.object.handle()
    }

    fn lend(&self, loans: &mut Loans) -> Handle {
        self.object.lend(loans)
    }

    fn attach(handle: Handle, source: &HandleSource) -> Result<Self> {
        let object = SharedObject::attach(procession_engine::family()?, handle, source)?;
        let array = Self {
            object,
            items: PhantomData,
        };
        let size = array.head().item_size.load(Ordering::Relaxed);
        if size != size_of::<T>() as u64 {
            return Err(Error::invalid(format!(
                "array #{} holds items of {size} bytes, not of {} as {} has",
                handle.serial,
                size_of::<T>(),
                std::any::type_name::<T>()
            )));
        }
        Ok(array)
    }

    fn items(&self) -> *mut T {
        let bytes = (self.len() * size_of::<T>()) as u64;
        self.object.view().behind(0, bytes).as_ptr().cast()
    }
}

impl<T: Pod> Clone for SharedArray<T> {
    fn clone(&self) -> Self {
        Self {
            object: self.object.clone(),
            items: PhantomData,
        }
    }
}

impl<T: Pod> fmt::Debug for SharedArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedArray")
            .field("handle", &self.handle())
            .field("len", &self.len())
            .finish()
    }
}

/// Gives access to a [`SharedArray`]'s items until dropped.
///
/// # Examples
///
/// ```
/// use procession::SharedArray;
///
/// let array = SharedArray::from_slice(&[3, 1, 2])?;
/// let mut items = array.lock()?;
/// items.sort();
/// items[0] = 10;
/// drop(items);
/// assert_eq!(array.to_vec()?, [10, 2, 3]);
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Debug)]
pub struct SharedGuard<'a, T: Pod> {
    array: &'a SharedArray<T>,
}

impl<T: Pod> Deref for SharedGuard<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the lock is held; the object was made for `len` items of a
        // type with this size, any bits of which are valid.
        unsafe { std::slice::from_raw_parts(self.array.items(), self.array.len()) }
    }
}

impl<T: Pod> DerefMut for SharedGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and nobody else holds the lock.
        unsafe { std::slice::from_raw_parts_mut(self.array.items(), self.array.len()) }
    }
}

impl<T: Pod> Drop for SharedGuard<'_, T> {
    fn drop(&mut self) {
        self.array.head().lock.unlock();
    }
}

travels!([T: Pod] SharedArray<T>);

impl<T: Pod> serde_core::Serialize for Shared<T> {
    fn serialize<S: serde_core::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        self.array.serialize(serializer)
    }
}

impl<'de, T: Pod> serde_core::Deserialize<'de> for Shared<T> {
    fn deserialize<D: serde_core::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Self, D::Error> {
        SharedArray::deserialize(deserializer).map(|array| Self { array })
    }
}
