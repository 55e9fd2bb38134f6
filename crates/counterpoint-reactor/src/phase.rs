//! [`Phase`]: how far a stream transport is in its life, and what may be done to it now.
//!
//! The transport's owner (asyncio's own code) says what was asked of it, a [`Flag`] each, and
//! counts what was written in vain; whoever reads and writes natively asks here first.
//!
//! | | reads | writes | is told that all is sent |
//! |---|---|---|---|
//! | open | yes | yes | no |
//! | paused | no | yes | no |
//! | closing | no | yes, asyncio allows it | yes |
//! | at the end of what is written | yes | no | yes |
//! | awaited | yes | no | yes |
//! | lost | no | no | no |
//!
//! Of several at once each takes away what it does, and what is lost is lost whatever else it is.
//!
//! # That all is sent is told
//!
//! Who closes says so first, and looks then whether something is queued. Who sends takes it out of
//! the queue first, and looks then whether [somebody waits](Phase::is_awaited_empty). Whichever is
//! second at the queue's lock sees the other, so nobody waits for ever; if both do,
//! [`end`](Phase::end) tells one of them that it is the first.

use crate::door::{AtomicU8, AtomicU32, Ordering};

/// What a transport's owner says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Flag {
    /// `close()` was called, or the connection failed.
    Closing = 1,
    /// Reading is paused.
    Paused = 2,
    /// `write_eof()` was called.
    Eof = 4,
    /// Somebody (sendfile) waits for all to be sent; meanwhile nobody may write.
    Awaited = 8,
    /// What is written in pieces may be held back until the callback that runs has ended.
    Holds = 16,
}

/// Who gets what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Receiver {
    /// A protocol that is given what came.
    Plain = 0,
    /// One that gives a buffer of its own.
    Buffered = 32,
    /// Our own, for TLS.
    Tls = 64,
}

/// The bits of a [`Receiver`].
const RECEIVER: u8 = Receiver::Buffered as u8 | Receiver::Tls as u8;

/// It is at its end: beside the flags, since its owner has no say in that.
const ENDED: u8 = 128;

/// The state of a stream transport.
///
/// | bits | |
/// |---|---|
/// | 0–4 | a [`Flag`] each |
/// | 5–6 | the [`Receiver`] |
/// | 7 | it has ended |
// ORDERING: relaxed throughout: nothing is published through a flag. What has to be seen by another
// thread is ordered by the interpreter's lock, or by that of the queue. Bits are changed in one
// step, so none is lost to another that is changed meanwhile.
#[derive(Debug, Default)]
pub struct Phase {
    /// How often something was written in vain, as asyncio counts; not 0: it is lost.
    lost: AtomicU32,
    bits: AtomicU8,
}

impl Phase {
    #[inline(always)]
    fn has(&self, bits: u8) -> bool {
        self.bits.load(Ordering::Relaxed) & bits != 0
    }

    /// Whether that was said last.
    #[inline(always)]
    pub fn is(&self, flag: Flag) -> bool {
        self.has(flag as u8)
    }

    /// Says that it is so, or is not any more.
    pub fn set(&self, flag: Flag, value: bool) {
        if value {
            self.bits.fetch_or(flag as u8, Ordering::Relaxed);
        } else {
            self.bits.fetch_and(!(flag as u8), Ordering::Relaxed);
        }
    }

    /// Who gets what is read.
    #[inline(always)]
    pub fn receiver(&self) -> Receiver {
        let bits = self.bits.load(Ordering::Relaxed);
        if bits & Receiver::Tls as u8 != 0 {
            Receiver::Tls
        } else if bits & Receiver::Buffered as u8 != 0 {
            Receiver::Buffered
        } else {
            Receiver::Plain
        }
    }

