//! [`QueueState`]: a queue's data: its items, its bound, who waits, and what happened so far.
//!
//! # One test on the fast path
//!
//! Everything that makes a put or a get more than a push or a pop is a bit of `flags`:
//!
//! | bit | name       | meaning                                              | slows down |
//! |-----|------------|------------------------------------------------------|------------|
//! | 0   | `SHUTDOWN` | nothing more may be put                              | put        |
//! | 1   | `GETTERS`  | somebody may wait for an item                        | put        |
//! | 2   | `PUTTERS`  | somebody may wait for room                           | get        |
//! | 3   | `BUSY`     | the store is checked out: somebody is comparing      | both       |
//! | 4   | `FOREIGN`  | the items live elsewhere, with them every operation  | both       |
//! | 5   | `DOZING`   | waiters may be left to wake by themselves            | none       |
//!
//! `GETTERS` and `PUTTERS` are set when somebody queues and taken back by the first operation
//! that finds nobody. A full queue is seen by the comparison with `limit`, which is the largest
//! number there is when the queue has no bound.
//!
//! # Comparing outside
//!
//! A [`Store`] that cannot order its items without calling back says
//! [`Undecided`](super::store::Undecided). The operation then marks the queue `BUSY` under the
//! same lock and takes the store away ([`check_out`](QueueState::check_out)), compares with no
//! lock held, and brings it back ([`check_in`](QueueState::check_in)). Others wait meanwhile in
//! `settling`, of whom one at a time may try once it is back, and lets the next one try; the
//! thread that is comparing, should it come back from within a comparison, puts into the `inbox`,
//! which it finds at check-in. What is on its way into the store takes up room, and is counted as
//! put when it has arrived.
//!
//! # Counters
//!
//! `puts` counts items that came in, `finished` those of them that are done, `absent` those that
//! left otherwise than through a get. The rest follows: unfinished = puts − finished, gets =
//! puts − absent − length. So a put and a get change one counter each.

use super::blocks::Blocks;
use super::doze::Doze;
use super::store::Store;
use crate::door::Arc;
use crate::wait::State;
use crate::waiter::{Claim, Notify, WaitList, Waiter, Wakes, fork};
use counterpoint_trace::{Durations, Summary};

pub(super) const SHUTDOWN: u8 = 1 << 0;
pub(super) const GETTERS: u8 = 1 << 1;
pub(super) const PUTTERS: u8 = 1 << 2;
pub(super) const BUSY: u8 = 1 << 3;
pub(super) const FOREIGN: u8 = 1 << 4;
pub(super) const DOZING: u8 = 1 << 5;

const PUT_SLOW: u8 = SHUTDOWN | GETTERS | BUSY | FOREIGN;
const GET_SLOW: u8 = PUTTERS | BUSY | FOREIGN;

/// What a put does that finds no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// It waits.
    Block,
    /// It fails, however long it might have waited.
    Raise,
    /// It throws away the item that was put first.
    DropOldest,
    /// It throws away its own item.
    DropNewest,
}

/// Why an operation ended without effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Nothing to get.
    Empty,
    /// No room.
    Full,
    /// The queue was shut down.
    ShutDown,
    /// Only a comparison that calls back can tell; the queue is now `BUSY` for the caller, who
    /// must check the store out and in.
    Undecided,
    /// The items live elsewhere now; the operation must be made there.
    Foreign,
}

/// What only a queue needs that somebody waited for.
pub struct Rare<N, S: Store> {
    pub(super) getters: WaitList<N>,
    pub(super) putters: WaitList<N>,
    pub(super) joiners: WaitList<N>,
    /// Those who wait for the store to come back.
    pub(super) settling: WaitList<N>,
    /// About waking the getters, and the putters.
    pub(super) get_doze: Doze<N>,
    pub(super) put_doze: Doze<N>,
    pub(super) put_waits: Durations,
    pub(super) get_waits: Durations,
    pub(super) busy: Busy<S>,
}

/// About the one who has the store.
pub(super) struct Busy<S: Store> {
    owner: usize,
    generation: u32,
    /// How many items it held, as far as the counters know.
    counted: usize,
    /// How many there are now, without the inbox.
    len: usize,
    /// How many are being put, and take up room already.
    coming: usize,
    drain: bool,
    inbox: Blocks<S::Item>,
}

