//! The global allocator: [`Bump`] for commands that end in a moment, the C library's for those that last.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::bump::Bump;
use super::program::end_without_memory;

/// Whether this process lasts.
static LASTS: AtomicBool = AtomicBool::new(false);

/// From now on what is freed is used again: to be called by a command that may run for days, before it
/// begins to and before it has any thread.
pub fn last() {
    LASTS.store(true, Relaxed);
}

/// Both allocators. Blocks from before the change stay where they are until they grow or the process ends.
pub struct Allocator(Both);

impl Allocator {
    /// An allocator for a short life.
    #[allow(clippy::new_without_default)] // used as a static
    pub const fn new() -> Allocator {
        Allocator(Both(Bump::new()))
    }
}

/// The block, unless there is none. The standard library would end by abort(3) then, which must not be called in a
/// process made by clone3(2).
fn there(block: *mut u8) -> *mut u8 {
    if block.is_null() { end_without_memory() } else { block }
}

// SAFETY: every block goes back to the allocator that it came from, which keeps the contract.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the same, here and below.
        there(unsafe { if LASTS.load(Relaxed) { System.alloc(layout) } else { self.0.0.alloc(layout) } })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { self.0.dealloc(LASTS.load(Relaxed), block, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        there(unsafe { if LASTS.load(Relaxed) { System.alloc_zeroed(layout) } else { self.0.0.alloc_zeroed(layout) } })
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        there(unsafe { self.0.realloc(LASTS.load(Relaxed), block, layout, size) })
    }
}

/// The blocks of both: those of a process that lasts go back to, or move to, the C library's.
struct Both(Bump);

impl Both {
    /// # Safety
    /// As for [`GlobalAlloc::dealloc`].
    unsafe fn dealloc(&self, lasts: bool, block: *mut u8, layout: Layout) {
        // SAFETY: the block is the system's if it was not handed out by the other one.
        unsafe {
            if !lasts {
                self.0.dealloc(block, layout);
            } else if !self.0.owns(block) {
                System.dealloc(block, layout);
            }
        }
    }

    /// # Safety
    /// As for [`GlobalAlloc::realloc`].
    unsafe fn realloc(&self, lasts: bool, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above; the two blocks of a move are disjoint, and both hold what is copied.
        unsafe {
            if !lasts {
                return self.0.realloc(block, layout, size);
            }
            if !self.0.owns(block) {
                return System.realloc(block, layout, size);
            }
            let new = System.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                new.copy_from_nonoverlapping(block, layout.size().min(size));
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_go_back_to_where_they_came_from() {
        static BOTH: Both = Both(Bump::new());
        let layout = Layout::from_size_align(100, 8).unwrap();
        let large = Layout::from_size_align(10_000, 8).unwrap();
        // SAFETY: layouts are valid and the blocks are used within their sizes.
        unsafe {
            let early = BOTH.0.alloc(layout);
            early.write_bytes(7, 100);
            assert!(BOTH.0.owns(early));
            let moved = BOTH.realloc(true, early, layout, 10_000);
            assert!(!BOTH.0.owns(moved), "what grows moves over");
            assert_eq!((*moved, *moved.add(99)), (7, 7));
            let grown = BOTH.realloc(true, moved, large, 20_000);
            assert_eq!(*grown.add(99), 7);
            BOTH.dealloc(true, early, layout);
            BOTH.dealloc(true, grown, Layout::from_size_align(20_000, 8).unwrap());
        }
    }
}
