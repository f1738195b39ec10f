//! The allocator of the short-lived commands: it hands out and never takes back.
//!
//! A command lives for a millisecond or five; its whole heap is some tens of KiB. Bumping a pointer
//! through zeroed pages that the kernel maps anyway touches fewer pages and makes fewer system calls
//! than any general allocator (docs/decisions.md has the figures).

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes of .bss that serve before the first mmap: untouched pages of it cost nothing.
const ARENA: usize = 256 * 1024;
/// Smallest piece asked of the kernel once the arena is used up. Each further one is twice as large, so that there are
/// few for [`Bump::owns`] to look at.
const CHUNK: usize = 1024 * 1024;
/// The largest, unless one block is larger.
const LARGEST: usize = 64 * CHUNK;

/// An allocator whose blocks are never freed; only the newest one grows or is given back in place.
pub struct Bump {
    arena: std::cell::UnsafeCell<[u8; ARENA]>,
    /// Address of the next free byte; 0 before the first call.
    next: AtomicUsize,
    /// Address after the last byte of the current piece.
    end: AtomicUsize,
    /// Address of the newest piece's header; 0 while the arena is enough.
    newest: AtomicUsize,
}

/// What stands at the beginning of a piece.
#[repr(C)]
struct Header {
    /// Bytes of the piece.
    length: usize,
    /// Address of the header of the piece before it.
    before: usize,
}

// SAFETY: the arena is only handed out in disjoint pieces, each claimed by a compare-exchange on `next`.
unsafe impl Sync for Bump {}

impl Bump {
    /// An allocator with its arena still untouched.
    #[allow(clippy::new_without_default)] // used as a static
    pub const fn new() -> Bump {
        let [next, end, newest] = [const { AtomicUsize::new(0) }; 3];
        Bump { arena: std::cell::UnsafeCell::new([0; ARENA]), next, end, newest }
    }

    /// Makes a new piece of at least `size` bytes current. Two threads that come here at once waste
    /// the smaller part of a piece, nothing else.
    fn refill(&self, size: usize) -> bool {
        if self.end.load(Relaxed) == 0 {
            let start = self.arena.get() as usize;
            self.next.store(start, Relaxed);
            self.end.store(start + ARENA, Relaxed);
            return true;
        }
        // SAFETY: it is the header of a piece, which is never unmapped and not written again.
        let last = unsafe { (self.newest.load(Relaxed) as *const Header).as_ref() };
        let usual = last.map_or(CHUNK, |last| (2 * last.length).min(LARGEST));
        let length = (size + size_of::<Header>()).max(usual).next_multiple_of(4096);
        // SAFETY: an anonymous private mapping at an address of the kernel's choice aliases nothing.
        let piece = unsafe {
            libc::mmap(
                null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if piece == libc::MAP_FAILED {
            return false;
        }
        let before = self.newest.swap(piece as usize, Relaxed);
        // SAFETY: a page is aligned for a header and has room for it, and nobody else knows it yet.
        unsafe { piece.cast::<Header>().write(Header { length, before }) };
        // `end` first and lowered to nothing, so that nobody takes from the old piece with the new end.
        self.end.store(1, Relaxed);
        self.next.store(piece as usize + size_of::<Header>(), Relaxed);
        self.end.store(piece as usize + length, Relaxed);
        true
    }

    /// Whether a block was handed out here. Not to be asked while another thread allocates here.
    pub fn owns(&self, block: *const u8) -> bool {
        let (block, arena) = (block as usize, self.arena.get() as usize);
        let mut owns = (arena..arena + ARENA).contains(&block);
        let mut piece = self.newest.load(Relaxed);
        while !owns && piece != 0 {
            // SAFETY: it is the header of a piece, which is never unmapped and not written again.
            let header = unsafe { &*(piece as *const Header) };
            owns = (piece..piece + header.length).contains(&block);
            piece = header.before;
        }
        owns
    }
}

// SAFETY: `alloc` returns disjoint blocks (each claimed by a compare-exchange) of the asked size and
// alignment inside a mapped piece; blocks stay valid for ever.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        loop {
            let next = self.next.load(Relaxed);
            let start = next.next_multiple_of(layout.align());
            let end = self.end.load(Relaxed);
            let Some(after) = start.checked_add(layout.size()) else {
                return null_mut();
            };
            if next != 0 && after <= end {
                if self.next.compare_exchange(next, after, Relaxed, Relaxed).is_ok() {
                    return start as *mut u8;
                }
            } else if !self.refill(layout.size() + layout.align()) {
                return null_mut();
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // The newest block is given back, so that a buffer made and dropped in a loop costs nothing.
        // Looked at first: a locked instruction costs twenty cycles, and few blocks are the newest.
        let (start, end) = (block as usize, block as usize + layout.size());
        if self.next.load(Relaxed) == end {
            let _ = self.next.compare_exchange(end, start, Relaxed, Relaxed);
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the same; a given-back block may be dirty, so it is cleared.
        unsafe {
            let block = self.alloc(layout);
            if !block.is_null() {
                block.write_bytes(0, layout.size());
            }
            block
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let start = block as usize;
        let old = start + layout.size();
        if start + size <= self.end.load(Relaxed)
            && self.next.load(Relaxed) == old
            && self.next.compare_exchange(old, start + size, Relaxed, Relaxed).is_ok()
        {
            return block;
        }
        if size <= layout.size() {
            return block;
        }
        // SAFETY: the new layout is valid by the caller's contract; the two blocks are disjoint and both
        // hold at least `layout.size()` bytes.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                new.copy_from_nonoverlapping(block, layout.size());
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_disjoint_and_grow_in_place() {
        static BUMP: Bump = Bump::new();
        // SAFETY: layouts are valid and the blocks are used within their sizes.
        unsafe {
            let bytes = Layout::from_size_align(3, 1).unwrap();
            let words = Layout::from_size_align(16, 8).unwrap();
            let a = BUMP.alloc(bytes);
            let b = BUMP.alloc(words);
            assert_eq!(b as usize % 8, 0);
            assert!(b as usize >= a as usize + 3);
            b.write_bytes(7, 16);
            assert_eq!(BUMP.realloc(b, words, 64), b, "the newest block grows in place");
            let c = BUMP.realloc(a, bytes, 32);
            assert_ne!(c, a, "an older block moves");
            let big = Layout::from_size_align(3 * CHUNK, 16).unwrap();
            let d = BUMP.alloc_zeroed(big);
            assert_eq!((d as usize % 16, *d.add(3 * CHUNK - 1)), (0, 0));
            let e = BUMP.alloc(big);
            let here = 0u8;
            assert_eq!([a, b, c, d, e].map(|block| BUMP.owns(block)), [true; 5]);
            assert!(!BUMP.owns(&here) && !BUMP.owns(d.wrapping_add(4 * CHUNK)));
        }
    }

    #[test]
    fn a_given_back_block_is_cleared_before_it_is_used_as_zeroed() {
        static BUMP: Bump = Bump::new();
        let layout = Layout::from_size_align(64, 1).unwrap();
        // SAFETY: as above.
        unsafe {
            let a = BUMP.alloc(layout);
            a.write_bytes(0xff, 64);
            BUMP.dealloc(a, layout);
            let b = BUMP.alloc_zeroed(layout);
            assert_eq!((b, *b), (a, 0));
        }
    }
}
