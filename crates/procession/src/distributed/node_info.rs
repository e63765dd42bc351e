//! What an engine tells of a node.

use crate::program;

/// A node, as an engine tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct NodeInfo {
    /// Its name.
    pub name: String,
    /// The process id of the program there.
    pub pid: u32,
    /// How many workers it has.
    pub workers: usize,
    /// Which build of the program it runs: a node runs the functions of its own build alone.
    pub build: u64,
}

impl NodeInfo {
    /// Tells of a node of this program, in this process.
    ///
    /// # Examples
    ///
    /// ```
    /// let here = procession::distributed::NodeInfo::of_this_program("ada", 4);
    /// assert_eq!((here.pid, here.workers), (std::process::id(), 4));
    /// assert!(here.is_of_this_build());
    /// ```
    #[must_use]
    pub fn of_this_program(name: impl Into<String>, workers: usize) -> Self {
        Self {
            name: name.into(),
            pid: std::process::id(),
            workers,
            build: program::image().build,
        }
    }

    /// Tells whether the node runs the same build of the program as this process.
    #[must_use]
    pub fn is_of_this_build(&self) -> bool {
        self.build == program::image().build
    }
}
