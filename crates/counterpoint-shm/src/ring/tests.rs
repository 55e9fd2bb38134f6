use super::*;

const CAPACITY: usize = 256;

/// A ring in memory of this process.
struct Own {
    cursors: Cursors,
    words: Vec<AtomicU64>,
}

impl Own {
    fn new() -> Self {
        let words = (0..CAPACITY / 8).map(|_| AtomicU64::new(0)).collect();
        Self { cursors: Cursors::default(), words }
    }

    fn ring(&self) -> Ring<'_> {
        let base = self.words.as_ptr().cast_mut().cast();
        // SAFETY: the words are that many bytes, aligned, and live as long as `self`.
        Ring { cursors: &self.cursors, bytes: unsafe { Bytes::new(base, CAPACITY) } }
    }
}

fn ends() -> (Own, Producer, Consumer) {
    (Own::new(), Producer::new(CAPACITY), Consumer::new(CAPACITY))
}

#[test]
fn records_of_every_length_come_out_as_they_went_in() {
    let (own, mut producer, mut consumer) = ends();
    let (ring, mut copy) = (own.ring(), Vec::new());
    for round in 0..2000 {
        let len = round * 7 % (max_payload(CAPACITY) + 1);
        let payload: Vec<u8> = (0..len).map(|i| (i + round) as u8).collect();
        let (a, b) = payload.split_at(len / 3);
        assert_eq!(producer.push(&ring, round as u32, &[a, b, &[]]), Ok(true));
        assert_eq!(consumer.take(&ring, &mut copy), Ok(Some(round as u32)));
        assert_eq!(copy, payload);
        assert_eq!(consumer.take(&ring, &mut copy), Ok(None));
    }
}

#[test]
fn a_full_ring_refuses_and_an_empty_one_takes_the_longest() {
    let (own, mut producer, mut consumer) = ends();
    let (ring, mut copy) = (own.ring(), Vec::new());
    let long = [0; max_payload(CAPACITY) + 1];
    assert_eq!(producer.push(&ring, 0, &[&long]), Ok(false));
    for start in 0..CAPACITY / 8 {
        let mut pushed = 0;
        while producer.push(&ring, 0, &[&long[1..]]) == Ok(true) {
            pushed += 1;
        }
        assert!(pushed >= 1, "from {start}");
        while consumer.take(&ring, &mut copy) != Ok(None) {}
        assert_eq!(producer.push(&ring, 0, &[]), Ok(true));
        assert_eq!(consumer.take(&ring, &mut copy), Ok(Some(0)));
    }
}

#[test]
fn what_is_said_to_be_free_is_and_no_more() {
    let (own, mut producer, mut consumer) = ends();
    let (ring, mut copy) = (own.ring(), Vec::new());
    for round in 0..500 {
        let free = producer.free_space(&ring).unwrap();
        let payload = vec![0; free + 1];
        assert_eq!(producer.push(&ring, 0, &[&payload]), Ok(false));
        let len = free.min(round % 50).max(1);
        assert_eq!(producer.push(&ring, 0, &[&payload[..len]]), Ok(free > 0));
        assert_eq!(producer.is_half_full(&ring), producer.tail - consumer.head >= 128);
        if round % 3 > 0 {
            consumer.take(&ring, &mut copy).unwrap();
        }
    }
}

#[test]
fn a_cursor_that_cannot_be_is_reported() {
    for tail in [4, CAPACITY as u64 + 8, u64::MAX - 7] {
        let (own, _, mut consumer) = ends();
        own.cursors.publish(tail);
        assert_eq!(consumer.peek(&own.ring()).err(), Some(Corrupt));
    }
    for head in [u64::MAX - 7, 4, CAPACITY as u64, 1 << 60] {
        let (own, mut producer, _) = ends();
        assert_eq!(producer.push(&own.ring(), 0, &[&[0; 100]]), Ok(true));
        assert_eq!(producer.push(&own.ring(), 0, &[&[0; 100]]), Ok(true));
        own.cursors.consume(head);
        assert_eq!(producer.push(&own.ring(), 0, &[&[0; 100]]), Err(Corrupt), "{head}");
    }
}

#[test]
fn a_length_that_cannot_be_is_reported() {
    for len in [9, 1000, WRAP, WRAP - 1] {
        let (own, _, mut consumer) = ends();
        own.ring().bytes.store(0, len.into());
        own.cursors.publish(16);
        assert_eq!(consumer.peek(&own.ring()).err(), Some(Corrupt), "{len}");
    }
}

#[test]
fn two_threads_lose_and_damage_nothing() {
    let (own, mut producer, mut consumer) = ends();
    let records = if cfg!(miri) { 200 } else { 100_000 };
    let payload = |n: u32| vec![n as u8; n as usize % (max_payload(CAPACITY) + 1)];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..records {
                while producer.push(&own.ring(), n, &[&payload(n)]) != Ok(true) {
                    std::thread::yield_now();
                }
            }
        });
        let mut copy = Vec::new();
        for n in 0..records {
            while consumer.take(&own.ring(), &mut copy) != Ok(Some(n)) {
                std::thread::yield_now();
            }
            assert_eq!(copy, payload(n));
        }
    });
}
