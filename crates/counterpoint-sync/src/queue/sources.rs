//! The operations that wait: [`Put`], [`Get`], [`GetMany`], [`Peek`], [`Emigrate`].
//!
//! An operation that queued while the store was checked out waits in another list than one that
//! found no room or no item; it remembers in which, because by the time it leaves the line the
//! queue may be in another state.

use super::blocks::Blocks;
use super::doze::DOZE;
use super::state::{
    BUSY, Counters, Denied, FOREIGN, GETTERS, Overflow, PUTTERS, QueueState, SHUTDOWN,
};
use super::store::Store;
use crate::wait::Source;
use crate::waiter::{Claim, Notify, WaitList, Wakes};
use std::marker::PhantomData;

/// Who operates, how patiently, and in which list it waits.
#[derive(Clone, Copy)]
pub struct Caller {
    /// The thread, as a number; 0 for a queue that never calls back.
    pub owner: usize,
    /// Whether it waits for room or an item.
    pub block: bool,
    /// Whether it takes it upon itself to wake those whom `collect_owed` gives it.
    collects: bool,
    settling: bool,
    dozes: bool,
}

impl Caller {
    /// A caller, who waits if `block`.
    pub fn new(owner: usize, block: bool) -> Self {
        Self { owner, block, collects: false, settling: false, dozes: false }
    }

    /// The same, who will wake the owed itself.
    pub fn collecting(self) -> Self {
        Self { collects: true, ..self }
    }

    /// How long its first sleep may last.
    fn doze(&self) -> u64 {
        if self.dozes && !self.settling { DOZE } else { 0 }
    }

    /// After an attempt of one who, if it `settled`, had waited for the store: if it did not take
    /// that away itself, the next one may try.
    fn let_next<N, S: Store>(
        &self,
        settled: bool,
        state: &mut QueueState<N, S>,
        wakes: &mut Wakes<N>,
    ) {
        if settled && !self.settling {
            state.claim_settling(wakes);
        }
    }

    /// `Err(None)`: wait until the store is back.
    fn admit<N, S: Store>(&mut self, state: &mut QueueState<N, S>) -> Verdict<()> {
        if state.flags & BUSY != 0 {
            state.settle_after_fork();
        }
        self.settling = state.flags & BUSY != 0;
        match state.flags {
            flags if flags & FOREIGN != 0 => Err(Some(Denied::Foreign)),
            flags if flags & BUSY != 0 => Err(None),
            _ => Ok(()),
        }
    }
}

type Verdict<T> = Result<T, Option<Denied>>;

/// `None`: wait.
fn verdict<T>(verdict: Verdict<T>) -> Option<Result<T, Denied>> {
    match verdict {
        Ok(done) => Some(Ok(done)),
        Err(denied) => denied.map(Err),
    }
}

impl<N, S: Store> QueueState<N, S> {
    /// Puts one item; it stays in `item` if that fails. What is thrown away goes to `dropped`.
    fn offer(
        &mut self,
        item: &mut Option<S::Item>,
        caller: &mut Caller,
        dropped: &mut Blocks<S::Item>,
        wakes: &mut Wakes<N>,
    ) -> Verdict<()> {
        caller.admit(self)?;
        if self.flags & SHUTDOWN != 0 {
            return Err(Some(Denied::ShutDown));
        }
        let full = self.store.len() >= self.limit;
        match self.overflow {
            _ if !full => {}
            Overflow::Block if caller.block => {
                caller.dozes = self.putter_stalled(caller.collects, wakes);
                return Err(None);
            }
            Overflow::Block | Overflow::Raise => return Err(Some(Denied::Full)),
            Overflow::DropNewest => {
                item.take().into_iter().for_each(|item| dropped.push_back(item));
                return Ok(());
            }
            Overflow::DropOldest => {}
        }
        if let Some(rejected) = item.take().and_then(|item| self.store.push(item).err()) {
            *item = Some(rejected);
            self.begin_busy(caller.owner, 1);
            return Err(Some(Denied::Undecided));
        }
        self.note_put(wakes);
        if full { self.evict(caller, dropped, wakes) } else { Ok(()) }
    }

    /// Throws away what was put first, until the bound is kept: it may have been lowered.
    fn evict(
        &mut self,
        caller: &Caller,
        dropped: &mut Blocks<S::Item>,
        wakes: &mut Wakes<N>,
    ) -> Verdict<()> {
        while self.store.len() > self.limit {
            let Ok(oldest) = self.store.pop_oldest() else {
                self.begin_busy(caller.owner, 0);
                return Err(Some(Denied::Undecided));
            };
            oldest.into_iter().for_each(|item| dropped.push_back(item));
            self.note_absent(1, wakes);
        }
        Ok(())
    }

    fn poll(&mut self, caller: &mut Caller, wakes: &mut Wakes<N>) -> Verdict<S::Item> {
        caller.admit(self)?;
        self.note_length();
        match self.store.pop() {
            Ok(Some(item)) => {
                self.note_get(wakes);
                Ok(item)
            }
            Ok(None) => {
                let nothing = self.nothing(caller);
                if nothing.is_none() {
                    caller.dozes = self.getter_stalled(caller.collects, wakes);
                }
                Err(nothing)
            }
            Err(_) => {
                self.begin_busy(caller.owner, 0);
                Err(Some(Denied::Undecided))
            }
        }
    }

