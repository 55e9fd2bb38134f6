//! [`Store`]: what a queue keeps its items in, and so in which order they come out.

use super::blocks::Blocks;

/// The order cannot be decided here: a comparison would have to call back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecided;

/// Items in some order. None of this calls back or drops an item.
pub trait Store: Default {
    /// What is stored: an object, perhaps with its rank.
    type Item: From<Self::Object>;
    /// What the users put and get.
    type Object;

    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds an item, or gives it back with nothing changed.
    fn push(&mut self, item: Self::Item) -> Result<(), Self::Item>;

    /// Takes the next item; with nothing changed if `Undecided`.
    fn pop(&mut self) -> Result<Option<Self::Item>, Undecided>;

    /// Takes the item that was put first.
    fn pop_oldest(&mut self) -> Result<Option<Self::Item>, Undecided>;

    /// The next object.
    fn front(&self) -> Option<&Self::Object>;

    /// How many bytes it has allocated.
    fn allocated(&self) -> usize;

    /// An empty store of the same kind.
    fn successor(&self) -> Self {
        Self::default()
    }
}

/// First in, first out.
pub struct Fifo<T>(pub Blocks<T>);

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self(Blocks::default())
    }
}

impl<T> Store for Fifo<T> {
    type Item = T;
    type Object = T;

    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn push(&mut self, item: T) -> Result<(), T> {
        self.0.push_back(item);
        Ok(())
    }

    #[inline]
    fn pop(&mut self) -> Result<Option<T>, Undecided> {
        Ok(self.0.pop_front())
    }

    fn pop_oldest(&mut self) -> Result<Option<T>, Undecided> {
        self.pop()
    }

    fn front(&self) -> Option<&T> {
        self.0.front()
    }

    fn allocated(&self) -> usize {
        self.0.allocated()
    }
}
