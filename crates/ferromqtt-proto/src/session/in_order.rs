//! A queue of entries under rising numbers, from which any entry can be taken at once by its number.
//!
//! Entries lie in one ring in the order of their numbers. One that is taken from the middle leaves a gap, which keeps its
//! number; the gaps are closed when there are twice as many of them as entries. So every operation costs the same whatever is
//! held, up to the logarithm of it for finding a number behind a gap: `docs/design/0022-tables-in-order.md`.

use std::collections::VecDeque;

/// With up to so many gaps none is closed, and an empty ring for up to so many entries keeps its memory.
const FEW: usize = 32;

/// The queue. For the crates of this workspace alone: it is no part of the interface.
#[derive(Debug)]
pub struct InOrder<T> {
    /// Of each slot, rising. They lie apart from the entries, so that looking for one reads little memory.
    numbers: VecDeque<u64>,
    /// The slots: an entry, or a gap. The first and the last are no gaps.
    entries: VecDeque<Option<T>>,
    /// Slots that are no gaps.
    len: usize,
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self {
            numbers: VecDeque::new(),
            entries: VecDeque::new(),
            len: 0,
        }
    }
}

impl<T> InOrder<T> {
    /// How many entries there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A number above those of all entries: that of the last one and 1, or 0.
    pub fn end(&self) -> u64 {
        self.numbers.back().map_or(0, |last| last.saturating_add(1))
    }

    /// Appends an entry. Its number must be higher than those of the others.
    #[inline]
    pub fn push(&mut self, number: u64, entry: T) {
        debug_assert!(number >= self.end());
        self.numbers.push_back(number);
        self.entries.push_back(Some(entry));
        self.len += 1;
    }

    /// Puts an entry before the others. Its number must be lower than theirs.
    pub fn push_first(&mut self, number: u64, entry: T) {
        debug_assert!(self.first_number().is_none_or(|first| number < first));
        self.numbers.push_front(number);
        self.entries.push_front(Some(entry));
        self.len += 1;
    }

    /// The number of the first entry.
    pub fn first_number(&self) -> Option<u64> {
        self.numbers.front().copied()
    }

    /// The first entry.
    pub fn first_mut(&mut self) -> Option<&mut T> {
        self.entries.front_mut()?.as_mut()
    }

    /// Takes out the first entry.
    #[inline]
    pub fn pop_first(&mut self) -> Option<(u64, T)> {
        let number = self.numbers.pop_front()?;
        let entry = self.entries.pop_front()?;
        self.len -= 1;
        if !matches!(self.entries.front(), Some(Some(_))) {
            self.trim_front();
        }
        self.bound_gaps();
        Some((number, entry?))
    }

    /// The entry with this number.
    pub fn get(&self, number: u64) -> Option<&T> {
        self.entries.get(self.find(number)?)?.as_ref()
    }

