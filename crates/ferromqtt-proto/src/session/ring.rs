//! A queue in order of arrival whose entries can be taken out anywhere, by the number they were given.

use std::collections::VecDeque;

#[derive(Debug)]
pub(crate) struct Ring<T> {
    slots: VecDeque<Option<T>>,
    /// Number of the first slot.
    first: u64,
    len: usize,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self {
            slots: VecDeque::new(),
            first: 0,
            len: 0,
        }
    }
}

impl<T> Ring<T> {
    /// The number that the next entry will get.
    pub(crate) fn next_number(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, entry: T) -> u64 {
        let number = self.next_number();
        self.slots.push_back(Some(entry));
        self.len += 1;
        number
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.slots.get_mut(index)?.as_mut()
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let entry = self.slots.get_mut(index)?.take()?;
        self.len -= 1;
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.first += 1;
        }
        Some(entry)
    }

    /// The entries in order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten()
    }

    /// The number of the first entry at or behind `number`.
    pub(crate) fn at_or_after(&self, number: u64) -> Option<u64> {
        let skip = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let offset = self.slots.iter().skip(skip).position(Option::is_some)?;
        Some(self.first + (skip + offset) as u64)
    }

    /// Takes all entries out, in order.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.first = self.next_number();
        self.len = 0;
        std::mem::take(&mut self.slots).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_numbers_while_others_leave() {
        let mut ring = Ring::default();
        let numbers: Vec<_> = "abcd".chars().map(|entry| ring.push(entry)).collect();
        assert_eq!(ring.remove(numbers[1]), Some('b'));
        assert_eq!(ring.remove(numbers[0]), Some('a'));
        assert_eq!(ring.remove(numbers[0]), None);
        assert_eq!(ring.at_or_after(0), Some(numbers[2]));
        assert_eq!(ring.get_mut(numbers[3]), Some(&mut 'd'));
        assert_eq!(ring.len(), 2);
        assert_eq!(ring.drain().collect::<String>(), "cd");
        assert_eq!(ring.push('e'), numbers[3] + 1);
    }
}
