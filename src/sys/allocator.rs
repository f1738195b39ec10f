//! The global allocator, for a process in which one thread allocates.
//!
//! A command lives for a millisecond or five, and its whole heap is some tens of KiB: so the first blocks are cut from
//! an arena in .bss by moving an offset, which touches fewer pages and makes fewer system calls than any other way
//! (docs/decisions.md has the figures). What that has no room for are blocks that are used again: a process that
//! lasts does not grow.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::arena::Arena;
use super::blocks::Blocks;
use super::helper_thread;
use super::program::{end_saying, end_without_memory};

/// The allocator: all zero at first, so that it takes no room in the binary.
#[repr(C)] // what changes most beside the arena's first page
pub struct Allocator {
    /// The one thread, by the address of [`HERE`]; 0 before the first call.
    owner: AtomicUsize,
    blocks: Blocks,
    arena: Arena,
}

/// Bytes handed out in all, whether or not they were given back.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// Bytes that this process has allocated since its beginning, or since [`count_anew`]. What was freed counts as well:
/// 0 means that no allocation was made.
pub fn taken() -> usize {
    TAKEN.load(Relaxed)
}

/// Counts from 0 again: for a child, whose copy of the count is its parent's.
pub fn count_anew() {
    TAKEN.store(0, Relaxed);
}

/// Calls a function whose allocations are not to be counted, such as those of whoever reports the count.
pub fn uncounted<T>(act: impl FnOnce() -> T) -> T {
    let before = taken();
    let result = act();
    TAKEN.store(before, Relaxed);
    result
}

/// One thread allocates, so that this need not be a locked instruction.
fn count(bytes: usize) {
    TAKEN.store(taken().wrapping_add(bytes), Relaxed);
}

thread_local! {
    /// A byte of each thread's own, for its address.
    static HERE: u8 = const { 0 };
}

// SAFETY: `check_thread` comes before every use, and ends the process in any thread but the first. The helper thread has
// the first one's storage: it allocates nothing (helper_thread.rs). Whoever shares memory by vfork(2) holds the first up.
unsafe impl Sync for Allocator {}

impl Allocator {
    /// An allocator with its arena still untouched, for the thread that uses it first. A child has a copy of its own.
    #[allow(clippy::new_without_default)] // used as a static
    pub const fn new() -> Allocator {
        Allocator { owner: AtomicUsize::new(0), blocks: Blocks::new(), arena: Arena::new() }
    }

    /// Ends the process in any thread but the first.
    fn check_thread(&self) {
        let here = HERE.with(|here| std::ptr::from_ref(here).addr());
        if self.owner.load(Relaxed) != here && self.owner.compare_exchange(0, here, Relaxed, Relaxed).is_err() {
            end_saying("ferrun: a second thread uses the allocator");
        }
        if cfg!(debug_assertions) && helper_thread::is_current() {
            end_saying("ferrun: the helper thread uses the allocator");
        }
    }
}

