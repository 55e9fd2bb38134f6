//! [`run`]: the thread that serves a pool's lanes. It never attaches to an interpreter.
//!
//! # Sleeping
//!
//! A worker that is busy holds its results back for a while (`counterpoint_shm::lane`). So the
//! dispatcher, before it sleeps, asks each lane until when that may be so, and sleeps no longer; a
//! lane of which nothing was heard for longer rings at once, and then the sleep has no limit.

use crate::inlet::Inlet;
use crate::mailbox::News;
use crate::shared::{DEATH, Ears, INLET, LAUNCH, POKE, Shared};
use crate::speech::Word;
use crate::state::PoolState;
use counterpoint_shm::clock;
use counterpoint_sync::waiter::Notify;

/// How often a turn looks at lanes that always have more.
const ROUNDS: usize = 16;

/// How long until a full sideband is tried again, in nanoseconds.
const STALLED: u64 = 1_000_000;

/// Serves the pool until it is over.
pub fn run<N: Notify, K>(shared: &Shared<N, K>) {
    listen(shared);
    shared.go_deaf();
    shared.speech.send(Word::Over);
    shared.mailbox.send(News::Over);
}

fn listen<N: Notify, K>(shared: &Shared<N, K>) {
    let ears = shared.listen();
    let Some(Ears { poller, bell }) = &*ears else { return };
    let (mut dead, mut mail, mut begun) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let sleep = shared.with(|state| {
            mail.drain(..).for_each(|(id, inlet)| state.hear(id, inlet));
            dead.drain(..).for_each(|id| state.died(id));
            begun.drain(..).for_each(|id| state.begun(id));
            state.turn()
        });
        let Some(until) = sleep else { break };
        shared.let_others();
        let timeout = (until != u64::MAX).then(|| until.saturating_sub(clock::now()));
        poller.wait(timeout, |token| {
            if token == POKE {
                bell.silence();
            } else if token & INLET != 0 {
                mail.extend(Inlet::of(token).map(|inlet| (token as u32, inlet)));
            } else if token & LAUNCH != 0 {
                begun.push(token as u32);
            } else if token & DEATH != 0 {
                dead.push(token as u32);
            }
        });
    }
}

impl<N: Notify, K> PoolState<N, K> {
    /// A few rounds, as long as there is more. Until when to sleep; `None`: the pool is over.
    pub(crate) fn turn(&mut self) -> Option<u64> {
        self.turn_of(ROUNDS)
    }

    /// The same, of so many rounds.
    pub(crate) fn turn_of(&mut self, rounds: usize) -> Option<u64> {
        self.asleep_until = 0;
        for _ in 0..rounds {
            self.hear_more();
            self.drain();
            let now = clock::now();
            let alarm = self.enforce_limits(now);
            self.post_forgotten();
            self.refill_all(now);
            let balance = self.balance(now);
            let memory = self.check_memory(now);
            let idle = self.retire(now);
            self.dismiss(now);
            let patrol = self.patrol(now);
            let missed = self.miss(now);
            self.admit();
            if self.is_over() {
                return None;
            }
            let held_back = self.prepare_sleep();
            let busy = self.stations.iter().any(|station| station.end.pending());
            if !busy && !self.hearing.is_pressing() {
                let stalled = self.is_stalled().then_some(now + STALLED);
                let until = [alarm, balance, memory, idle, held_back, patrol, stalled, missed];
                self.asleep_until = until.into_iter().flatten().min().unwrap_or(u64::MAX);
                return Some(self.asleep_until);
            }
        }
        // Others want the state too, and whoever was claimed is woken when it is let go.
        Some(0)
    }

    fn prepare_sleep(&mut self) -> Option<u64> {
        self.stations.iter_mut().filter_map(|station| station.end.prepare_sleep()).min()
    }
}
