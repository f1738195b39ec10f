//! Memory shared between processes: mmap(2) with MAP_SHARED, and futex(2) on its words.

use std::os::fd::{AsFd, AsRawFd};
use std::ptr::null;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use nix::errno::Errno;

use super::{check, count};

/// A shared mapping. Children that are forked have it as well, at the same address.
pub struct SharedMemory {
    address: *mut u8,
    length: usize,
}

// SAFETY: the mapping belongs to no thread, and is only read and written by atomics.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// Maps `length` bytes that only this process and its future children have; they are zero.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn anonymous(length: usize) -> nix::Result<SharedMemory> {
        map(length, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1)
    }

    /// Maps the first `length` bytes of a file, which must be that long.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn of_file(file: impl AsFd, length: usize) -> nix::Result<SharedMemory> {
        map(length, libc::MAP_SHARED, file.as_fd().as_raw_fd())
    }

    /// Keeps the mapping from children of this process that are created from now on: madvise(2), MADV_DONTFORK.
    ///
    /// # Errors
    /// Those of madvise(2).
    pub fn keep_from_children(&self) -> nix::Result<()> {
        // SAFETY: the mapping is this value's own, and stays as it is in this process.
        check(unsafe { libc::madvise(self.address.cast(), self.length, libc::MADV_DONTFORK) } as libc::c_long).map(drop)
    }

    /// The 32-bit word at `index`, counted in words.
    pub fn word(&self, index: usize) -> &AtomicU32 {
        assert!((index + 1) * 4 <= self.length);
        // SAFETY: it lies inside the mapping, which lives as long as `self` and is aligned to a page; whoever else
        // writes there does so by whole words, and any value is a valid one.
        unsafe { &*self.address.add(index * 4).cast::<AtomicU32>() }
    }

    fn byte(&self, at: usize) -> &AtomicU8 {
        assert!(at < self.length);
        // SAFETY: as above.
        unsafe { &*self.address.add(at).cast::<AtomicU8>() }
    }

    /// Copies bytes out. The other side may change them meanwhile: only the copy is to be looked at.
    pub fn read(&self, at: usize, length: usize) -> Vec<u8> {
        (at..at + length).map(|at| self.byte(at).load(Ordering::Relaxed)).collect()
    }

    /// Copies bytes in.
    pub fn write(&self, at: usize, bytes: &[u8]) {
        for (offset, byte) in bytes.iter().enumerate() {
            self.byte(at + offset).store(*byte, Ordering::Relaxed);
        }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no reference into it outlives the value.
        unsafe { libc::munmap(self.address.cast(), self.length) };
    }
}

fn map(length: usize, flags: i32, file: i32) -> nix::Result<SharedMemory> {
    // SAFETY: a new mapping at an address of the kernel's choice aliases nothing.
    let address =
        unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, file, 0) };
    match address {
        libc::MAP_FAILED => Err(Errno::last()),
        address => Ok(SharedMemory { address: address.cast(), length }),
    }
}

/// Waits while a word holds `value`, until it is woken up: FUTEX_WAIT. May return for no reason.
///
/// # Errors
/// EAGAIN: the word holds another value. ETIMEDOUT. EINTR.
pub fn wait(word: &AtomicU32, value: u32, timeout: Option<Duration>) -> nix::Result<()> {
    let timespec = |timeout: Duration| -> nix::Result<libc::timespec> {
        let tv_sec = timeout.as_secs().try_into().map_err(|_| Errno::EINVAL)?;
        Ok(libc::timespec { tv_sec, tv_nsec: timeout.subsec_nanos().into() })
    };
    let timeout = timeout.map(timespec).transpose()?;
    let timeout = timeout.as_ref().map_or(null(), std::ptr::from_ref);
    // SAFETY: the word and the timeout outlive the call, which writes to neither.
    check(unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, timeout) }).map(drop)
}

/// Wakes up whoever waits for a word to change: FUTEX_WAKE.
pub fn wake(word: &AtomicU32) {
    // SAFETY: only the word's address is used.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}

/// Moves whoever waits for `from` while it holds `value` to `to`, without waking them up: FUTEX_CMP_REQUEUE. Returns
/// how many these were.
///
/// # Errors
/// EAGAIN: `from` holds another value.
pub fn requeue(from: &AtomicU32, value: u32, to: &AtomicU32) -> nix::Result<usize> {
    let most = i32::MAX as libc::c_long;
    // SAFETY: only the addresses of the two words are used, and the first one's value is read.
    count(unsafe {
        libc::syscall(libc::SYS_futex, from.as_ptr(), libc::FUTEX_CMP_REQUEUE, 0, most, to.as_ptr(), value)
    })
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn waiters_are_moved_and_woken_up_where_they_are() {
        let memory = SharedMemory::anonymous(4096).unwrap();
        let (a, b) = (memory.word(0), memory.word(1));
        assert_eq!(wait(memory.word(0), 1, None), Err(Errno::EAGAIN));
        assert_eq!(wait(memory.word(0), 0, Some(Duration::from_millis(1))), Err(Errno::ETIMEDOUT));
        std::thread::scope(|scope| {
            scope.spawn(|| wait(a, 0, None).unwrap());
            while requeue(a, 0, b).unwrap() == 0 {}
            wake(b);
        });
        memory.write(100, b"text");
        assert_eq!(memory.read(99, 6), b"\0text\0");
    }
}
