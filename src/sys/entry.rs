//! Where the release binary begins (`hack/build` names it to the linker): the second execution (cli/self_exe.rs) before
//! relocation and the C library's start, which otherwise happen twice.
//!
//! Nothing is there yet: no relocated pointer, no thread-local errno, no allocator. So the code here uses no table, no
//! constant that holds an address, no index that is checked, and makes its system calls itself. What it cannot decide, or
//! what fails, is left to the usual start, which does the same once more and reports why.

use std::arch::{asm, global_asm};
use std::mem::MaybeUninit;

use super::mount::{OPEN_TREE_CLONE, attr};

/// Entries of an environment that there is room for; with more, the usual start decides.
const MOST: usize = 1000;
const CLONE: usize = OPEN_TREE_CLONE as usize;
const EMPTY_PATH: usize = libc::AT_EMPTY_PATH.cast_unsigned() as usize;
const STANDARD_ERROR: usize = libc::STDERR_FILENO.cast_unsigned() as usize;
/// Bytes of `FERRUN_COPY=PID:FD` and its end.
const LONGEST: usize = 40;

// The entry: the stack pointer is that of elf(5), which `_start` of the C library needs as it is.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl ferrun_entry",
    "ferrun_entry:",
    "xor ebp, ebp",
    "mov rbx, rsp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {begin}",
    "mov rsp, rbx",
    "xor edx, edx", // no function to call at the exit
    "jmp _start",
    begin = sym begin,
);
#[cfg(target_arch = "aarch64")]
global_asm!(
    ".globl ferrun_entry",
    "ferrun_entry:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "bl {begin}",
    "mov x0, xzr",
    "b _start",
    begin = sym begin,
);

/// The start of a process, which it leaves as it is, or in its second execution.
///
/// # Safety
/// `stack` points at the number of arguments, and behind it are their addresses, a null, those of the environment and a
/// null (elf(5), and the System V ABI of the machine).
unsafe extern "C" fn begin(stack: *const usize) {
    // SAFETY: by the caller's promise.
    unsafe {
        let arguments = stack.add(1).cast::<*const u8>();
        let environment = arguments.add(*stack + 1);
        if is_sealed(arguments) {
            execute_copy(arguments, environment);
        }
    }
}

/// Whether an argument is the word of a command that a container can reach. One that only looks so (an id, a value) costs
/// an execution more.
///
/// # Safety
/// `arguments` are the addresses of strings, up to a null; there is one at least.
unsafe fn is_sealed(arguments: *const *const u8) -> bool {
    // SAFETY: by the caller's promise; each string is read up to its end.
    unsafe {
        let mut at = arguments;
        while !(*at).is_null() {
            if begins(*at, b"run\0") || begins(*at, b"create\0") || begins(*at, b"exec\0") || begins(*at, b"demo\0") {
                return true;
            }
            at = at.add(1);
        }
    }
    false
}

