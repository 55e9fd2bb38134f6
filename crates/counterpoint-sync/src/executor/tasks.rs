//! [`TaskQueue`]: first come, first served within a priority; higher priorities first.
//!
//! Almost every task has the default priority 0 and costs one ring buffer operation. The others
//! live in a map from priority to ring buffer, so the order is stable without sequence numbers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

/// Tasks that wait for a worker.
pub struct TaskQueue<T> {
    plain: VecDeque<T>,
    others: BTreeMap<Reverse<i64>, VecDeque<T>>,
    others_len: usize,
}

impl<T> Default for TaskQueue<T> {
    fn default() -> Self {
        Self { plain: VecDeque::new(), others: BTreeMap::new(), others_len: 0 }
    }
}

impl<T> TaskQueue<T> {
    /// How many wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.plain.len() + self.others_len
    }

    /// Whether none waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Queues one behind all of its priority.
    #[inline(always)]
    pub fn push(&mut self, task: T, priority: i64) {
        if priority == 0 {
            return self.plain.push_back(task);
        }
        self.others.entry(Reverse(priority)).or_default().push_back(task);
        self.others_len += 1;
    }

    /// Queues one before all of its priority.
    pub fn push_front(&mut self, task: T, priority: i64) {
        if priority == 0 {
            return self.plain.push_front(task);
        }
        self.others.entry(Reverse(priority)).or_default().push_front(task);
        self.others_len += 1;
    }

    /// Takes the next.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.others_len == 0 {
            return self.plain.pop_front();
        }
        self.pop_by_priority()
    }

    fn pop_by_priority(&mut self) -> Option<T> {
        let first = self.others.first_entry()?;
        if first.key().0 < 0
            && let Some(task) = self.plain.pop_front()
        {
            return Some(task);
        }
        let mut first = first;
        let task = first.get_mut().pop_front();
        if first.get().is_empty() {
            first.remove();
        }
        self.others_len -= 1;
        task
    }

    /// Takes everything out, in order.
    pub fn drain(&mut self) -> Vec<T> {
        std::iter::from_fn(|| self.pop()).collect()
    }

    /// Everything in it, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.plain.iter().chain(self.others.values().flatten())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn higher_first_and_stable_within() {
        let mut queue = TaskQueue::default();
        for (task, priority) in [('a', 0), ('b', 5), ('c', -1), ('d', 5), ('e', 0), ('f', 9)] {
            queue.push(task, priority);
        }
        assert_eq!((queue.len(), queue.iter().count()), (6, 6));
        assert_eq!(queue.drain().into_iter().collect::<String>(), "fbdaec");
        assert!(queue.is_empty() && queue.others.is_empty());
    }
}