    /// Says who gets it from now on.
    pub fn hand_to(&self, receiver: Receiver) {
        let replaced = |bits| Some(bits & !RECEIVER | receiver as u8);
        let _ = self.bits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, replaced);
    }

    /// Whether it is lost: nothing can be read or written any more.
    #[inline(always)]
    pub fn is_lost(&self) -> bool {
        self.lost() != 0
    }

    /// How often something was written in vain.
    #[inline(always)]
    pub fn lost(&self) -> u32 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Says how often.
    pub fn set_lost(&self, count: u32) {
        self.lost.store(count, Ordering::Relaxed);
    }

    /// Whether it is to be watched for what comes.
    #[inline(always)]
    pub fn wants_to_read(&self) -> bool {
        !self.has(Flag::Closing as u8 | Flag::Paused as u8)
    }

    /// Whether what came may be read.
    #[inline(always)]
    pub fn may_read(&self) -> bool {
        self.wants_to_read() && !self.is_lost()
    }

    /// Whether something may be written; if not, its owner knows what to say to whoever tries.
    #[inline(always)]
    pub fn may_write(&self) -> bool {
        !self.has(Flag::Eof as u8 | Flag::Awaited as u8) && !self.is_lost()
    }

    /// Whether somebody is to be told that the last of what was queued is sent.
    #[inline(always)]
    pub fn is_awaited_empty(&self) -> bool {
        self.has(Flag::Closing as u8 | Flag::Eof as u8 | Flag::Awaited as u8) && !self.is_lost()
    }

    /// Whether its descriptor is its own: once it closes, others may have it.
    pub fn keeps_descriptor(&self) -> bool {
        !self.is(Flag::Closing) && !self.is_lost()
    }

    /// It is at its end, and lost if it was not; whether who calls is the first to say so.
    pub fn end(&self) -> bool {
        let _ = self.lost.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed);
        self.bits.fetch_or(ENDED, Ordering::Relaxed) & ENDED == 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Flag, Phase, Receiver};

    const FLAGS: [Flag; 5] = [Flag::Closing, Flag::Paused, Flag::Eof, Flag::Awaited, Flag::Holds];

    /// One of which just that was said.
    fn of(flags: &[Flag]) -> Phase {
        let phase = Phase::default();
        flags.iter().for_each(|flag| phase.set(*flag, true));
        phase
    }

    /// Every set of flags.
    fn sets() -> impl Iterator<Item = Vec<Flag>> {
        let has = |set: usize| move |index: &usize| set & 1 << index != 0;
        (0..1 << FLAGS.len())
            .map(move |set| (0..FLAGS.len()).filter(has(set)).map(|index| FLAGS[index]).collect())
    }

    /// Whether it reads, writes, and tells that all is sent.
    fn answers(phase: &Phase) -> [bool; 3] {
        [phase.may_read(), phase.may_write(), phase.is_awaited_empty()]
    }

    #[test]
    fn each_flag_allows_what_the_table_says() {
        assert_eq!(answers(&Phase::default()), [true, true, false]);
        let table = [
            (Flag::Closing, [false, true, true]),
            (Flag::Paused, [false, true, false]),
            (Flag::Eof, [true, false, true]),
            (Flag::Awaited, [true, false, true]),
            (Flag::Holds, [true, true, false]),
        ];
        for (flag, expected) in table {
            assert_eq!(answers(&of(&[flag])), expected, "{flag:?}");
        }
    }

    #[test]
    fn of_several_flags_each_takes_away_what_it_does() {
        for flags in sets() {
            let mut expected = [true, true, false];
            for flag in &flags {
                let [reads, writes, tells] = answers(&of(&[*flag]));
                expected = [expected[0] && reads, expected[1] && writes, expected[2] || tells];
            }
            assert_eq!(answers(&of(&flags)), expected, "{flags:?}");
        }
    }

    #[test]
    fn what_is_lost_is_lost_whatever_else_it_is() {
        for flags in sets() {
            let phase = of(&flags);
            let wanted = phase.wants_to_read();
            phase.set_lost(1);
            assert_eq!(answers(&phase), [false; 3], "{flags:?}");
            assert!(phase.is_lost() && !phase.keeps_descriptor());
            assert_eq!(phase.wants_to_read(), wanted, "its owner ends the watch, not this");
        }
    }

    #[test]
    fn a_flag_is_set_and_taken_away_alone() {
        for flags in sets() {
            for changed in FLAGS {
                for value in [true, false] {
                    let phase = of(&flags);
                    phase.hand_to(Receiver::Tls);
                    phase.set(changed, value);
                    for flag in FLAGS {
                        let before = flags.contains(&flag);
                        assert_eq!(phase.is(flag), if flag == changed { value } else { before });
                    }
                    assert_eq!(phase.receiver(), Receiver::Tls);
                    assert!(!phase.is_lost());
                }
            }
        }
    }

    #[test]
    fn what_was_paused_reads_again() {
        let phase = of(&[Flag::Paused]);
        assert!(!phase.wants_to_read());
        phase.set(Flag::Paused, false);
        assert!(phase.wants_to_read() && phase.may_read());
    }

    #[test]
    fn a_descriptor_is_kept_until_it_closes_or_is_lost() {
        for flags in sets() {
            assert_eq!(of(&flags).keeps_descriptor(), !flags.contains(&Flag::Closing));
        }
    }

    #[test]
    fn each_receiver_follows_each() {
        let all = [Receiver::Plain, Receiver::Buffered, Receiver::Tls];
        for (before, after) in all.into_iter().flat_map(|one| all.map(|other| (one, other))) {
            let phase = of(&FLAGS);
            assert_eq!(phase.receiver(), Receiver::Plain);
            phase.hand_to(before);
            assert_eq!(phase.receiver(), before);
            phase.hand_to(after);
            assert_eq!(phase.receiver(), after);
            assert!(FLAGS.iter().all(|flag| phase.is(*flag)), "the flags are as they were");
        }
    }

    #[test]
    fn it_ends_once_from_wherever_it_was() {
        for flags in sets() {
            let phase = of(&flags);
            phase.hand_to(Receiver::Buffered);
            assert!(phase.end());
            assert!(!phase.end(), "{flags:?}");
            assert_eq!(answers(&phase), [false; 3]);
            assert_eq!(phase.lost(), 1);
            assert_eq!(phase.receiver(), Receiver::Buffered);
            for flag in FLAGS {
                assert_eq!(phase.is(flag), flags.contains(&flag), "an end says nothing else");
            }
        }
    }

    #[test]
    fn an_end_keeps_the_count_of_what_was_in_vain() {
        let phase = Phase::default();
        phase.set_lost(5);
        assert!(phase.end(), "to be lost is not to have ended");
        assert_eq!(phase.lost(), 5);
        phase.set_lost(6);
        assert!(!phase.end());
        assert_eq!(phase.lost(), 6);
    }

    #[test]
    fn no_flag_begins_anew_what_has_ended() {
        let phase = Phase::default();
        assert!(phase.end());
        for flag in FLAGS {
            phase.set(flag, true);
            phase.set(flag, false);
            phase.hand_to(Receiver::Plain);
            assert_eq!(answers(&phase), [false; 3]);
            assert!(!phase.end());
        }
    }
}