    /// What one who found nothing to get does.
    fn nothing(&self, caller: &Caller) -> Option<Denied> {
        if self.flags & SHUTDOWN != 0 {
            Some(Denied::ShutDown)
        } else {
            (!caller.block).then_some(Denied::Empty)
        }
    }

    fn putters(&mut self, caller: &Caller) -> &mut WaitList<N> {
        if caller.settling {
            return &mut self.rare_mut().settling;
        }
        self.flags |= PUTTERS;
        &mut self.rare_mut().putters
    }

    fn getters(&mut self, caller: &Caller) -> &mut WaitList<N> {
        if caller.settling {
            return &mut self.rare_mut().settling;
        }
        self.flags |= GETTERS;
        &mut self.rare_mut().getters
    }
}

/// How a put ended.
pub struct Ended<I> {
    /// `Err`: not all is in the queue.
    pub verdict: Result<(), Denied>,
    /// The item that could not be put; it goes in after `Denied::Undecided`.
    pub item: Option<I>,
    /// What is still to be put after `item`.
    pub items: Blocks<I>,
    /// What the overflow policy threw away.
    pub dropped: Blocks<I>,
}

/// Putting items, in order, as room comes.
pub struct Put<N, S: Store> {
    /// The first that is not in the queue yet.
    item: Option<S::Item>,
    /// Those behind it.
    items: Blocks<S::Item>,
    /// Who puts them.
    caller: Caller,
    /// What was thrown away.
    dropped: Blocks<S::Item>,
    notify: PhantomData<fn(N)>,
}

impl<N, S: Store> Put<N, S> {
    /// Puts one item.
    pub fn new(item: S::Item, caller: Caller) -> Self {
        Self { item: Some(item), ..Self::many(Blocks::default(), caller) }
    }

    /// Puts several.
    pub fn many(items: Blocks<S::Item>, caller: Caller) -> Self {
        Self { item: None, items, caller, dropped: Blocks::default(), notify: PhantomData }
    }

    /// Takes what is left out of an operation that has not ended: its time was over.
    pub fn end(&mut self, verdict: Result<(), Denied>) -> Ended<S::Item> {
        let (items, dropped) = (std::mem::take(&mut self.items), std::mem::take(&mut self.dropped));
        Ended { verdict, item: self.item.take(), items, dropped }
    }

    fn advance(&mut self, state: &mut QueueState<N, S>, wakes: &mut Wakes<N>) -> Verdict<()> {
        loop {
            self.item = self.item.take().or_else(|| self.items.pop_front());
            if self.item.is_none() {
                return Ok(());
            }
            state.offer(&mut self.item, &mut self.caller, &mut self.dropped, wakes)?;
        }
    }
}

impl<N: Notify, S: Store> Source for Put<N, S> {
    type State = QueueState<N, S>;
    type Output = Ended<S::Item>;

    fn take(
        &mut self,
        state: &mut QueueState<N, S>,
        claim: Claim,
        wakes: &mut Wakes<N>,
    ) -> Option<Self::Output> {
        if claim == Claim::Permission {
            state.rare_mut().put_doze.resumed(wakes);
        }
        let settled = self.caller.settling;
        let advanced = self.advance(state, wakes);
        self.caller.let_next(settled, state, wakes);
        let verdict = verdict(advanced)?;
        Some(self.end(verdict))
    }

    fn list<'s>(&self, state: &'s mut QueueState<N, S>) -> &'s mut WaitList<N> {
        state.putters(&self.caller)
    }

    fn doze(&self) -> u64 {
        self.caller.doze()
    }

    fn waited(&mut self, state: &mut QueueState<N, S>, nanoseconds: u64) {
        state.rare_mut().put_waits.record(nanoseconds);
    }
}

/// Getting one item.
pub struct Get<N, S> {
    /// Who gets it.
    pub caller: Caller,
    kind: PhantomData<fn(N, S)>,
}

impl<N, S> Get<N, S> {
    /// Gets for `caller`.
    pub fn new(caller: Caller) -> Self {
        Self { caller, kind: PhantomData }
    }
}

impl<N: Notify, S: Store> Source for Get<N, S> {
    type State = QueueState<N, S>;
    type Output = Result<S::Item, Denied>;

    fn take(
        &mut self,
        state: &mut QueueState<N, S>,
        claim: Claim,
        wakes: &mut Wakes<N>,
    ) -> Option<Self::Output> {
        if claim == Claim::Permission {
            state.rare_mut().get_doze.resumed(wakes);
        }
        let settled = self.caller.settling;
        let polled = state.poll(&mut self.caller, wakes);
        self.caller.let_next(settled, state, wakes);
        verdict(polled)
    }

