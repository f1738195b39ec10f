//! Where the release binary begins (`hack/build` names it to the linker): the second execution (cli/self_exe.rs) before
//! relocation and the C library's start, which otherwise happen twice; and relocation itself, from the packed table that
//! the C library of Debian 12 cannot read.
//!
//! Nothing is there yet: no relocated pointer, no thread-local errno, no allocator. So the code here uses no table, no
//! constant that holds an address, no index that is checked, and makes its system calls itself. What it cannot decide, or
//! what fails, is left to the usual start, which does the same once more and reports why. All of it lies on one page
//! (hack/order.ld), which is all that the first execution touches of the binary.

use std::arch::{asm, global_asm};
use std::mem::MaybeUninit;

use super::mount::{OPEN_TREE_CLONE, attr};

const CLONE: usize = OPEN_TREE_CLONE as usize;
const EMPTY_PATH: usize = libc::AT_EMPTY_PATH.cast_unsigned() as usize;
const STANDARD_ERROR: usize = libc::STDERR_FILENO.cast_unsigned() as usize;
/// Bytes of `FERRUN_COPY=PID:FD` and its end.
const LONGEST: usize = 40;

/// Commands that are executed from a copy (cli/self_exe.rs), each with a zero, and an empty one.
#[unsafe(link_section = ".entry.rodata")]
static SEALED: [u8; 22] = *b"run\0create\0exec\0demo\0\0";
#[unsafe(link_section = ".entry.rodata")]
static NAME: [u8; 13] = *b"FERRUN_COPY=\0";
#[unsafe(link_section = ".entry.rodata")]
static BINARY: [u8; 15] = *b"/proc/self/exe\0";

// The entry: the stack pointer is that of elf(5), which `_start` of the C library needs as it is.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".pushsection .entry.text, \"ax\", @progbits",
    ".globl ferrun_entry",
    ".hidden __ehdr_start",
    ".hidden _DYNAMIC",
    "ferrun_entry:",
    "xor ebp, ebp",
    "mov rbx, rsp",
    "mov rdi, rsp",
    "and rsp, -16",
    "lea rsi, [rip + __ehdr_start]",
    "lea rdx, [rip + _DYNAMIC]",
    "call {begin}",
    "mov rsp, rbx",
    "xor edx, edx", // no function to call at the exit
    "jmp _start",
    ".popsection",
    begin = sym begin,
);
#[cfg(target_arch = "aarch64")]
global_asm!(
    ".pushsection .entry.text, \"ax\", @progbits",
    ".globl ferrun_entry",
    ".hidden __ehdr_start",
    ".hidden _DYNAMIC",
    "ferrun_entry:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "adrp x1, __ehdr_start",
    "add x1, x1, :lo12:__ehdr_start",
    "adrp x2, _DYNAMIC",
    "add x2, x2, :lo12:_DYNAMIC",
    "bl {begin}",
    "mov x0, xzr",
    "b _start",
    ".popsection",
    begin = sym begin,
);

/// The start of a process, in its second execution or without one: relocated, and else as the kernel has left it.
///
/// # Safety
/// `stack` points at the number of arguments, and behind it are their addresses, a null, those of the environment, a
/// null, and the auxiliary vector (elf(5), and the System V ABI of the machine). `base` is the address of the binary's
/// header, and `dynamic` that of its dynamic section, whose relocations nobody has made yet; it and what they change can be
/// written.
#[unsafe(link_section = ".entry.text")]
unsafe extern "C" fn begin(stack: *const usize, base: *mut u8, dynamic: *mut Dynamic) {
    // SAFETY: by the caller's promise.
    unsafe {
        let arguments = stack.add(1).cast::<*const u8>();
        let environment = arguments.add(*stack + 1).cast_mut();
        if is_sealed(arguments) {
            execute_copy(arguments, environment);
        }
        relocate(base, dynamic);
    }
}

/// An entry of the dynamic section: elf(5).
#[repr(C)]
struct Dynamic {
    tag: usize,
    value: usize,
}

/// The end of the dynamic section.
const DT_NULL: usize = 0;
/// Bytes of the packed table of relative relocations, and where it is.
const DT_RELRSZ: usize = 35;
const DT_RELR: usize = 36;

/// Adds where the binary lies to each of its pointers that the packed table names: an address, or a bit for each of the 63
/// words behind the last (gABI, "Relative Relocation Table"). A C library that reads the table as well finds it empty.
///
/// # Safety
/// As for [`begin`].
#[inline(always)]
unsafe fn relocate(base: *mut u8, dynamic: *mut Dynamic) {
    // SAFETY: by the caller's promise the section ends with DT_NULL, and the table names words of the binary.
    unsafe {
        // The page is written to below: to read it first would be a page fault more.
        #[cfg(target_arch = "x86_64")]
        asm!("or qword ptr [{dynamic}], 0", dynamic = in(reg) dynamic, options(nostack));
        let (mut table, mut size, mut at) = (std::ptr::null::<usize>(), 0, dynamic);
        while (*at).tag != DT_NULL {
            if (*at).tag == DT_RELR {
                table = base.add((*at).value).cast();
            } else if (*at).tag == DT_RELRSZ {
                size = (*at).value;
                // The linker writes it, and the page is written to anyway.
                (&raw mut (*at).value).write_volatile(0);
            }
            at = at.add(1);
        }
        let (end, mut next) = (table.byte_add(size), base.cast::<usize>());
        while table != end {
            let mut bits = *table;
            if bits & 1 == 0 {
                next = base.add(bits).cast();
                *next = (*next).wrapping_add(base.addr());
                next = next.add(1);
            } else {
                bits >>= 1;
                while bits != 0 {
                    let word = next.add(bits.trailing_zeros() as usize);
                    *word = (*word).wrapping_add(base.addr());
                    // Without its lowest bit.
                    bits &= bits - 1;
                }
                next = next.add(usize::BITS as usize - 1);
            }
            table = table.add(1);
        }
    }
}

