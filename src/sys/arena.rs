//! The memory that a process has from its beginning.

use std::alloc::Layout;
use std::cell::{Cell, UnsafeCell};
use std::ptr::null_mut;

/// Bytes of .bss: pages of it that are not touched cost nothing.
const SIZE: usize = 256 * 1024;

/// How many blocks that were given back are cut once more.
const GAPS: usize = 4;
/// Bytes of a block that is worth it.
const WORTH: usize = 256;

/// A piece of memory from which blocks are cut. The newest one is given back, or grows; which is what a buffer does that is
/// made and dropped in a loop, and a vector that is filled. Of the others the largest are cut again: each page that is
/// touched for the first time costs as much as a system call.
#[repr(C)]
pub(super) struct Arena {
    /// How many of the bytes are used.
    used: Cell<usize>,
    /// Where below that nothing is: from, to.
    gaps: [Cell<(usize, usize)>; GAPS],
    bytes: UnsafeCell<[u8; SIZE]>,
}

impl Arena {
    pub(super) const fn new() -> Arena {
        Arena { used: Cell::new(0), gaps: [const { Cell::new((0, 0)) }; GAPS], bytes: UnsafeCell::new([0; SIZE]) }
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
        for gap in &self.gaps {
            let (from, to) = gap.get();
            let start = self.aligned(from, layout);
            if start + layout.size() <= to {
                gap.set((start + layout.size(), to));
                return self.base().wrapping_add(start);
            }
        }
        let start = self.aligned(self.used.get(), layout);
        let end = start + layout.size();
        if end > SIZE {
            return null_mut();
        }
        self.used.set(end);
        self.base().wrapping_add(start)
    }

    /// The next place for a block of this alignment, which is a power of two.
    fn aligned(&self, offset: usize, layout: Layout) -> usize {
        offset + ((self.base().addr() + offset).wrapping_neg() & (layout.align() - 1))
    }

    /// Takes a block back: the newest one, or one that is larger than what is left of a gap.
    pub(super) fn give_back(&self, block: *mut u8, size: usize) {
        let (start, end) = (self.offset(block), self.offset(block) + size);
        if end == self.used.get() {
            return self.used.set(start);
        }
        if size < WORTH {
            return;
        }
        let left = |gap: &&Cell<(usize, usize)>| gap.get().1 - gap.get().0;
        if let Some(smallest) = self.gaps.iter().min_by_key(left).filter(|gap| left(gap) < size) {
            smallest.set((start, end));
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
    fn a_large_block_that_was_given_back_is_cut_again() {
        let arena = Box::new(Arena::new());
        let blocks = [(); 6].map(|()| arena.take(layout(1000, 8)));
        let last = arena.take(layout(1, 1));
        blocks[..5].iter().for_each(|block| arena.give_back(*block, 1000));
        // One more than there are gaps for.
        let again = [(); 5].map(|()| arena.take(layout(1000, 8)));
        assert_eq!(again[..4], blocks[..4]);
        assert!(again[4] > last);
        arena.give_back(again[1], 1000);
        let [first, second] = [arena.take(layout(1, 1)), arena.take(layout(64, 64))];
        assert!(first == again[1] && second > first && second < blocks[2] && second.addr() % 64 == 0);
        assert!(arena.take(layout(1000, 1)) > last, "no room is left there");
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