    fn list<'s>(&self, state: &'s mut QueueState<N, S>) -> &'s mut WaitList<N> {
        state.getters(&self.caller)
    }

    fn doze(&self) -> u64 {
        self.caller.doze()
    }

    fn waited(&mut self, state: &mut QueueState<N, S>, nanoseconds: u64) {
        state.rare_mut().get_waits.record(nanoseconds);
    }
}

/// What a get of several brought.
pub struct Got<I> {
    /// In order.
    pub items: Vec<I>,
    /// How many more were wanted when a comparison was left undecided, as with
    /// [`Denied::Undecided`]; 0 otherwise.
    pub wanted: usize,
}

/// Getting what there is, one item at least and `most` at most.
pub struct GetMany<N, S> {
    /// Who gets them.
    pub caller: Caller,
    /// How many at most.
    pub most: usize,
    kind: PhantomData<fn(N, S)>,
}

impl<N, S> GetMany<N, S> {
    /// Gets for `caller`.
    pub fn new(most: usize, caller: Caller) -> Self {
        Self { caller, most, kind: PhantomData }
    }
}

impl<N, S: Store> GetMany<N, S> {
    /// All there is, up to `most`. One who has got some does not ask an empty store for more: that
    /// would pass for coming to wait.
    fn gather(
        &mut self,
        state: &mut QueueState<N, S>,
        wakes: &mut Wakes<N>,
    ) -> (Vec<S::Item>, Verdict<()>) {
        let mut items = Vec::new();
        while items.len() < self.most && (items.is_empty() || !state.store.is_empty()) {
            match state.poll(&mut self.caller, wakes) {
                Ok(item) => items.push(item),
                Err(denied) => return (items, Err(denied)),
            }
        }
        (items, Ok(()))
    }
}

impl<N: Notify, S: Store> Source for GetMany<N, S> {
    type State = QueueState<N, S>;
    type Output = Result<Got<S::Item>, Denied>;

    fn take(
        &mut self,
        state: &mut QueueState<N, S>,
        claim: Claim,
        wakes: &mut Wakes<N>,
    ) -> Option<Self::Output> {
        if claim == Claim::Permission {
            state.rare_mut().get_doze.resumed(wakes);
        }
        let settled = self.caller.settling;
        let (items, end) = self.gather(state, wakes);
        self.caller.let_next(settled, state, wakes);
        let undecided = end == Err(Some(Denied::Undecided));
        match end {
            Err(denied) if items.is_empty() && !undecided => denied.map(Err),
            _ => {
                let wanted = if undecided { self.most - items.len() } else { 0 };
                Some(Ok(Got { items, wanted }))
            }
        }
    }

    fn list<'s>(&self, state: &'s mut QueueState<N, S>) -> &'s mut WaitList<N> {
        state.getters(&self.caller)
    }

    fn doze(&self) -> u64 {
        self.caller.doze()
    }

    fn waited(&mut self, state: &mut QueueState<N, S>, nanoseconds: u64) {
        state.rare_mut().get_waits.record(nanoseconds);
    }
}

/// Looking at the next object.
pub struct Peek<N, S>(Get<N, S>);

impl<N, S> Peek<N, S> {
    /// Looks for `caller`, who only ever waits for a store that is checked out.
    pub fn new(owner: usize) -> Self {
        Self(Get::new(Caller::new(owner, false)))
    }
}

impl<N: Notify, S: Store<Object: Clone>> Source for Peek<N, S> {
    type State = QueueState<N, S>;
    type Output = Result<S::Object, Denied>;

    fn take(
        &mut self,
        state: &mut QueueState<N, S>,
        _: Claim,
        wakes: &mut Wakes<N>,
    ) -> Option<Self::Output> {
        let caller = &mut self.0.caller;
        let settled = caller.settling;
        let admitted = caller.admit(state);
        caller.let_next(settled, state, wakes);
        verdict(
            admitted
                .and_then(|()| state.store.front().cloned().ok_or_else(|| state.nothing(caller))),
        )
    }

    fn list<'s>(&self, state: &'s mut QueueState<N, S>) -> &'s mut WaitList<N> {
        state.getters(&self.0.caller)
    }
}

/// Giving the items away, to a place where every operation is made from now on.
pub struct Emigrate<N, S>(Get<N, S>);

impl<N, S> Emigrate<N, S> {
    /// Gives them to the caller, who waits for a store that is checked out.
    pub fn new() -> Self {
        Self(Get::new(Caller::new(0, true)))
    }
}

impl<N, S> Default for Emigrate<N, S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<N: Notify, S: Store> Source for Emigrate<N, S> {
    type State = QueueState<N, S>;
    type Output = Result<(S, Counters), Denied>;

    fn take(
        &mut self,
        state: &mut QueueState<N, S>,
        _: Claim,
        wakes: &mut Wakes<N>,
    ) -> Option<Self::Output> {
        let admitted = self.0.caller.admit(state);
        verdict(admitted.map(|()| {
            let counters = state.counters();
            (state.emigrate(wakes), counters)
        }))
    }

    fn list<'s>(&self, state: &'s mut QueueState<N, S>) -> &'s mut WaitList<N> {
        state.getters(&self.0.caller)
    }
}
