//! The memory that a process has from its beginning.

use std::alloc::Layout;
use std::cell::{Cell, UnsafeCell};
use std::ptr::null_mut;

/// Bytes of .bss: pages of it that are not touched cost nothing.
const SIZE: usize = 256 * 1024;

/// A piece of memory from which blocks are cut. Only the newest one is given back, or grows; which is what a buffer
/// does that is made and dropped in a loop, and a vector that is filled.
#[repr(C)]
pub(super) struct Arena {
    /// How many of the bytes are used.
    used: Cell<usize>,
    bytes: UnsafeCell<[u8; SIZE]>,
}

impl Arena {
    pub(super) const fn new() -> Arena {
        Arena { used: Cell::new(0), bytes: UnsafeCell::new([0; SIZE]) }
    }

    fn base(&self) -> *mut u8 {
        self.bytes.get().cast()
    }

    /// Where a block is in the arena: a large number if it is elsewhere.
    fn offset(&self, block: *const u8) -> usize {
        block.addr().wrapping_sub(self.base().addr())
    }

    pub(super) fn has(&self, block: *const u8) -> bool {
        self.offset(block) < SIZE
    }

    /// A new block; null if there is no room.
    pub(super) fn take(&self, layout: Layout) -> *mut u8 {
        let used = self.used.get();
        // Up to the next multiple of a power of two.
        let start = used + ((self.base().addr() + used).wrapping_neg() & (layout.align() - 1));
        let end = start + layout.size();
        if end > SIZE {
            return null_mut();
        }
        self.used.set(end);
        self.base().wrapping_add(start)
    }

    /// Takes back the newest block, and no other.
    pub(super) fn give_back(&self, block: *mut u8, size: usize) {
        let start = self.offset(block);
        if start + size == self.used.get() {
            self.used.set(start);
        }
    }

    /// The same block with another size; null if it must move.
    pub(super) fn resize(&self, block: *mut u8, old: usize, new: usize) -> *mut u8 {
        let start = self.offset(block);
        if start + old == self.used.get() && start + new <= SIZE {
            self.used.set(start + new);
            return block;
        }
        if new <= old { block } else { null_mut() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn blocks_are_aligned_disjoint_and_grow_in_place() {
        let arena = Box::new(Arena::new());
        let first = arena.take(layout(3, 1));
        let second = arena.take(layout(16, 8));
        assert_eq!(second.addr() % 8, 0);
        assert!(second.addr() >= first.addr() + 3);
        assert_eq!(arena.resize(second, 16, 64), second, "the newest block grows in place");
        assert!(arena.resize(first, 3, 32).is_null(), "an older block does not");
        assert_eq!(arena.resize(first, 3, 2), first);
        assert!(arena.has(first) && arena.has(second) && !arena.has(&raw const *arena as *const u8));
        assert!(arena.take(layout(SIZE, 1)).is_null() && arena.resize(second, 64, SIZE).is_null());
    }

    #[test]
    fn the_newest_block_is_given_back() {
        let arena = Box::new(Arena::new());
        let [first, second] = [(); 2].map(|()| arena.take(layout(64, 1)));
        arena.give_back(first, 64);
        assert_ne!(arena.take(layout(8, 1)), first);
        let third = arena.take(layout(64, 1));
        arena.give_back(third, 64);
        assert_eq!(arena.take(layout(64, 1)), third);
        assert_ne!(second, third);
    }
}
