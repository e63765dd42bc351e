//! What the objects of each kind keep behind their header, and one type for all of them.
//!
//! Leaves out how an object lives and ends (`shared.rs`), and what the words of each kind mean: the
//! crate above this one says so.
//!
//! # Safety
//! Code here casts an object to a type only after it has checked that the object is of the type's
//! kind, and large enough. That any bytes are a value of the type is promised by the `unsafe impl`
//! of [`SharedBody`].

#![expect(unsafe_code, reason = "typed views of arena memory")]

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::family::Family;
use crate::member::stamp::Stamp;
use crate::object::hooks::{Hooks, ObjectKind};
use crate::object::shared::{HEADER, Handle, Object, View};
use crate::transfer::loans::HandleSource;
use procession_sys::error::{Error, ErrorKind, Result};

/// What an object of one kind keeps in shared memory, and what it does at its two ends.
///
/// # Safety
/// The type is `repr(C)` or `repr(transparent)`, any bytes are a valid value of it, all of
/// them zero included, and it is made of atomics: others write to it at any time.
pub unsafe trait SharedBody: Sized + Sync + 'static {
    /// The kind of the objects that have such a body.
    const KIND: ObjectKind;

    /// Repairs changes that a dead member had begun, and gives back what that member held. The
    /// member that reclaims runs it; it may run twice.
    fn recover(_view: BodyView<'_, Self>, _dead: Stamp) {}

    /// Frees what the object owns besides its own block. It runs once nobody is attached. If the
    /// process that runs it dies, another process runs it again from the start.
    fn destroy(_view: BodyView<'_, Self>) {}
}

// SAFETY: an array of atomics.
unsafe impl<const N: usize> SharedBody for [AtomicU32; N] {
    const KIND: ObjectKind = ObjectKind::Array;
}

// SAFETY: an array of atomics.
unsafe impl<const N: usize> SharedBody for [AtomicU64; N] {
    const KIND: ObjectKind = ObjectKind::Array;
}

impl Hooks {
    /// Returns the hooks of objects that have such a body.
    #[must_use]
    pub const fn of<B: SharedBody>() -> Self {
        Self {
            kind: B::KIND,
            recover: recover::<B>,
            destroy: destroy::<B>,
        }
    }
}

fn recover<B: SharedBody>(view: View<'_>, dead: Stamp) {
    if let Some(view) = BodyView::of(view) {
        B::recover(view, dead);
    }
}

fn destroy<B: SharedBody>(view: View<'_>) {
    if let Some(view) = BodyView::of(view) {
        B::destroy(view);
    }
}

/// Looks at the body of an object without being attached to it.
#[derive(Debug)]
pub struct BodyView<'a, B> {
    family: &'a Family,
    body: &'a B,
}

impl<'a, B: SharedBody> BodyView<'a, B> {
    /// Looks at an object as one with this body; `None` when the object is of another kind, or too
    /// small.
    pub(crate) fn of(view: View<'a>) -> Option<Self> {
        const { assert!(align_of::<B>() as u64 <= HEADER) }
        let (family, len) = (view.family(), size_of::<B>() as u64);
        let capacity = family.capacity_at(view.offset()).ok()?;
        if view.kind() != Some(B::KIND) || HEADER + len > capacity {
            return None;
        }
        let at = family.pointer(view.offset() + HEADER, len).cast::<B>();
        // SAFETY: inside the object's block, which is aligned as its header is, and any
        // bytes are a body; the mapping outlives the family's references.
        let body = unsafe { at.as_ref() };
        Some(Self { family, body })
    }

    /// Returns the body.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'a B {
        self.body
    }

    /// Returns the family.
    #[inline]
    #[must_use]
    pub fn family(&self) -> &'a Family {
        self.family
    }

    /// Returns the object's number.
    #[must_use]
    pub fn serial(&self) -> u64 {
        let body = self.family.offset_of(std::ptr::from_ref(self.body).cast());
        View::new(self.family, body - HEADER).handle().serial
    }

    /// Returns the address of `len` bytes that lie `skip` bytes behind the body.
    #[must_use]
    pub fn behind(&self, skip: u64, len: u64) -> NonNull<u8> {
        let body = self.family.offset_of(std::ptr::from_ref(self.body).cast());
        let end = body + size_of::<B>() as u64;
        self.family.pointer(end + skip, len)
    }
}

impl<'a> View<'a> {
    /// Returns the object's body, if the object is of that kind.
    #[must_use]
    pub fn body<B: SharedBody>(self) -> Option<&'a B> {
        BodyView::of(self).map(|view: BodyView<'a, B>| view.body())
    }
}

/// Uses an object whose body is a `B`, and keeps it alive, from this process.
pub struct SharedObject<B: 'static> {
    object: Object,
    body: &'static B,
}

impl<B: SharedBody> SharedObject<B> {
    /// Makes an object whose body is all zero, with `extra` bytes behind it.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub fn create(family: &'static Family, extra: u64) -> Result<Self> {
        let len = (size_of::<B>() as u64).saturating_add(extra);
        Object::create(family, B::KIND, len).and_then(Self::of)
    }

    /// As [`create`](Self::create), for an object that forked copies of this process do not use:
    /// they are not attached to it, so it may be gone.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub fn create_uninherited(family: &'static Family, extra: u64) -> Result<Self> {
        let len = (size_of::<B>() as u64).saturating_add(extra);
        Object::create_uninherited(family, B::KIND, len).and_then(Self::of)
    }

    /// Attaches to the object that a handle names, which `source` has kept alive.
    ///
    /// # Errors
    /// `Stale` when the object is gone, `Invalid` when it is of another kind.
    pub fn attach(family: &'static Family, handle: Handle, source: &HandleSource) -> Result<Self> {
        Object::attach(family, handle, B::KIND, source).and_then(Self::of)
    }

    fn of(object: Object) -> Result<Self> {
        match BodyView::of(object.view()) {
            Some(BodyView { body, .. }) => Ok(Self { object, body }),
            None => Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "object #{} is too small to be a {}",
                    object.handle().serial,
                    B::KIND.name()
                ),
            )),
        }
    }

    /// Returns the body. It stays at its place while this process is attached.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'static B {
        self.body
    }

    /// Returns the view of the body.
    #[inline]
    #[must_use]
    pub fn view(&self) -> BodyView<'static, B> {
        BodyView {
            family: self.object.family(),
            body: self.body,
        }
    }
}

impl<B> Deref for SharedObject<B> {
    type Target = Object;

    #[inline]
    fn deref(&self) -> &Object {
        &self.object
    }
}

impl<B> Clone for SharedObject<B> {
    fn clone(&self) -> Self {
        Self {
            object: self.object.clone(),
            body: self.body,
        }
    }
}

impl<B> fmt::Debug for SharedObject<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.object.fmt(f)
    }
}
