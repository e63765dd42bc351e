//! A filter of system calls, on its way to a worker.

use seccompiler::{BpfProgram, sock_filter};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The instructions of a filter: code, jump if true, jump if false, operand.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SyscallFilter(Vec<(u16, u8, u8, u32)>);

impl SyscallFilter {
    pub fn of(program: &BpfProgram) -> Self {
        let parts = |it: &sock_filter| (it.code, it.jt, it.jf, it.k);
        Self(program.iter().map(parts).collect())
    }

    /// Applies the filter to all threads of this process, for good.
    pub fn apply(&self) -> Result<()> {
        let instruction = |&(code, jt, jf, k): &_| sock_filter { code, jt, jf, k };
        let program: BpfProgram = self.0.iter().map(instruction).collect();
        seccompiler::apply_filter_all_threads(&program).map_err(|error| {
            Error::invalid(format!(
                "a worker cannot apply its filter of system calls: {error}"
            ))
        })
    }
}