/// Whether a string begins with these bytes.
///
/// # Safety
/// The string ends with a zero.
#[inline(always)]
unsafe fn begins<const N: usize>(string: *const u8, with: &[u8; N]) -> bool {
    let mut at = 0;
    while at < N {
        // SAFETY: all bytes before are those of `with`, of which only the last can be zero.
        if unsafe { *string.add(at) } != with[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Executes a read-only copy of the mount of this binary; returns where that is not possible, with nothing changed.
///
/// # Safety
/// As for [`begin`].
unsafe fn execute_copy(arguments: *const *const u8, environment: *const *const u8) {
    let mut entry = [MaybeUninit::<u8>::uninit(); LONGEST];
    let mut entries = [MaybeUninit::<*const u8>::uninit(); MOST + 2];
    let (entry, entries) = (entry.as_mut_ptr().cast::<u8>(), entries.as_mut_ptr().cast::<*const u8>());
    // SAFETY: the environment ends with a null; no more than MOST entries are copied behind the first, and a null. The
    // calls are given strings and structures that outlive them.
    unsafe {
        let mut count = 0;
        while !(*environment.add(count)).is_null() {
            if count == MOST || begins(*environment.add(count), b"FERRUN_COPY=") {
                return;
            }
            *entries.add(count + 1) = *environment.add(count);
            count += 1;
        }
        *entries = entry;
        *entries.add(count + 1) = std::ptr::null();

        let here = libc::AT_FDCWD.cast_unsigned() as usize;
        let binary = c"/proc/self/exe".as_ptr().addr();
        let copy = call(libc::SYS_open_tree, here, binary, CLONE, 0, 0);
        if copy < 0 {
            return;
        }
        let (copy, empty) = (copy.cast_unsigned(), c"".as_ptr().addr());
        if copy <= STANDARD_ERROR {
            // The usual start opens the standard streams that are closed.
            call(libc::SYS_close, copy, 0, 0, 0, 0);
            return;
        }
        let read_only: [u64; 4] = [attr::RDONLY, 0, 0, 0];
        let attributes = (&raw const read_only).addr();
        let changed = call(libc::SYS_mount_setattr, copy, empty, EMPTY_PATH, attributes, size_of_val(&read_only));
        let pid = call(libc::SYS_getpid, 0, 0, 0, 0, 0);
        if changed == 0 && pid > 0 {
            let pid = pid.cast_unsigned();
            let end = number(number(text(entry, b"FERRUN_COPY="), pid, b':'), copy, 0);
            debug_assert!(end.offset_from_unsigned(entry) <= LONGEST);
            let (arguments, entries) = (arguments.addr(), entries.addr());
            call(libc::SYS_execveat, copy, empty, arguments, entries, EMPTY_PATH);
        }
        call(libc::SYS_close, copy, 0, 0, 0, 0);
    }
}

/// Writes bytes; returns where they end.
///
/// # Safety
/// There is room for them.
#[inline(always)]
unsafe fn text<const N: usize>(to: *mut u8, bytes: &[u8; N]) -> *mut u8 {
    let mut at = 0;
    while at < N {
        // SAFETY: by the caller's promise.
        unsafe { *to.add(at) = bytes[at] };
        at += 1;
    }
    // SAFETY: as above.
    unsafe { to.add(N) }
}

/// Writes a number and a byte behind it; returns where they end.
///
/// # Safety
/// There is room for eleven bytes, and the number has ten digits at most.
unsafe fn number(to: *mut u8, value: usize, then: u8) -> *mut u8 {
    let mut power = 1;
    while value / power >= 10 {
        power *= 10;
    }
    let mut to = to;
    while power > 0 {
        // SAFETY: by the caller's promise.
        unsafe {
            *to = b'0' + (value / power % 10).to_le_bytes()[0];
            to = to.add(1);
        }
        power /= 10;
    }
    // SAFETY: as above.
    unsafe {
        *to = then;
        to.add(1)
    }
}

/// A system call, without the C library: the result, or a negative errno.
///
/// # Safety
/// What the call asks of its arguments.
#[inline(always)]
unsafe fn call(number: i64, one: usize, two: usize, three: usize, four: usize, five: usize) -> isize {
    let result;
    // SAFETY: the kernel's convention (syscall(2)); memory is the caller's promise.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("syscall", inlateout("rax") number => result, in("rdi") one, in("rsi") two, in("rdx") three,
            in("r10") four, in("r8") five, lateout("rcx") _, lateout("r11") _, options(nostack));
        #[cfg(target_arch = "aarch64")]
        asm!("svc 0", in("x8") number, inlateout("x0") one => result, in("x1") two, in("x2") three,
            in("x3") four, in("x4") five, options(nostack));
    }
    result
}

/// Whether a command's word leads to the execution here.
#[cfg(test)]
pub fn seals(word: &str) -> bool {
    let word = std::ffi::CString::new(word).unwrap();
    // SAFETY: a string, and a null.
    unsafe { is_sealed([word.as_ptr().cast(), std::ptr::null()].as_ptr()) }
}

#[cfg(test)]
mod tests {
    use std::ffi::{CStr, CString};

    use super::super::program::COPY;
    use super::*;

    #[test]
    fn the_words_of_sealed_commands_are_found() {
        let found = |line: &str| {
            let words: Vec<CString> = line.split(' ').map(|word| CString::new(word).unwrap()).collect();
            let mut pointers: Vec<*const u8> = words.iter().map(|word| word.as_ptr().cast()).collect();
            pointers.push(std::ptr::null());
            // SAFETY: strings, and a null.
            unsafe { is_sealed(pointers.as_ptr()) }
        };
        for line in ["ferrun run c", "ferrun --root /r --log=/l create -b /b c", "f exec -t c sh", "demo"] {
            assert!(found(line), "{line}");
        }
        for line in ["ferrun state c", "ferrun", "ferrun runs c", "ferrun ru", "ferrun --run -create Exec"] {
            assert!(!found(line), "{line}");
        }
    }

    #[test]
    fn the_variable_has_two_numbers() {
        assert_eq!(COPY, "FERRUN_COPY");
        for (pid, descriptor, wanted) in
            [(1, 3, c"FERRUN_COPY=1:3"), (4194304, 1048575, c"FERRUN_COPY=4194304:1048575")]
        {
            let mut entry = [0; LONGEST];
            // SAFETY: there is room.
            unsafe { number(number(text(entry.as_mut_ptr(), b"FERRUN_COPY="), pid, b':'), descriptor, 0) };
            assert_eq!(CStr::from_bytes_until_nul(&entry).unwrap(), wanted);
        }
    }
}
