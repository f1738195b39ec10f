//! Memory that is used again: blocks of powers of two, and mappings for what is larger.

use std::alloc::Layout;
use std::cell::Cell;
use std::ptr::null_mut;

/// The smallest block, which holds the address of another one while it is free, and is aligned for any type but vectors.
const SMALLEST: usize = 16;
/// How many sizes there are, each twice the one before.
const SIZES: usize = 13;
const LARGEST: usize = SMALLEST << (SIZES - 1);
/// Bytes of the pieces that blocks are cut from.
const PIECE: usize = 1 << 20;
const PAGE: usize = 4096;

/// Free blocks of each size, and a piece from which the next ones are cut.
pub(super) struct Blocks {
    /// The first free block of each size, which holds the address of the next.
    free: [Cell<*mut u8>; SIZES],
    /// What is left of the newest piece.
    rest: Cell<*mut u8>,
    length: Cell<usize>,
    /// Bytes of all pieces and mappings.
    #[cfg(test)]
    pub(super) mapped: Cell<usize>,
}

impl Blocks {
    pub(super) const fn new() -> Blocks {
        let free = [const { Cell::new(null_mut()) }; SIZES];
        Blocks {
            free,
            rest: Cell::new(null_mut()),
            length: Cell::new(0),
            #[cfg(test)]
            mapped: Cell::new(0),
        }
    }

    /// A new block; null if there is no memory.
    pub(super) fn take(&self, layout: Layout) -> *mut u8 {
        let Some(index) = index(layout) else {
            // A mapping is aligned to a page, and nothing to more.
            return if layout.align() > PAGE { null_mut() } else { self.map(layout.size()) };
        };
        let free = &self.free[index];
        let block = free.get();
        if block.is_null() {
            return self.cut(SMALLEST << index);
        }
        // SAFETY: a free block holds the address of the next one.
        free.set(unsafe { block.cast::<*mut u8>().read() });
        block
    }

    fn cut(&self, size: usize) -> *mut u8 {
        if self.length.get() < size {
            let piece = self.map(PIECE);
            if piece.is_null() {
                return piece;
            }
            // What was left of the last one is less than a block.
            self.rest.set(piece);
            self.length.set(PIECE);
        }
        let block = self.rest.get();
        self.rest.set(block.wrapping_add(size));
        self.length.set(self.length.get() - size);
        block
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// It was handed out here for this layout, and nobody uses it any more.
    pub(super) unsafe fn give_back(&self, block: *mut u8, layout: Layout) {
        match index(layout) {
            // SAFETY: by the caller's promise; a block has room for an address.
            Some(index) => unsafe { block.cast::<*mut u8>().write(self.free[index].replace(block)) },
            // SAFETY: by the caller's promise.
            None => unsafe { self.unmap(block, layout.size()) },
        }
    }

    /// The block with another size, perhaps elsewhere; null if it is to be copied to another one.
    ///
    /// # Safety
    /// It was handed out here for this layout, and nobody uses it any more if another address is returned.
    pub(super) unsafe fn resize(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: nothing but its index is asked for.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (index(layout), index(new)) {
            (None, None) => {
                let [old, new] = [layout.size(), size].map(whole_pages);
                // SAFETY: by the caller's promise.
                let moved = there(unsafe { libc::mremap(block.cast(), old, new, libc::MREMAP_MAYMOVE) });
                #[cfg(test)]
                if !moved.is_null() {
                    self.mapped.set(self.mapped.get() + new - old);
                }
                moved
            }
            (old, new) if old == new => block,
            _ => null_mut(),
        }
    }

    /// New memory, all zero; null if there is none.
    fn map(&self, size: usize) -> *mut u8 {
        let length = whole_pages(size);
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: an anonymous private mapping at an address of the kernel's choice aliases nothing.
        let block = there(unsafe { libc::mmap(null_mut(), length, access, kind, -1, 0) });
        #[cfg(test)]
        if !block.is_null() {
            self.mapped.set(self.mapped.get() + length);
        }
        block
    }

    /// # Safety
    /// [`Blocks::map`] made it for this size, and nobody uses it any more.
    unsafe fn unmap(&self, block: *mut u8, size: usize) {
        let length = whole_pages(size);
        // SAFETY: by the caller's promise.
        unsafe { libc::munmap(block.cast(), length) };
        #[cfg(test)]
        self.mapped.set(self.mapped.get() - length);
    }
}

/// Which of the sizes a block has. `None`: it is a mapping of its own.
fn index(layout: Layout) -> Option<usize> {
    if layout.size() > LARGEST || layout.align() > SMALLEST {
        return None;
    }
    Some((layout.size().max(SMALLEST) - 1).ilog2() as usize - 3)
}

fn whole_pages(size: usize) -> usize {
    size.next_multiple_of(PAGE)
}

fn there(mapping: *mut libc::c_void) -> *mut u8 {
    if mapping == libc::MAP_FAILED { null_mut() } else { mapping.cast() }
}