impl<N, S: Store> Default for Rare<N, S> {
    fn default() -> Self {
        Self {
            getters: WaitList::new(),
            putters: WaitList::new(),
            joiners: WaitList::new(),
            settling: WaitList::new(),
            get_doze: Doze::default(),
            put_doze: Doze::default(),
            put_waits: Durations::new(),
            get_waits: Durations::new(),
            busy: Busy::default(),
        }
    }
}

impl<S: Store> Default for Busy<S> {
    fn default() -> Self {
        let (owner, generation, counted, len, coming, drain) = (0, 0, 0, 0, 0, false);
        Self { owner, generation, counted, len, coming, drain, inbox: Blocks::default() }
    }
}

/// The data of one queue.
pub struct QueueState<N, S: Store> {
    pub(super) store: S,
    pub(super) flags: u8,
    pub(super) overflow: Overflow,
    pub(super) limit: usize,
    puts: u64,
    finished: u64,
    absent: u64,
    longest: usize,
    rare: Option<Box<Rare<N, S>>>,
}

/// What a queue has counted; see [`QueueState::counters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Items that were put.
    pub puts: u64,
    /// Items that were got.
    pub gets: u64,
    /// Items put and not yet done.
    pub unfinished: u64,
    /// The most items that were queued at once.
    pub longest: usize,
    /// How many wait for an item.
    pub getters: usize,
    /// How many wait for room.
    pub putters: usize,
}

impl<N, S: Store> QueueState<N, S> {
    /// An empty queue of at most `limit` items; `None`: no bound.
    pub fn new(store: S, limit: Option<usize>, overflow: Overflow) -> Self {
        let limit = limit.unwrap_or(usize::MAX);
        let (puts, finished, absent, longest) = (0, 0, 0, 0);
        Self { store, flags: 0, overflow, limit, puts, finished, absent, longest, rare: None }
    }

    /// Puts if that is nothing but a push; otherwise the item comes back.
    #[inline]
    pub fn put_fast(&mut self, item: S::Item) -> Result<(), S::Item> {
        if self.flags & PUT_SLOW != 0 || self.store.len() >= self.limit {
            return Err(item);
        }
        self.store.push(item)?;
        self.puts += 1;
        Ok(())
    }

    /// Gets if that is nothing but a pop.
    #[inline]
    pub fn get_fast(&mut self) -> Option<S::Item> {
        if self.flags & GET_SLOW != 0 {
            return None;
        }
        self.note_length();
        self.store.pop().ok().flatten()
    }

    /// Every peak ends in a get, so the longest is noted there.
    #[inline]
    pub(super) fn note_length(&mut self) {
        self.longest = self.longest.max(self.store.len());
    }

