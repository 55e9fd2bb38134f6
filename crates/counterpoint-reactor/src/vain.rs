//! [`Vain`]: whether to try again what was in vain the last times.

/// After so many attempts in vain, one after another, the next is expected to be.
const IN_A_ROW: u8 = 4;

/// How often in a row something was tried in vain. Now and then it is tried nevertheless.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vain(u8);

impl Vain {
    /// Whether it is expected to be in vain now.
    #[inline]
    pub fn is_expected(&mut self) -> bool {
        let expects = (IN_A_ROW..u8::MAX).contains(&self.0);
        // Now and then it is to be seen whether that is still so.
        self.0 = if self.0 == u8::MAX { IN_A_ROW } else { self.0 };
        self.0 += u8::from(expects);
        expects
    }

    /// It was tried, though nobody had told to.
    #[inline]
    pub fn tried(&mut self, in_vain: bool) {
        self.0 = if in_vain { self.0.saturating_add(1).min(IN_A_ROW) } else { 0 };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Vain;

    /// A vain that has learnt.
    fn learnt() -> Vain {
        let mut vain = Vain::default();
        for _ in 0..4 {
            assert!(!vain.is_expected());
            vain.tried(true);
        }
        vain
    }

    #[test]
    fn it_is_expected_after_some_in_a_row() {
        assert!(learnt().is_expected());
        let mut vain = Vain::default();
        for _ in 0..20 {
            vain.tried(true);
            vain.tried(true);
            vain.tried(true);
            vain.tried(false);
            assert!(!vain.is_expected());
        }
    }

    #[test]
    fn it_is_tried_now_and_then() {
        let mut vain = learnt();
        let skipped = std::iter::from_fn(|| vain.is_expected().then_some(())).count();
        assert_eq!(skipped, 251);
        vain.tried(true);
        assert!(vain.is_expected());
        vain.tried(false);
        assert!(!vain.is_expected());
    }
}
