//! Arenas, with owner and receiver in one process.
#![cfg(not(any(loom, miri)))]

use counterpoint_shm::arena::{Arena, KEEP, LEAST, Lent, View, sealed_len};
use std::os::fd::AsFd;

fn fill(arena: &Arena, block: &counterpoint_shm::arena::Block, byte: u8) {
    // SAFETY: the block is ours, and that long.
    unsafe { arena.bytes(block).write_bytes(byte, block.len()) };
}

fn read(view: &View, at: usize) -> u8 {
    assert!(at < view.len());
    // SAFETY: in range of a view that exists.
    unsafe { view.as_ptr().add(at).read_volatile() }
}

#[test]
fn a_receiver_sees_a_block_and_writes_for_itself() {
    let mut arena = Arena::create(c"test", LEAST).unwrap();
    let first = arena.alloc(100_000).unwrap();
    let block = arena.alloc(100_000).unwrap();
    fill(&arena, &first, 1);
    fill(&arena, &block, 2);
    let len = sealed_len(arena.reader()).unwrap();
    assert_eq!(len, arena.len());
    let view = View::map(arena.reader(), len, block.offset(), block.len()).unwrap();
    assert_eq!([read(&view, 0), read(&view, 99_999)], [2, 2]);
    // SAFETY: in range of a view that exists.
    unsafe { view.as_ptr().write_volatile(9) };
    let again = View::map(arena.reader(), len, block.offset(), block.len()).unwrap();
    assert_eq!([read(&view, 0), read(&again, 0)], [9, 2]);
}

#[test]
fn a_range_that_cannot_be_is_refused() {
    let arena = Arena::create(c"test", LEAST).unwrap();
    let len = arena.len();
    for (offset, bytes) in
        [(0, 0), (0, len + 1), (1, 10), (len as u64, 1), (u64::MAX - 4095, 4096), (1 << 63, 1)]
    {
        assert!(View::map(arena.reader(), len, offset, bytes).is_err(), "{offset} {bytes}");
    }
    assert!(View::map(arena.reader(), len, 0, len).is_ok());
}

#[test]
fn a_receiver_cannot_write_to_the_file() {
    let arena = Arena::create(c"test", LEAST).unwrap();
    let mut file = std::fs::File::from(arena.reader().try_clone_to_owned().unwrap());
    assert!(std::io::Write::write(&mut file, b"x").is_err());
    assert!(file.set_len(0).is_err());
}

#[test]
fn another_process_can_lay_it_out() {
    let fd = Arena::lay_out(c"test", LEAST).unwrap();
    let mut arena = Arena::adopt(fd.try_clone().unwrap()).unwrap();
    let block = arena.alloc(5).unwrap();
    fill(&arena, &block, 3);
    let len = sealed_len(fd.as_fd()).unwrap();
    let view = View::map(fd.as_fd(), len, block.offset(), block.len()).unwrap();
    assert_eq!(read(&view, 4), 3);
}

#[test]
fn more_than_is_kept_goes_back_to_the_system() {
    let mut arena = Arena::create(c"test", 16 * LEAST).unwrap();
    let blocks: Vec<_> = (0..3).map(|_| arena.alloc(KEEP as usize / 2).unwrap()).collect();
    for block in &blocks {
        // SAFETY: the block is ours, and longer than that.
        unsafe { arena.bytes(block).write_bytes(1, 4096) };
    }
    assert_eq!(arena.in_use(), 3 * KEEP / 2);
    let first = blocks[0].offset();
    blocks.into_iter().for_each(|block| arena.free(block));
    assert_eq!((arena.in_use(), arena.resident()), (0, KEEP));
    let view = View::map(arena.reader(), arena.len(), first, 4096).unwrap();
    assert_eq!(read(&view, 0), 0, "a hole");
}

#[test]
fn a_receiver_returns_what_it_was_lent_and_nothing_else() {
    let mut arena = Arena::create(c"test", LEAST).unwrap();
    let mut lent = Lent::default();
    let (offset, len) = lent.lend(arena.alloc(10).unwrap());
    let _ = lent.lend(arena.alloc(20).unwrap());
    assert_eq!((len, lent.len()), (10, 2));
    assert_eq!(lent.returned(offset + 4096 * 7), None);
    arena.free(lent.returned(offset).unwrap());
    assert_eq!(lent.returned(offset), None);
    lent.drain().for_each(|block| arena.free(block));
    assert!(lent.is_empty() && arena.is_empty());
}

#[test]
fn what_is_used_again_becomes_huge_pages_and_keeps_its_meaning() {
    const LEN: usize = 9 << 20;
    let mut arena = Arena::create(c"test", LEAST).unwrap();
    let small = arena.alloc(5000).unwrap();
    let mut offset = None;
    for byte in 1..5 {
        let block = arena.alloc(LEN).unwrap();
        assert_eq!(block.offset() % (2 << 20), 0);
        assert_eq!(*offset.get_or_insert(block.offset()), block.offset());
        if byte > 1 {
            // SAFETY: the block is ours, and that long.
            assert_eq!(unsafe { arena.bytes(&block).add(LEN - 1).read() }, byte - 1, "as it was");
        }
        fill(&arena, &block, byte);
        let view = View::map(arena.reader(), arena.len(), block.offset(), LEN).unwrap();
        assert!((0..LEN).step_by(4096).all(|at| read(&view, at) == byte));
        // SAFETY: in range of a view that exists.
        unsafe { view.as_ptr().write_volatile(99) };
        assert_eq!([read(&view, 0), read(&view, 1), read(&view, 2 << 20)], [99, byte, byte]);
        // SAFETY: the block is ours.
        assert_eq!(unsafe { arena.bytes(&block).read() }, byte);
        drop(view);
        arena.free(block);
    }
    arena.free(small);
}