    /// The items; empty while they are checked out.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// How many items are queued, those with a thread that is comparing included.
    #[inline]
    pub fn len(&self) -> usize {
        if self.flags & BUSY == 0 {
            return self.store.len();
        }
        self.rare.as_ref().map_or(0, |rare| rare.busy.len + rare.busy.inbox.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the bound is reached.
    pub fn is_full(&self) -> bool {
        self.len() >= self.limit
    }

    /// The bound, if there is one.
    pub fn limit(&self) -> Option<usize> {
        (self.limit != usize::MAX).then_some(self.limit)
    }

    /// What a put does that finds no room.
    pub fn overflow(&self) -> Overflow {
        self.overflow
    }

    /// Whether a put that made it so many items throws away the oldest. Where the bound was lowered
    /// meanwhile, and it does not, there are for a while more than that.
    pub fn drops_oldest_of(&self, len: usize) -> bool {
        self.overflow == Overflow::DropOldest && len > self.limit
    }

    /// How many bytes it has allocated.
    pub fn allocated(&self) -> usize {
        let rare = self.rare.as_ref().map_or(0, |_| size_of::<Rare<N, S>>());
        self.store.allocated() + rare
    }

    /// Changes how items are kept and what a full queue does. Returns what it held.
    #[must_use]
    pub fn configure(&mut self, store: S, overflow: Overflow, wakes: &mut Wakes<N>) -> S {
        self.overflow = overflow;
        let old = self.drain(wakes);
        self.store = store;
        old
    }

    /// Whether it was shut down.
    pub fn is_shut_down(&self) -> bool {
        self.flags & SHUTDOWN != 0
    }

    /// Whether the items live elsewhere.
    #[inline]
    pub fn is_foreign(&self) -> bool {
        self.flags & FOREIGN != 0
    }

    /// Whether `owner` has the store and called back from within a comparison. A thread of a forked
    /// child may have the number of one that stayed with the parent.
    #[inline]
    pub fn is_busy_with(&self, owner: usize) -> bool {
        let is_owner =
            |busy: &Busy<S>| busy.owner == owner && busy.generation == fork::generation();
        self.flags & BUSY != 0 && self.rare.as_ref().is_some_and(|rare| is_owner(&rare.busy))
    }

    /// How many items there are that `puts` counts.
    fn counted(&self) -> usize {
        match &self.rare {
            Some(rare) if self.flags & BUSY != 0 => rare.busy.counted,
            _ => self.store.len(),
        }
    }

    /// What was counted so far; as before it, while somebody has the store.
    pub fn counters(&self) -> Counters {
        let len = self.counted();
        let waiting = |list: fn(&Rare<N, S>) -> &WaitList<N>| {
            self.rare.as_ref().map_or(0, |rare| list(rare).len())
        };
        Counters {
            puts: self.puts,
            gets: self.puts - self.absent - len as u64,
            unfinished: self.unfinished(),
            longest: self.longest.max(len),
            getters: waiting(|rare| &rare.getters),
            putters: waiting(|rare| &rare.putters),
        }
    }

    /// How long those waited who wanted to put, and to get; recorders that go on.
    pub fn share_waits(&mut self) -> (Durations, Durations) {
        let rare = self.rare_mut();
        (rare.put_waits.share(), rare.get_waits.share())
    }

    /// The same, summed up so far.
    pub fn waits(&self) -> (Summary, Summary) {
        let Some(rare) = &self.rare else { return Default::default() };
        (rare.put_waits.summary(), rare.get_waits.summary())
    }

    /// Who waits, for anything.
    pub fn waiting(&self) -> impl Iterator<Item = &Arc<Waiter<N>>> {
        self.rare.iter().flat_map(|rare| {
            let some = rare.getters.iter().chain(rare.putters.iter());
            some.chain(rare.joiners.iter()).chain(rare.settling.iter())
        })
    }

    /// Items put and not yet done.
    #[inline]
    pub fn unfinished(&self) -> u64 {
        self.puts - self.finished
    }

    pub(super) fn rare_mut(&mut self) -> &mut Rare<N, S> {
        self.rare.get_or_insert_default()
    }

    /// One item came in: somebody may get it.
    pub(super) fn note_put(&mut self, wakes: &mut Wakes<N>) {
        self.puts += 1;
        self.claim_getter(wakes);
    }

    /// One item went out: somebody may put one.
    pub(super) fn note_get(&mut self, wakes: &mut Wakes<N>) {
        if self.store.len() < self.limit {
            self.claim_putter(wakes);
        }
    }

    /// `items` left unread; those who join need not wait for them.
    pub(super) fn note_absent(&mut self, items: u64, wakes: &mut Wakes<N>) {
        self.absent += items;
        self.finished += items.min(self.unfinished());
        self.claim_joiners(wakes);
    }

    fn claim_getter(&mut self, wakes: &mut Wakes<N>) {
        if self.flags & GETTERS == 0 {
            return;
        }
        let dozing = self.flags & DOZING != 0;
        let rare = self.rare_mut();
        if !claim(&mut rare.getters, dozing.then_some(&mut rare.get_doze), wakes) {
            self.flags &= !GETTERS;
        }
    }

    pub(super) fn claim_putter(&mut self, wakes: &mut Wakes<N>) {
        if self.flags & PUTTERS == 0 {
            return;
        }
        let dozing = self.flags & DOZING != 0;
        let rare = self.rare_mut();
        if !claim(&mut rare.putters, dozing.then_some(&mut rare.put_doze), wakes) {
            self.flags &= !PUTTERS;
        }
    }

    /// From now on waiters may doze; for threads that share one interpreter lock.
    pub fn let_doze(&mut self) {
        self.flags |= DOZING;
    }

    /// Somebody found no room, and will wait; it wakes the owed itself if it `collects` them.
    pub(super) fn putter_stalled(&mut self, collects: bool, wakes: &mut Wakes<N>) -> bool {
        let rare = self.rare_mut();
        rare.get_doze.stalled();
        if !collects {
            rare.get_doze.pay(wakes);
            rare.put_doze.pay(wakes);
        }
        rare.put_doze.is_on()
    }

    /// Somebody found no item, and will wait.
    pub(super) fn getter_stalled(&mut self, collects: bool, wakes: &mut Wakes<N>) -> bool {
        let rare = self.rare_mut();
        rare.put_doze.stalled();
        if !collects {
            rare.get_doze.pay(wakes);
            rare.put_doze.pay(wakes);
        }
        rare.get_doze.is_on()
    }

    /// Those whose wake-up is due now that the caller goes to sleep.
    pub fn collect_owed(&mut self) -> Vec<Arc<Waiter<N>>> {
        let Some(rare) = &mut self.rare else { return Vec::new() };
        let mut owed = rare.get_doze.take_owed();
        owed.append(&mut rare.put_doze.take_owed());
        owed
    }

    /// One who waits for the store may try: one only, because it mostly checks it out again. If it
    /// does not, it lets the next one try.
    pub(super) fn claim_settling(&mut self, wakes: &mut Wakes<N>) {
        if self.flags & BUSY == 0
            && let Some(rare) = &mut self.rare
        {
            rare.settling.claim_first(Claim::Permission, wakes);
        }
    }

    fn claim_joiners(&mut self, wakes: &mut Wakes<N>) {
        if self.unfinished() == 0
            && let Some(rare) = &mut self.rare
        {
            rare.joiners.claim_all(Claim::Permission, wakes);
        }
    }

    fn claim_everyone(&mut self, wakes: &mut Wakes<N>) {
        let Some(rare) = &mut self.rare else { return };
        for list in [&mut rare.getters, &mut rare.putters, &mut rare.settling] {
            list.claim_all(Claim::Permission, wakes);
        }
    }

    /// One item is done, if it is not the last one; `false` asks for
    /// [`task_done`](Self::task_done).
    #[inline]
    pub fn task_done_fast(&mut self) -> bool {
        let fast = self.flags & FOREIGN == 0 && self.unfinished() > 1;
        self.finished += u64::from(fast);
        fast
    }

    /// One item is done; `false` if that was said more often than items were put.
    #[must_use]
    pub fn task_done(&mut self, wakes: &mut Wakes<N>) -> bool {
        let some = self.unfinished() > 0;
        self.finished += u64::from(some);
        self.claim_joiners(wakes);
        some
    }

    /// Changes the bound; those who waited for the room that this makes may put.
    pub fn set_limit(&mut self, limit: Option<usize>, wakes: &mut Wakes<N>) {
        self.limit = limit.unwrap_or(usize::MAX);
        self.claim_putters(wakes);
    }

    /// As many as there is room for may put.
    fn claim_putters(&mut self, wakes: &mut Wakes<N>) {
        for _ in self.len()..self.limit {
            if self.flags & PUTTERS == 0 {
                return;
            }
            self.claim_putter(wakes);
        }
    }

    /// As many as there are items for may get.
    fn claim_getters(&mut self, wakes: &mut Wakes<N>) {
        for _ in 0..self.store.len() {
            if self.flags & GETTERS == 0 {
                return;
            }
            self.claim_getter(wakes);
        }
    }

    /// Refuses puts from now on, and gets once it is empty: at once, if `immediate`. What it
    /// held is returned then, to be dropped outside.
    #[must_use]
    pub fn shut_down(&mut self, immediate: bool, wakes: &mut Wakes<N>) -> Option<S> {
        self.flags |= SHUTDOWN;
        self.claim_everyone(wakes);
        if !immediate {
            return None;
        }
        if self.flags & BUSY != 0 {
            self.rare_mut().busy.drain = true;
            return None;
        }
        Some(self.drain(wakes))
    }

    /// Takes everything out, unread.
    #[must_use]
    pub fn drain(&mut self, wakes: &mut Wakes<N>) -> S {
        self.note_length();
        let successor = self.store.successor();
        let store = std::mem::replace(&mut self.store, successor);
        self.note_absent(store.len() as u64, wakes);
        store
    }

    /// `owner` will check the store out, and puts so many items.
    pub(super) fn begin_busy(&mut self, owner: usize, coming: usize) {
        self.flags |= BUSY;
        let len = self.store.len();
        let busy = &mut self.rare_mut().busy;
        (busy.owner, busy.generation) = (owner, fork::generation());
        (busy.counted, busy.len, busy.coming) = (len, len, coming);
    }

    /// In a forked child: the thread that had the store is gone, and the items with it.
    pub(super) fn settle_after_fork(&mut self) {
        let busy = &mut self.rare_mut().busy;
        if busy.generation != fork::generation() {
            (busy.len, busy.counted, busy.drain) = (0, 0, false);
            // Here is no place to drop what is foreign. In the child these are as lost as all that
            // the thread of the parent held.
            std::mem::forget(std::mem::take(&mut busy.inbox));
            self.flags &= !BUSY;
        }
    }

    /// Takes the store away after [`Denied::Undecided`].
    #[must_use]
    pub fn check_out(&mut self) -> S {
        let successor = self.store.successor();
        std::mem::replace(&mut self.store, successor)
    }

    /// Leaves an item for the thread that has the store, which is the caller's; gives it back if
    /// it may not be put.
    pub fn put_in_inbox(&mut self, item: S::Item) -> Result<(), (Denied, S::Item)> {
        if self.flags & SHUTDOWN != 0 {
            return Err((Denied::ShutDown, item));
        }
        let (len, limit) = (self.len(), self.limit);
        let busy = &mut self.rare_mut().busy;
        if len + busy.coming >= limit {
            return Err((Denied::Full, item));
        }
        busy.inbox.push_back(item);
        Ok(())
    }

    /// The next item that was put from within a comparison, to be stored before check-in.
    pub fn next_in_inbox(&mut self, store: &S) -> Option<S::Item> {
        let busy = &mut self.rare_mut().busy;
        let item = busy.inbox.pop_front();
        (busy.len, busy.coming) = (store.len() + usize::from(item.is_some()), 0);
        item
    }

    /// Brings the store back after `change`, and lets everyone try who could go on now: a
    /// permission that went unused meanwhile was not passed on. What is returned is to be dropped
    /// outside.
    #[must_use]
    pub fn check_in(&mut self, store: S, change: Change, wakes: &mut Wakes<N>) -> Option<S> {
        self.longest = self.longest.max(store.len() + change.taken);
        self.store = store;
        self.flags &= !BUSY;
        self.puts += change.put as u64;
        self.note_absent(change.dropped as u64, wakes);
        self.claim_getters(wakes);
        self.claim_putters(wakes);
        self.claim_settling(wakes);
        let drain = std::mem::take(&mut self.rare_mut().busy.drain);
        drain.then(|| self.drain(wakes))
    }

    /// Gives the items away, to a place where all operations are made from now on; everyone who
    /// waits here is sent there.
    #[must_use]
    pub(super) fn emigrate(&mut self, wakes: &mut Wakes<N>) -> S {
        self.note_length();
        self.flags |= FOREIGN;
        self.claim_everyone(wakes);
        if let Some(rare) = &mut self.rare {
            rare.joiners.claim_all(Claim::Permission, wakes);
        }
        self.check_out()
    }
}

fn claim<N>(list: &mut WaitList<N>, doze: Option<&mut Doze<N>>, wakes: &mut Wakes<N>) -> bool {
    match doze {
        Some(doze) => doze.claim_first(list, wakes),
        None => list.claim_first(Claim::Permission, wakes),
    }
}

/// What happened to a store while it was checked out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Items stored.
    pub put: usize,
    /// Items got.
    pub taken: usize,
    /// Items thrown away.
    pub dropped: usize,
}

impl<N: Notify, S: Store> State for QueueState<N, S> {
    type Notify = N;

    /// A permission that went unused may be of any kind; whoever could go on now may try. While
    /// the store is away nobody could; `check_in` makes up for it.
    fn unclaimed(&mut self, _: &Waiter<N>, wakes: &mut Wakes<N>) {
        if self.flags & (BUSY | FOREIGN) != 0 {
            return;
        }
        self.claim_settling(wakes);
        if !self.store.is_empty() {
            self.claim_getter(wakes);
        }
        if self.store.len() < self.limit {
            self.claim_putter(wakes);
        }
    }
}
