//! memcpy(3) and memmove(3) for short pieces. That of musl for x86-64 begins each with `rep movsq`, which takes
//! some thirty cycles before it moves the first byte; a start of a container copies several thousand short
//! strings and small structures (docs/decisions.md has the figures).
//!
//! The linker takes these in place of musl's, which it would only fetch from the archive if they were missing.

use std::arch::asm;
use std::arch::x86_64::__m128i;
use std::mem::MaybeUninit;

/// As memcpy(3).
///
/// # Safety
/// As memcpy(3).
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller's contract is a stricter one.
    unsafe { memmove(to, from, length) }
}

/// As memmove(3), which musl builds on its memcpy. Up to 128 bytes go through registers, all loads before the
/// stores; beyond, the processor's own copy is as fast as any.
///
/// # Safety
/// As memmove(3).
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: each access lies within the first or the last `length` bytes: its own size is at most `length`.
    unsafe {
        match length {
            0 => {}
            1 => ends::<u8>(to, from, length),
            2..4 => ends::<u16>(to, from, length),
            4..8 => ends::<u32>(to, from, length),
            8..16 => ends::<u64>(to, from, length),
            16..=32 => ends::<__m128i>(to, from, length),
            33..=64 => ends::<[__m128i; 2]>(to, from, length),
            65..=128 => ends::<[__m128i; 4]>(to, from, length),
            // From the end, where the beginning would overwrite what is still to be copied.
            _ if (to as usize).wrapping_sub(from as usize) < length => asm!(
                "std", "rep movsb", "cld",
                inout("rcx") length => _,
                inout("rdi") to.add(length - 1) => _, inout("rsi") from.add(length - 1) => _,
                options(nostack)
            ),
            _ => asm!(
                "rep movsb",
                inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags)
            ),
        }
    }
    to
}

/// Copies the first and the last `T`, which may overlap; of bytes that were never written, too. Without
/// optimization the compiler calls memcpy for a T of more than 32 bytes: that must be a shorter copy than this.
#[inline(always)]
unsafe fn ends<T: Copy>(to: *mut u8, from: *const u8, length: usize) {
    let behind = length - size_of::<T>();
    // SAFETY: `length` is at least the size of a T.
    unsafe {
        let first = from.cast::<MaybeUninit<T>>().read_unaligned();
        let last = from.add(behind).cast::<MaybeUninit<T>>().read_unaligned();
        to.cast::<MaybeUninit<T>>().write_unaligned(first);
        to.add(behind).cast::<MaybeUninit<T>>().write_unaligned(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Copy = unsafe extern "C" fn(*mut u8, *const u8, usize) -> *mut u8;

    /// Copies within a buffer of different bytes; gives the buffer.
    fn copied(by: Copy, to: usize, from: usize, length: usize) -> Vec<u8> {
        let mut buffer: Vec<u8> = (0..1200u32).map(|n| (n * 7 / 3) as u8).collect();
        let start = buffer.as_mut_ptr();
        // SAFETY: the tests keep within the buffer.
        let given = unsafe { by(start.add(to), start.add(from), length) };
        assert_eq!(given as usize, start as usize + to);
        buffer
    }

    #[test]
    fn every_length_is_copied_and_nothing_beside_it() {
        for length in 0..520 {
            let (to, from) = (3 + length % 16, 600 + length % 7);
            let mut wanted = copied(memmove, 0, 0, 0);
            wanted.copy_within(from..from + length, to);
            assert!(copied(memcpy, to, from, length) == wanted, "{length}");
            assert!(copied(memmove, to, from, length) == wanted, "{length}");
        }
    }

    #[test]
    fn what_overlaps_is_moved_as_if_it_did_not() {
        let plain = copied(memmove, 0, 0, 0);
        for length in 0..300 {
            for distance in [1, 2, 3, 5, 8, 15, 16, 17, 31, 64, 100, 127, 128, 129, 200] {
                for (to, from) in [(400, 400 + distance), (400 + distance, 400), (400, 400)] {
                    let mut wanted = plain.clone();
                    wanted.copy_within(from..from + length, to);
                    assert!(copied(memmove, to, from, length) == wanted, "{length} from {from} to {to}");
                }
            }
        }
    }
}
