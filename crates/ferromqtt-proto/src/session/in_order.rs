//! A queue of entries under rising numbers, from which any entry can be taken at once by its number.
//!
//! Entries lie in one ring in the order of their numbers. One that is taken from the middle leaves a gap, which keeps its
//! number; the gaps are closed when there are more of them than entries. So every operation costs the same whatever is
//! held, up to the logarithm of it for finding a number behind a gap: `docs/design/0022-tables-in-order.md`.

use std::collections::VecDeque;

/// With up to so many gaps none is closed, and an empty ring for up to so many entries keeps its memory.
const FEW: usize = 32;

/// The queue. For the crates of this workspace alone: it is no part of the interface.
#[derive(Debug)]
pub struct InOrder<T> {
    /// By number. The first and the last are no gaps.
    slots: VecDeque<Slot<T>>,
    /// Slots that are no gaps.
    len: usize,
}

#[derive(Debug)]
struct Slot<T> {
    number: u64,
    /// `None`: the entry was taken.
    entry: Option<T>,
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self {
            slots: VecDeque::new(),
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
        self.slots.back().map_or(0, |last| last.number + 1)
    }

    /// Appends an entry. Its number must be higher than those of the others.
    pub fn push(&mut self, number: u64, entry: T) {
        debug_assert!(number >= self.end());
        let entry = Some(entry);
        self.slots.push_back(Slot { number, entry });
        self.len += 1;
    }

    /// Puts an entry before the others. Its number must be lower than theirs.
    pub fn push_first(&mut self, number: u64, entry: T) {
        debug_assert!((self.slots.front()).is_none_or(|first| number < first.number));
        let entry = Some(entry);
        self.slots.push_front(Slot { number, entry });
        self.len += 1;
    }

    /// The number of the first entry.
    pub fn first_number(&self) -> Option<u64> {
        self.slots.front().map(|first| first.number)
    }

    /// The first entry.
    pub fn first_mut(&mut self) -> Option<&mut T> {
        self.slots.front_mut()?.entry.as_mut()
    }

    /// Takes out the first entry.
    #[inline]
    pub fn pop_first(&mut self) -> Option<(u64, T)> {
        let Slot { number, entry } = self.slots.pop_front()?;
        self.len -= 1;
        if self.slots.front().is_none_or(Slot::is_gap) {
            self.trim_front();
        }
        self.bound_gaps();
        Some((number, entry?))
    }

    /// The entry with this number.
    pub fn get(&self, number: u64) -> Option<&T> {
        self.slots.get(self.find(number)?)?.entry.as_ref()
    }

    /// The entry with this number, to change it.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let index = self.find(number)?;
        self.slots.get_mut(index)?.entry.as_mut()
    }

    /// Takes out the entry with this number.
    pub fn remove(&mut self, number: u64) -> Option<T> {
        let index = self.find(number)?;
        if index == 0 {
            return self.pop_first().map(|(_, entry)| entry);
        }
        let entry = self.slots.get_mut(index)?.entry.take()?;
        self.len -= 1;
        while self.slots.back().is_some_and(Slot::is_gap) {
            self.slots.pop_back();
        }
        self.bound_gaps();
        Some(entry)
    }

    /// The entries in order, with their numbers.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &T)> {
        self.slots.iter().filter_map(Slot::as_pair)
    }

    /// The entries from the one numbered `number` on, or from where it would be.
    pub fn iter_from(&self, number: u64) -> impl Iterator<Item = (u64, &T)> {
        (self.slots)
            .range(self.at_or_after(number)..)
            .filter_map(Slot::as_pair)
    }

    /// The entries in order, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut T)> {
        (self.slots.iter_mut()).filter_map(|slot| Some((slot.number, slot.entry.as_mut()?)))
    }

    /// Takes out all entries, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = (u64, T)> + use<T> {
        self.len = 0;
        (std::mem::take(&mut self.slots).into_iter())
            .filter_map(|slot| Some((slot.number, slot.entry?)))
    }

    /// Where the slot with this number is.
    fn find(&self, number: u64) -> Option<usize> {
        let index = self.at_or_after(number);
        (self.slots.get(index)?.number == number).then_some(index)
    }

    /// Where the first slot is whose number is `number` or higher; behind all slots, if there is none.
    fn at_or_after(&self, number: u64) -> usize {
        let Some(first) = self.slots.front() else {
            return 0;
        };
        // Numbers rise by at least 1, so this is where it is if none is left out before it, and it is never further back.
        let guess = usize::try_from(number.saturating_sub(first.number)).unwrap_or(usize::MAX);
        match self.slots.get(guess) {
            Some(slot) if slot.number == number => guess,
            _ => self.slots.partition_point(|slot| slot.number < number),
        }
    }

    /// Has the ring begin with an entry again. An empty ring gives memory back.
    fn trim_front(&mut self) {
        while self.slots.front().is_some_and(Slot::is_gap) {
            self.slots.pop_front();
        }
        if self.slots.is_empty() && self.slots.capacity() > FEW {
            self.slots = VecDeque::new();
        }
    }

    /// Keeps memory in proportion to the entries.
    fn bound_gaps(&mut self) {
        if self.slots.len() - self.len > self.len + FEW {
            self.close_gaps();
        }
    }

    #[cold]
    #[inline(never)]
    fn close_gaps(&mut self) {
        self.slots.retain(|slot| !slot.is_gap());
        if self.slots.capacity() / 4 > self.len + FEW {
            self.slots.shrink_to(2 * self.len);
        }
    }
}