    /// The entry with this number, to change it.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let index = self.find(number)?;
        self.entries.get_mut(index)?.as_mut()
    }

    /// Takes out the entry with this number.
    pub fn remove(&mut self, number: u64) -> Option<T> {
        let index = self.find(number)?;
        if index == 0 {
            return self.pop_first().map(|(_, entry)| entry);
        }
        let entry = self.entries.get_mut(index)?.take()?;
        self.len -= 1;
        while let Some(None) = self.entries.back() {
            self.entries.pop_back();
            self.numbers.pop_back();
        }
        self.bound_gaps();
        Some(entry)
    }

    /// The entries in order, with their numbers.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &T)> {
        let slots = self.numbers.iter().zip(&self.entries);
        slots.filter_map(|(&number, entry)| Some((number, entry.as_ref()?)))
    }

    /// The entries from the one numbered `number` on, or from where it would be.
    pub fn iter_from(&self, number: u64) -> impl Iterator<Item = (u64, &T)> {
        let from = self.at_or_after(number);
        let slots = self.numbers.range(from..).zip(self.entries.range(from..));
        slots.filter_map(|(&number, entry)| Some((number, entry.as_ref()?)))
    }

    /// The entries in order, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut T)> {
        let slots = self.numbers.iter().zip(&mut self.entries);
        slots.filter_map(|(&number, entry)| Some((number, entry.as_mut()?)))
    }

    /// Takes out all entries, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = (u64, T)> + use<T> {
        let Self {
            numbers, entries, ..
        } = std::mem::take(self);
        let slots = numbers.into_iter().zip(entries);
        slots.filter_map(|(number, entry)| Some((number, entry?)))
    }

    /// Where the slot with this number is.
    #[inline]
    fn find(&self, number: u64) -> Option<usize> {
        let index = self.at_or_after(number);
        (*self.numbers.get(index)? == number).then_some(index)
    }

    /// Where the first slot is whose number is `number` or higher; behind all slots, if there is none.
    #[inline]
    fn at_or_after(&self, number: u64) -> usize {
        let Some(first) = self.first_number() else {
            return 0;
        };
        // Numbers rise by at least 1, so this is where it is if none is left out before it, and it is never further back.
        let guess = usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX);
        match self.numbers.get(guess) {
            Some(&found) if found == number => guess,
            _ => self.numbers.partition_point(|&other| other < number),
        }
    }

    /// Has the ring begin with an entry again. An empty ring gives memory back.
    fn trim_front(&mut self) {
        while let Some(None) = self.entries.front() {
            self.entries.pop_front();
            self.numbers.pop_front();
        }
        if self.entries.is_empty() && self.entries.capacity() > FEW {
            *self = Self::default();
        }
    }

    /// Keeps memory in proportion to the entries.
    fn bound_gaps(&mut self) {
        if self.entries.len() - self.len > 2 * self.len + FEW {
            self.close_gaps();
        }
    }

    #[cold]
    #[inline(never)]
    fn close_gaps(&mut self) {
        let mut entries = self.entries.iter();
        (self.numbers).retain(|_| matches!(entries.next(), Some(Some(_))));
        self.entries.retain(Option::is_some);
        if self.entries.capacity() / 4 > self.len + FEW {
            self.numbers.shrink_to(2 * self.len);
            self.entries.shrink_to(2 * self.len);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum RingStep {
        /// Leaves out so many numbers.
        Push(u64),
        PushFirst(u64),
        PopFirst,
        /// One of those there are, by its place.
        Remove(usize),
        /// A number that may be anybody's.
        RemoveNumber(u64),
        Drain,
    }

    fn step() -> impl Strategy<Value = RingStep> {
        prop_oneof![
            6 => (0_u64..3).prop_map(RingStep::Push),
            1 => (0_u64..3).prop_map(RingStep::PushFirst),
            1 => Just(RingStep::PopFirst),
            5 => any::<usize>().prop_map(RingStep::Remove),
            1 => (900_u64..1_900).prop_map(RingStep::RemoveNumber),
        ]
    }

    /// Grows, and then gets smaller until little is left.
    fn steps() -> impl Strategy<Value = Vec<RingStep>> {
        let grow = prop::collection::vec((0_u64..3).prop_map(RingStep::Push), 0..300);
        let mixed = prop::collection::vec(step(), 0..400);
        let shrink = prop::collection::vec(any::<usize>().prop_map(RingStep::Remove), 0..300);
        let end = prop::bool::ANY.prop_map(|drains| drains.then_some(RingStep::Drain));
        (grow, mixed, shrink, end).prop_map(|(grow, mixed, shrink, end)| {
            [grow, mixed, shrink, Vec::from_iter(end)].concat()
        })
    }

    /// What must hold of the ring itself.
    fn check(queue: &InOrder<u64>, model: &BTreeMap<u64, u64>) {
        assert!((queue.numbers.iter()).is_sorted_by(|one, other| one < other));
        assert_eq!(queue.numbers.len(), queue.entries.len());
        assert!(queue.entries.front().is_none_or(Option::is_some));
        assert!(queue.entries.back().is_none_or(Option::is_some));
        assert!(
            queue.entries.len() <= 3 * queue.len() + FEW,
            "too many gaps"
        );
        assert_eq!(
            (queue.len(), queue.is_empty()),
            (model.len(), model.is_empty())
        );
        assert!(
            queue
                .iter()
                .eq(model.iter().map(|(&number, entry)| (number, entry)))
        );
    }

    proptest! {
        #[test]
        fn it_does_what_a_sorted_map_does(steps in steps()) {
            let (mut queue, mut model) = (InOrder::default(), BTreeMap::new());
            for (entry, step) in (0_u64..).zip(steps) {
                match step {
                    RingStep::Push(skipped) => {
                        let number = queue.end().max(1_000) + skipped;
                        queue.push(number, entry);
                        model.insert(number, entry);
                    }
                    RingStep::PushFirst(skipped) => {
                        let first = model.first_key_value().map_or(1_000, |(&first, _)| first);
                        if let Some(number) = first.checked_sub(skipped + 1) {
                            queue.push_first(number, entry);
                            model.insert(number, entry);
                        }
                    }
                    RingStep::PopFirst => {
                        prop_assert_eq!(queue.first_mut().copied(), model.values().next().copied());
                        prop_assert_eq!(queue.pop_first(), model.pop_first());
                    }
                    RingStep::Remove(place) => {
                        let number = model.keys().nth(place % model.len().max(1)).copied();
                        let number = number.unwrap_or(7);
                        prop_assert_eq!(queue.get(number), model.get(&number));
                        prop_assert_eq!(queue.get_mut(number), model.get_mut(&number));
                        prop_assert_eq!(queue.remove(number), model.remove(&number));
                        prop_assert_eq!(queue.remove(number), None);
                    }
                    RingStep::RemoveNumber(number) => {
                        let behind = model.range(number..).map(|(&number, entry)| (number, entry));
                        prop_assert!(queue.iter_from(number).eq(behind));
                        prop_assert_eq!(queue.get(number), model.get(&number));
                        prop_assert_eq!(queue.remove(number), model.remove(&number));
                    }
                    RingStep::Drain => {
                        let all: Vec<_> = queue.drain().collect();
                        prop_assert_eq!(all, Vec::from_iter(std::mem::take(&mut model)));
                    }
                }
                check(&queue, &model);
            }
        }
    }

    #[test]
    fn one_entry_that_stays_does_not_keep_the_place_of_all_that_came_behind_it() {
        let mut queue = InOrder::default();
        queue.push(0, ());
        for number in 1..100_000 {
            queue.push(number, ());
            queue.push(number + 100_000, ());
            queue.remove(number + 100_000);
            queue.remove(number);
            assert!(queue.entries.len() <= 3 + FEW);
        }
        assert_eq!(queue.len(), 1);
        assert!(queue.entries.capacity() <= 4 * FEW);
    }
}
