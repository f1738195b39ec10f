//! memcpy(3) for short pieces, which nearly all are. musl's begins a `rep movsq` for each, which takes 37 ns a call where this
//! takes 5: 1,200 calls in a `run` (docs/performance.md).

use std::arch::asm;

/// Bytes from which on the processor's own way to copy is the faster one.
const LONG: usize = 1024;
const PIECE: usize = size_of::<[u64; 2]>();

/// Takes the place of the C library's memcpy(3), which the compiler calls: the linker puts it there (hack/build).
///
/// # Safety
/// As for [`copy`].
#[cfg(ferrun_entry)]
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: by the caller's promise.
    unsafe { copy(to, from, count) };
    to
}

/// Copies bytes.
///
/// # Safety
/// Both pieces of memory are valid, and disjoint.
#[inline(always)]
unsafe fn copy(to: *mut u8, from: *const u8, count: usize) {
    // SAFETY: by the caller's promise; each step copies bytes of the piece, some of them twice.
    unsafe {
        match count {
            0 => {}
            1 => *to = *from,
            2..4 => ends::<u16>(to, from, count),
            4..8 => ends::<u32>(to, from, count),
            8..PIECE => ends::<u64>(to, from, count),
            PIECE..LONG => {
                let mut at = 0;
                while at + PIECE < count {
                    one::<[u64; 2]>(to.add(at), from.add(at));
                    at += PIECE;
                }
                one::<[u64; 2]>(to.add(count - PIECE), from.add(count - PIECE));
            }
            _ => asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags)),
        }
    }
}

/// Copies the first and the last bytes of a piece, as many as a `T` has.
///
/// # Safety
/// As for [`copy`]; the piece has at least as many, and at most twice as many.
#[inline(always)]
unsafe fn ends<T>(to: *mut u8, from: *const u8, count: usize) {
    let last = count - size_of::<T>();
    // SAFETY: by the caller's promise.
    unsafe {
        one::<T>(to, from);
        one::<T>(to.add(last), from.add(last));
    }
}

/// Copies as many bytes as a `T` has, which is one instruction each way.
///
/// # Safety
/// As for [`copy`].
#[inline(always)]
unsafe fn one<T>(to: *mut u8, from: *const u8) {
    // SAFETY: by the caller's promise.
    unsafe { to.cast::<T>().write_unaligned(from.cast::<T>().read_unaligned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_are_copied_and_no_other() {
        let from: Vec<u8> = (0..2 * LONG).map(|byte| (byte % 251) as u8 + 1).collect();
        for count in (0..200).chain(LONG - 20..LONG + 20) {
            for (at, start) in [(0, 0), (1, 3), (7, 16), (16, 5)] {
                let mut to = vec![0; at + count + 40];
                // SAFETY: both are longer, and disjoint.
                unsafe { copy(to[at..].as_mut_ptr(), from[start..].as_ptr(), count) };
                assert_eq!(to[at..at + count], from[start..start + count], "{count} bytes");
                assert!(to[..at].iter().chain(&to[at + count..]).all(|byte| *byte == 0), "{count} bytes");
            }
        }
    }
}
