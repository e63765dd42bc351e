//! Unix sockets: bytes, descriptors, and mail to a process that is known by name.

pub mod fd_passing;
pub mod io;
pub mod mailbox;
