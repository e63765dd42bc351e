//! Attaching by a handle and giving one out: the same for every object that is one handle.
//!
//! Leaves out objects that travel as several handles, or as more than handles: they name
//! their own.

/// Writes `attach`, `handle` and `lend` for a type that has `of` and, at the path, its object.
macro_rules! attachable {
    ($type:ty, $($path:tt).+) => {
        impl $type {
            /// Attaches to the object that a handle names.
            ///
            /// # Errors
            /// `Stale` when every process that used it has dropped it or ended, `Invalid`
            /// when the handle is of another kind of object.
            pub fn attach(handle: procession_shm::Handle) -> procession_sys::error::Result<Self> {
                procession_shm::SharedObject::attach($crate::family()?, handle).map(Self::of)
            }

            /// Returns the numbers by which any member may attach.
            #[must_use]
            pub fn handle(&self) -> procession_shm::Handle {
                self.$($path).+.handle()
            }

            /// Returns the handle for a message, and keeps the object alive until
            /// somebody attaches with it.
            #[must_use]
            pub fn lend(&self) -> procession_shm::Handle {
                self.$($path).+.lend()
            }
        }
    };
}

pub(crate) use attachable;
