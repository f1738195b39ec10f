//! The start of the process: `main` as the C library calls it, for a command that lives for a millisecond. The standard
//! library's own start would make ten system calls more, for a second stack, on which it would report that the first one
//! overflows.

use std::ffi::{CStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use super::fd::is_open;
use super::program::ignore_sigpipe;

/// Defines the function `main` of a binary (`#![no_main]`), which ends with the status that `$run` returns.
#[macro_export]
macro_rules! main_function {
    ($run:path) => {
        /// What the C library calls: exec(3).
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        extern "C" fn main(_count: ::std::ffi::c_int, arguments: *mut *mut ::std::ffi::c_char) -> ::std::ffi::c_int {
            // SAFETY: the C library passes the arguments of the process, before anything else.
            unsafe { $crate::sys::start::begin(arguments) };
            // What an exit does (signal stacks and the like) the kernel does as well; nothing is buffered.
            $crate::sys::program::exit($run())
        }
    };
}

/// The arguments, with which a process that began by [`begin`] was executed.
static ARGUMENTS: AtomicPtr<*mut c_char> = AtomicPtr::new(null_mut());

/// Begins: what is closed of the standard streams is opened on /dev/null, so that no file gets such a number, and writing
/// where nobody reads is an error and not the end.
///
/// # Safety
/// `arguments` are those of the process, up to a null, and stay where they are as long as it lives.
pub unsafe fn begin(arguments: *mut *mut c_char) {
    ARGUMENTS.store(arguments, Relaxed);
    open_streams();
    ignore_sigpipe(true);
}

fn open_streams() {
    let mut streams = [0, 1, 2].map(|fd: c_int| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: the kernel reads and writes three structures, and open(2) is given a string; the lowest free number is that
    // of the stream, since those before it are open.
    unsafe {
        let asked = libc::poll(streams.as_mut_ptr(), 3, 0) >= 0;
        // A low RLIMIT_NOFILE forbids to ask for three at once.
        let is_closed = |stream: &libc::pollfd| match asked {
            true => stream.revents & libc::POLLNVAL != 0,
            false => !is_open(stream.fd),
        };
        for stream in streams.into_iter().filter(is_closed) {
            if libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) != stream.fd {
                super::program::exit(1);
            }
        }
    }
}

/// The arguments of this process, the name first.
pub fn arguments() -> Vec<OsString> {
    let mut at = ARGUMENTS.load(Relaxed);
    if at.is_null() {
        // Another program's, which uses ferrun as a library.
        return std::env::args_os().collect();
    }
    let mut arguments = Vec::new();
    // SAFETY: by the promise to `begin`; the strings stay as they are, but for `forget_arguments`, after which nobody asks.
    unsafe {
        while !(*at).is_null() {
            arguments.push(std::ffi::OsStr::from_bytes(CStr::from_ptr(*at).to_bytes()).to_owned());
            at = at.add(1);
        }
    }
    arguments
}
