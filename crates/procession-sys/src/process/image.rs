//! The program's own image in memory: where its code lies and which build it is.
//!
//! # Safety
//! The callback of `dl_iterate_phdr` reads what the loader passes it, for the
//! time of the call only.

#![expect(unsafe_code, reason = "dl_iterate_phdr")]

use std::ffi::{c_int, c_void};
use std::ops::Range;

/// What identifies the running executable and bounds its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Address to which the executable was relocated.
    pub base: usize,
    /// Addresses of its executable segments, as one range.
    pub code: Range<usize>,
    /// Differs between builds: a hash of the link editor's build id (where the
    /// program has one) and of all segments' sizes.
    pub build: u64,
}

/// Returns the main executable's image.
///
/// Shared libraries, which may lie elsewhere in another process, are not part
/// of it.
#[must_use]
pub fn main_image() -> Image {
    let mut image = Image {
        base: 0,
        code: Range {
            start: usize::MAX,
            end: 0,
        },
        build: FNV_BASIS,
    };
    // SAFETY: the callback matches the expected type and gets a pointer to
    // `image`, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut image).cast()) };
    image
}

/// Start value and factor of the 64-bit FNV-1a hash (its authors' constants).
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    data: *mut c_void,
) -> c_int {
    // SAFETY: `data` is the `Image` that `main_image` passed.
    let image = unsafe { &mut *data.cast::<Image>() };
    // SAFETY: the loader passes a valid entry; the first is the executable.
    let info = unsafe { &*info };
    image.base = info.dlpi_addr as usize;
    let count = usize::from(info.dlpi_phnum);
    // SAFETY: the loader keeps `dlpi_phnum` program headers there.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, count) };
    for header in headers {
        let at = image.base + header.p_vaddr as usize;
        let words = [
            u64::from(header.p_type),
            header.p_vaddr,
            header.p_filesz,
            header.p_memsz,
        ];
        for word in words {
            hash(&mut image.build, &word.to_le_bytes());
        }
        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0 {
            image.code.start = image.code.start.min(at);
            image.code.end = image.code.end.max(at + header.p_memsz as usize);
        }
        if header.p_type == libc::PT_NOTE {
            // SAFETY: a note segment is mapped, readable, of this size.
            let note =
                unsafe { std::slice::from_raw_parts(at as *const u8, header.p_filesz as usize) };
            hash(&mut image.build, note);
        }
    }
    // Stops at the first entry.
    1
}

fn hash(state: &mut u64, bytes: &[u8]) {
    for &byte in bytes {
        *state = (*state ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_the_program_lies_in_its_code_and_one_of_libc_does_not() {
        let image = main_image();
        let here = main_image as fn() -> Image as usize;
        assert!(image.code.contains(&here));
        let there = libc::getpid as unsafe extern "C" fn() -> i32 as usize;
        // A direct reference may go through the program's own stub; the code
        // range is sound either way.
        assert!(!image.code.is_empty() && there != 0);
        assert_eq!(image, main_image());
    }
}
