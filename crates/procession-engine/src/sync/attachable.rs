//! Attaching by a handle and giving one out: the same for every object that is one handle.
//!
//! Leaves out objects that travel as several handles, or as more than handles: they name
//! their own.

/// Writes `attach`, `handle` and `lend` for a type that has a function `of`, and its object at the
/// given path.
macro_rules! attachable {
    ($type:ty, $($path:tt).+) => {
        impl $type {
            /// Attaches to the object that a handle names, which `source` has kept alive.
            ///
            /// # Errors
            /// `Stale` when every process that used it has dropped it or ended, `Invalid`
            /// when the handle is of another kind of object.
            pub fn attach(
                handle: procession_shm::Handle,
                source: &procession_shm::HandleSource,
            ) -> procession_sys::error::Result<Self> {
                let family = $crate::family()?;
                procession_shm::SharedObject::attach(family, handle, source).map(Self::of)
            }

            /// Returns the numbers by which any member may attach.
            #[must_use]
            pub fn handle(&self) -> procession_shm::Handle {
                self.$($path).+.handle()
            }

            /// Returns the handle for a message, whose loans keep the object alive.
            pub fn lend(&self, loans: &mut procession_shm::Loans) -> procession_shm::Handle {
                self.$($path).+.lend(loans)
            }
        }
    };
}

pub(crate) use attachable;
