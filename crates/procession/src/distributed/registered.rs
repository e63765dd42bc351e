//! Functions that have a name, by which another build of the program finds them.

use std::any::type_name;
use std::fmt;

use crate::codec::tuple_form;
use crate::error::{Error, Result};
use crate::function::{Callable, Entry, EntryRef, run, run_chunk};

/// A function with [`#[procession::task]`](crate::task), by which nodes of another build of the
/// program can run it. One is made by that attribute.
pub struct RegisteredTask {
    name: &'static str,
    signature: fn() -> String,
    entry: Entry,
    chunk: Entry,
}

/// What a function is called on the way to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskName {
    name: String,
    /// The types of its arguments and of its result.
    signature: String,
    /// Whether it is called for each of several inputs.
    is_chunk: bool,
}

tuple_form!(TaskName {
    name,
    signature,
    is_chunk
});

inventory::collect!(RegisteredTask);

impl RegisteredTask {
    #[doc(hidden)]
    #[must_use]
    pub const fn new<F: Callable<M>, M>(_function: &F, name: &'static str) -> Self {
        Self {
            name,
            signature: || {
                format!(
                    "({}) -> {}",
                    type_name::<F::Input>(),
                    type_name::<F::Output>()
                )
            },
            entry: run::<F, M>,
            chunk: run_chunk::<F, M>,
        }
    }
}

impl fmt::Debug for RegisteredTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisteredTask")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Returns the name of the function that a wrapper calls, if it has one.
pub fn name_of(entry: EntryRef) -> Option<TaskName> {
    let named = |task: &RegisteredTask, is_chunk| TaskName {
        name: task.name.to_owned(),
        signature: (task.signature)(),
        is_chunk,
    };
    inventory::iter::<RegisteredTask>().find_map(|task| {
        let forms = [(task.entry, false), (task.chunk, true)];
        let form = forms.into_iter().find(|(wrapper, _)| entry.is_to(*wrapper));
        form.map(|(_, is_chunk)| named(task, is_chunk))
    })
}

/// Refuses to go on if two functions have one name.
pub fn check_names() -> Result<()> {
    let mut names: Vec<_> = inventory::iter::<RegisteredTask>()
        .map(|task| task.name)
        .collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(Error::invalid(format!(
            "two functions with #[procession::task] have the name {}, so no node could tell them \
             apart: rename one",
            pair[0]
        ))),
    }
}

impl TaskName {
    /// Returns the wrapper of the function that has this name in this build.
    pub fn resolve(&self) -> Result<Entry> {
        let Some(task) = inventory::iter::<RegisteredTask>().find(|task| task.name == self.name)
        else {
            return Err(Error::invalid(format!(
                "{} comes from another build of this program, and is not in this one: end nodes of \
                 old builds, or keep the function",
                self.name
            )));
        };
        let signature = (task.signature)();
        if signature != self.signature {
            return Err(Error::invalid(format!(
                "{} comes from another build of this program, where it is {}; here it is {signature}: \
                 give it another name when its types change",
                self.name, self.signature
            )));
        }
        Ok(match self.is_chunk {
            true => task.chunk,
            false => task.entry,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(a: u32, b: u32) -> u32 {
        a + b
    }

    crate::register_task!(add);

    fn forms() -> [TaskName; 2] {
        let entries = [EntryRef::of(add).unwrap(), EntryRef::of_chunk(add).unwrap()];
        entries.map(|entry| name_of(entry).unwrap())
    }

    #[test]
    fn a_function_is_found_by_its_name_in_each_form() {
        let [one, chunk] = forms();
        assert!(one.name.ends_with("registered::tests::add"), "{one:?}");
        assert_eq!(one.signature, "((u32, u32)) -> u32");
        assert!(!one.is_chunk && chunk.is_chunk);
        for (name, entry) in [(one, EntryRef::of(add)), (chunk, EntryRef::of_chunk(add))] {
            assert!(entry.unwrap().is_to(name.resolve().unwrap()));
        }
        let other = EntryRef::of(|n: u32| n.wrapping_mul(0x1234_5677)).unwrap();
        assert_eq!(name_of(other), None);
        check_names().unwrap();
    }

    #[test]
    fn what_is_not_here_or_has_other_types_is_refused() {
        let [mut one, _] = forms();
        one.signature = "(u64) -> u32".to_owned();
        let error = one.resolve().unwrap_err().to_string();
        assert!(error.contains("here it is ((u32, u32)) -> u32"), "{error}");
        one.name = "old::function".to_owned();
        let error = one.resolve().unwrap_err().to_string();
        assert!(
            error.contains("old::function") && error.contains("not in this one"),
            "{error}"
        );
    }
}