impl<T> Slot<T> {
    const fn is_gap(&self) -> bool {
        self.entry.is_none()
    }

    fn as_pair(&self) -> Option<(u64, &T)> {
        self.entry.as_ref().map(|entry| (self.number, entry))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
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

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0_u64..3).prop_map(Step::Push),
            1 => (0_u64..3).prop_map(Step::PushFirst),
            1 => Just(Step::PopFirst),
            5 => any::<usize>().prop_map(Step::Remove),
            1 => (900_u64..1_900).prop_map(Step::RemoveNumber),
        ]
    }

    /// Grows, and then gets smaller until little is left.
    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let grow = prop::collection::vec((0_u64..3).prop_map(Step::Push), 0..300);
        let mixed = prop::collection::vec(step(), 0..400);
        let shrink = prop::collection::vec(any::<usize>().prop_map(Step::Remove), 0..300);
        let end = prop::bool::ANY.prop_map(|drains| drains.then_some(Step::Drain));
        (grow, mixed, shrink, end).prop_map(|(grow, mixed, shrink, end)| {
            [grow, mixed, shrink, Vec::from_iter(end)].concat()
        })
    }

    /// What must hold of the ring itself.
    fn check(queue: &InOrder<u64>, model: &BTreeMap<u64, u64>) {
        let numbers: Vec<_> = queue.slots.iter().map(|slot| slot.number).collect();
        assert!(numbers.is_sorted_by(|one, other| one < other));
        assert!(queue.slots.front().is_none_or(|slot| !slot.is_gap()));
        assert!(queue.slots.back().is_none_or(|slot| !slot.is_gap()));
        assert!(queue.slots.len() <= 2 * queue.len() + FEW, "too many gaps");
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
                    Step::Push(skipped) => {
                        let number = queue.end().max(1_000) + skipped;
                        queue.push(number, entry);
                        model.insert(number, entry);
                    }
                    Step::PushFirst(skipped) => {
                        let first = model.first_key_value().map_or(1_000, |(&first, _)| first);
                        if let Some(number) = first.checked_sub(skipped + 1) {
                            queue.push_first(number, entry);
                            model.insert(number, entry);
                        }
                    }
                    Step::PopFirst => {
                        prop_assert_eq!(queue.first_mut().copied(), model.values().next().copied());
                        prop_assert_eq!(queue.pop_first(), model.pop_first());
                    }
                    Step::Remove(place) => {
                        let number = model.keys().nth(place % model.len().max(1)).copied();
                        let number = number.unwrap_or(7);
                        prop_assert_eq!(queue.get(number), model.get(&number));
                        prop_assert_eq!(queue.get_mut(number), model.get_mut(&number));
                        prop_assert_eq!(queue.remove(number), model.remove(&number));
                        prop_assert_eq!(queue.remove(number), None);
                    }
                    Step::RemoveNumber(number) => {
                        let behind = model.range(number..).map(|(&number, entry)| (number, entry));
                        prop_assert!(queue.iter_from(number).eq(behind));
                        prop_assert_eq!(queue.get(number), model.get(&number));
                        prop_assert_eq!(queue.remove(number), model.remove(&number));
                    }
                    Step::Drain => {
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
            assert!(queue.slots.len() <= 2 + FEW);
        }
        assert_eq!(queue.len(), 1);
        assert!(queue.slots.capacity() <= 4 * FEW);
    }
}