/// Whether an argument is the word of a command that a container can reach. One that only looks so (an id, a value) costs
/// an execution more.
///
/// # Safety
/// `arguments` are the addresses of strings, up to a null.
#[inline(always)]
unsafe fn is_sealed(arguments: *const *const u8) -> bool {
    // SAFETY: by the caller's promise, each string is read up to its end; the words end with an empty one.
    unsafe {
        let mut at = arguments;
        while !(*at).is_null() {
            let mut word = (&raw const SEALED).cast::<u8>();
            while *word != 0 {
                let length = length(word);
                if begins(*at, word, length + 1) {
                    return true;
                }
                word = word.add(length + 1);
            }
            at = at.add(1);
        }
    }
    false
}

/// The bytes of a string before its end. (Volatile, here and below: so that no loop becomes a call of the C library's,
/// on another page.)
///
/// # Safety
/// It ends with a zero.
#[inline(always)]
unsafe fn length(string: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: by the caller's promise.
    while unsafe { string.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}

/// Whether a string begins with so many bytes.
///
/// # Safety
/// The string ends with a zero, and only the last of the bytes may be one.
#[inline(always)]
unsafe fn begins(string: *const u8, with: *const u8, count: usize) -> bool {
    let mut at = 0;
    while at < count {
        // SAFETY: no byte before was the end of the string.
        if unsafe { *string.add(at) != with.add(at).read_volatile() } {
            return false;
        }
        at += 1;
    }
    true
}

/// Executes a read-only copy of the mount of this binary; returns where that is not possible, with nothing changed.
///
/// The entry that tells of the copy takes the place of the null behind the environment, and the null that of the auxiliary
/// vector's beginning, which only this execution would need.
///
/// # Safety
/// As for [`begin`].
#[inline(always)]
unsafe fn execute_copy(arguments: *const *const u8, environment: *mut *const u8) {
    let mut entry = [MaybeUninit::<u8>::uninit(); LONGEST];
    // SAFETY: the environment ends with a null, and something follows. The calls are given strings and structures that
    // outlive them.
    unsafe {
        let name = (&raw const NAME).cast::<u8>();
        let mut end = environment;
        while !(*end).is_null() {
            if begins(*end, name, NAME.len() - 1) {
                return;
            }
            end = end.add(1);
        }
        let here = libc::AT_FDCWD.cast_unsigned() as usize;
        let copy = call(libc::SYS_open_tree, here, (&raw const BINARY).addr(), CLONE, 0, 0);
        if copy < 0 {
            return;
        }
        let (copy, empty) = (copy.cast_unsigned(), name.add(NAME.len() - 1).addr());
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
            let behind = *end.add(1);
            *end = write_entry(entry.as_mut_ptr().cast::<u8>().add(LONGEST), pid.cast_unsigned(), copy);
            *end.add(1) = std::ptr::null();
            call(libc::SYS_execveat, copy, empty, arguments.addr(), environment.addr(), EMPTY_PATH);
            *end = std::ptr::null();
            *end.add(1) = behind;
        }
        call(libc::SYS_close, copy, 0, 0, 0, 0);
    }
}

/// Writes `FERRUN_COPY=PID:FD` and its end, backwards; returns where it begins.
///
/// # Safety
/// There is room for [`LONGEST`] bytes before `end`; the numbers have ten digits at most.
#[inline(always)]
unsafe fn write_entry(end: *mut u8, pid: usize, copy: usize) -> *const u8 {
    // SAFETY: by the caller's promise.
    unsafe {
        let mut at = number(number(end, copy, 0), pid, b':');
        let mut left = NAME.len() - 1;
        while left > 0 {
            left -= 1;
            at = at.sub(1);
            *at = (&raw const NAME).cast::<u8>().add(left).read_volatile();
        }
        at
    }
}

/// Writes a number and the byte behind it, backwards; returns where it begins.
///
/// # Safety
/// There is room for eleven bytes before `end`, and the number has ten digits at most.
#[inline(always)]
unsafe fn number(end: *mut u8, value: usize, then: u8) -> *mut u8 {
    let mut rest = value;
    // SAFETY: by the caller's promise.
    unsafe {
        let mut at = end.sub(1);
        *at = then;
        loop {
            at = at.sub(1);
            *at = b'0' + (rest % 10).to_le_bytes()[0];
            rest /= 10;
            if rest == 0 {
                return at;
            }
        }
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
            // SAFETY: there is room, and a zero at the end.
            let written = unsafe { CStr::from_ptr(write_entry(entry.as_mut_ptr_range().end, pid, descriptor).cast()) };
            assert_eq!(written, wanted);
        }
    }
}