// SAFETY: blocks of the arena and of `Blocks` are disjoint, aligned, at least as large as was asked for, and mapped
// until they are given back, by one thread after the other's call.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.check_thread();
        count(layout.size());
        let block = self.arena.take(layout);
        if !block.is_null() {
            return block;
        }
        let block = self.blocks.take(layout);
        // The standard library would end by abort(3) then, which must not be called in a process made by clone3(2).
        if block.is_null() { end_without_memory() } else { block }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.check_thread();
        if self.arena.has(block) {
            self.arena.give_back(block, layout.size());
        } else {
            // SAFETY: the block is not the arena's, and nobody uses it any more.
            unsafe { self.blocks.give_back(block, layout) }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.check_thread();
        // SAFETY: by the caller's promise the new layout is valid; a block that is not the arena's is of `blocks`.
        // The two blocks of a move are disjoint, and both hold what is copied.
        unsafe {
            let resized = match self.arena.has(block) {
                true => self.arena.resize(block, layout.size(), size),
                false => self.blocks.resize(block, layout, size),
            };
            if !resized.is_null() {
                count(size.saturating_sub(layout.size()));
                return resized;
            }
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            new.copy_from_nonoverlapping(block, layout.size().min(size));
            self.dealloc(block, layout);
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::{c_int, c_void};

    use super::super::program::PANIC;
    use super::*;

    /// Numbers that look random.
    struct Numbers(u32);

    impl Numbers {
        fn below(&mut self, end: u32) -> usize {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((self.0 >> 8) % end) as usize
        }

        fn size(&mut self) -> usize {
            let most = self.below(18);
            1 + self.below(1 << most)
        }
    }

    /// A block that is filled with one byte.
    struct Filled(*mut u8, Layout, u8);

    impl Filled {
        fn new(block: *mut u8, layout: Layout, byte: u8) -> Filled {
            assert_eq!(block.addr() % layout.align(), 0);
            // SAFETY: the block has that many bytes, here and below.
            unsafe { block.write_bytes(byte, layout.size()) };
            Filled(block, layout, byte)
        }

        fn is_intact(&self, up_to: usize) -> bool {
            let size = self.1.size().min(up_to);
            // SAFETY: as above. Both slices are compared at once, which is fast in a debug build, too.
            unsafe { std::slice::from_raw_parts(self.0, size) == vec![self.2; size] }
        }
    }

    /// Some thousand blocks that come, grow, shrink and go, in no order.
    fn life(allocator: &Allocator, numbers: &mut Numbers) {
        let mut blocks: Vec<Filled> = Vec::new();
        for round in 0..2_000 {
            let (byte, size) = (round as u8, numbers.size());
            // SAFETY: layouts are valid, and a block is used until it is given back or has moved.
            unsafe {
                if blocks.len() < 100 {
                    let layout = Layout::from_size_align(size, 1 << numbers.below(7)).unwrap();
                    let [plain, zeroed] = [allocator.alloc(layout), allocator.alloc_zeroed(layout)];
                    assert!(Filled(zeroed, layout, 0).is_intact(usize::MAX));
                    blocks.extend([plain, zeroed].map(|block| Filled::new(block, layout, byte)));
                }
                let Filled(block, layout, was) = blocks.swap_remove(numbers.below(blocks.len() as u32));
                assert!(Filled(block, layout, was).is_intact(usize::MAX));
                if round % 2 == 0 {
                    allocator.dealloc(block, layout);
                } else {
                    let block = allocator.realloc(block, layout, size);
                    let new = Layout::from_size_align(size, layout.align()).unwrap();
                    assert!(Filled(block, new, was).is_intact(layout.size()));
                    blocks.push(Filled::new(block, new, byte));
                }
            }
        }
        // SAFETY: as above.
        blocks.iter().for_each(|Filled(block, layout, _)| unsafe { allocator.dealloc(*block, *layout) });
    }

    #[test]
    fn a_process_that_lasts_does_not_grow() {
        static ALLOCATOR: Allocator = Allocator::new();
        let mut numbers = Numbers(1);
        let mut mapped_after = |lives: usize| {
            (0..lives).for_each(|_| life(&ALLOCATOR, &mut numbers));
            ALLOCATOR.blocks.mapped.get()
        };
        let (first, all) = (mapped_after(5), mapped_after(50));
        assert!(all <= first + (1 << 20), "{first} bytes became {all}");
    }

    #[test]
    fn a_large_block_goes_back_to_the_kernel_and_grows_without_being_copied() {
        static ALLOCATOR: Allocator = Allocator::new();
        let layout = |mib: usize| Layout::from_size_align(mib << 20, 8).unwrap();
        // SAFETY: layouts are valid, and blocks are used within their sizes.
        unsafe {
            let block = ALLOCATOR.alloc(layout(1));
            block.write(7);
            let grown = ALLOCATOR.realloc(block, layout(1), 64 << 20);
            assert_eq!((grown.read(), ALLOCATOR.blocks.mapped.get()), (7, 64 << 20));
            ALLOCATOR.dealloc(grown, layout(64));
        }
        assert_eq!(ALLOCATOR.blocks.mapped.get(), 0);
    }

    #[test]
    #[cfg_attr(not(debug_assertions), ignore)]
    fn the_helper_thread_ends_the_process_if_it_allocates() {
        extern "C" fn allocate(_: *mut c_void) -> c_int {
            static ALLOCATOR: Allocator = Allocator::new();
            // SAFETY: the layout is valid.
            unsafe { ALLOCATOR.alloc(Layout::new::<u8>()) };
            0
        }
        assert_eq!(helper_thread::tests::process_on_the_stack(allocate), PANIC);
    }

    /// The test runs itself once more, for the process that ends.
    #[test]
    fn a_second_thread_ends_the_process() {
        static ALLOCATOR: Allocator = Allocator::new();
        const AGAIN: &str = "FERRUN_SECOND_THREAD";
        // SAFETY: the layout is valid.
        let allocate = || assert!(!unsafe { ALLOCATOR.alloc(Layout::new::<u8>()) }.is_null());
        if std::env::var_os(AGAIN).is_some() {
            allocate();
            allocate();
            std::thread::spawn(allocate).join().unwrap();
            return;
        }
        let name = concat!(module_path!(), "::a_second_thread_ends_the_process").split_once("::").unwrap().1;
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        let output = again.args(["--exact", name, "--nocapture"]).env(AGAIN, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(PANIC) && said.contains("a second thread uses the allocator"), "{said}");
    }
}
