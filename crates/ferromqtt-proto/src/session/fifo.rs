//! A queue that grows without ever moving what it holds: a backlog of a million messages is no reason to stop for the time
//! that copying them takes.

use std::collections::VecDeque;

/// Entries in one block.
const BLOCK: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Fifo<T> {
    /// None is empty; all but the last are full when they are filled.
    blocks: VecDeque<VecDeque<T>>,
    len: usize,
}

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self {
            blocks: VecDeque::new(),
            len: 0,
        }
    }
}

impl<T> Fifo<T> {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, entry: T) {
        self.len += 1;
        match self.blocks.back_mut() {
            Some(block) if block.len() < BLOCK => block.push_back(entry),
            _ => self.blocks.push_back(VecDeque::from([entry])),
        }
    }

    pub(crate) fn first(&self) -> Option<&T> {
        self.blocks.front()?.front()
    }

    /// The entries in order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.blocks.iter_mut().flatten()
    }

    /// Takes the first entry. An empty queue holds no memory to speak of: an idle client should not keep a burst's.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let block = self.blocks.front_mut()?;
        self.len -= 1;
        // A block that was filled and taken half is not filled again: its entries would have to move.
        if block.len() == 1 {
            return self.blocks.pop_front()?.pop_front();
        }
        // The entry goes straight to the caller: held here meanwhile, a large one would be copied twice.
        block.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_across_blocks_and_nothing_is_left_behind() {
        let mut fifo = Fifo::default();
        let mut next = 0;
        for round in 0..3 * BLOCK {
            fifo.push(2 * round);
            fifo.push(2 * round + 1);
            assert_eq!(fifo.pop(), Some(next));
            next += 1;
        }
        assert_eq!(fifo.len(), 3 * BLOCK);
        while let Some(entry) = fifo.pop() {
            assert_eq!(entry, next);
            next += 1;
        }
        assert_eq!(next, 6 * BLOCK);
        assert_eq!(fifo.len(), 0);
        assert!(fifo.blocks.is_empty());
    }
}
