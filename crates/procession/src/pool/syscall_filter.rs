//! A filter of system calls, on its way to a worker.

use seccompiler::{BpfProgram, sock_filter};

use crate::codec::tuple_form;

use crate::error::{Error, Result};

/// The instructions of a filter: code, jump if true, jump if false, operand.
#[derive(Clone, Debug)]
pub struct SyscallFilter {
    instructions: Vec<(u16, u8, u8, u32)>,
}

tuple_form!(SyscallFilter { instructions });

impl SyscallFilter {
    pub fn of(program: &BpfProgram) -> Self {
        let parts = |it: &sock_filter| (it.code, it.jt, it.jf, it.k);
        let instructions = program.iter().map(parts).collect();
        Self { instructions }
    }

    /// Applies the filter to all threads of this process, for good.
    pub fn apply(&self) -> Result<()> {
        let instruction = |&(code, jt, jf, k): &_| sock_filter { code, jt, jf, k };
        let program: BpfProgram = self.instructions.iter().map(instruction).collect();
        seccompiler::apply_filter_all_threads(&program).map_err(|error| {
            Error::invalid(format!(
                "a worker cannot apply its filter of system calls: {error}"
            ))
        })
    }
}
