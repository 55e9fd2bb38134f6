//! What long mappings leave behind: a program of its own, in which nobody else maps anything.
#![cfg(not(any(loom, miri)))]

use counterpoint_shm::memory::Segment;

const HUGE: usize = 2 << 20;

/// How many bytes of addresses this process uses.
fn size() -> usize {
    let sizes = std::fs::read_to_string("/proc/self/statm").unwrap();
    sizes.split(' ').next().unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn a_long_mapping_is_aligned_and_leaves_nothing_beside_it() {
    for len in [HUGE, HUGE + 1, 3 * HUGE + 5000] {
        let mut before = 0;
        for round in 0..200 {
            let segment = Segment::create(c"test", len).unwrap();
            assert_eq!(segment.base().align_offset(HUGE), 0);
            // SAFETY: valid for the segment's length; one thread uses it.
            unsafe { segment.base().add(len - 1).write_volatile(1) };
            // By then the allocator and a sanitizer have what they need.
            if round == 100 {
                before = size();
            }
        }
        // One round would leave half a huge page, or as much as the mapping.
        assert!(size() < before + 10 * HUGE, "{before} bytes became {}", size());
    }
}
