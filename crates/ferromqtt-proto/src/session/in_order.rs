//! Entries in order of arrival, each under a number of its own, that can be taken out anywhere.

use std::collections::BTreeMap;

#[derive(Debug)]
pub(crate) struct InOrder<T> {
    entries: BTreeMap<u64, T>,
    next: u64,
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            next: 0,
        }
    }
}

impl<T> InOrder<T> {
    /// The number that the next entry will get.
    pub(crate) const fn next_number(&self) -> u64 {
        self.next
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn push(&mut self, entry: T) -> u64 {
        let number = self.next;
        self.entries.insert(number, entry);
        self.next += 1;
        number
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.entries.get_mut(&number)
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        self.entries.remove(&number)
    }

    /// Takes out the last entry, if `leaves` says so.
    pub(crate) fn pop_last_if(&mut self, leaves: impl FnOnce(&T) -> bool) -> Option<T> {
        let last = self.entries.last_entry()?;
        leaves(last.get()).then(|| last.remove())
    }

    /// The entries in order, to change them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.values_mut()
    }

    /// The entries in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.values()
    }

    /// The number of the first entry at or behind `number`.
    pub(crate) fn at_or_after(&self, number: u64) -> Option<u64> {
        let (&number, _) = self.entries.range(number..).next()?;
        Some(number)
    }

    /// Takes all entries out, in order.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> {
        std::mem::take(&mut self.entries).into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_numbers_while_others_leave() {
        let mut order = InOrder::default();
        let numbers: Vec<_> = "abcd".chars().map(|entry| order.push(entry)).collect();
        assert_eq!(order.remove(numbers[1]), Some('b'));
        assert_eq!(order.remove(numbers[0]), Some('a'));
        assert_eq!(order.remove(numbers[0]), None);
        assert_eq!(order.at_or_after(0), Some(numbers[2]));
        assert_eq!(order.get_mut(numbers[3]), Some(&mut 'd'));
        assert_eq!(order.len(), 2);
        assert_eq!(order.drain().collect::<String>(), "cd");
        assert_eq!(order.push('e'), numbers[3] + 1);
    }
}
