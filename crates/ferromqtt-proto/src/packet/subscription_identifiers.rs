//! Subscription Identifiers (section 3.8.2.1.2).

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// So many are held without memory of their own. Nearly all messages have one.
pub(super) const FEW: usize = 4;

/// Subscription Identifiers, in order: a slice of numbers, from 1 to 268,435,455, that can grow.
///
/// A clone shares them, since a message goes to each queue that wants it, and may have half a million for each mebibyte of its
/// packet.
///
/// ```
/// use ferromqtt_proto::packet::SubscriptionIdentifiers;
///
/// let mut identifiers = SubscriptionIdentifiers::from([7]);
/// identifiers.push(9);
/// assert_eq!(identifiers, [7, 9]);
/// assert_eq!(identifiers.first(), Some(&7));
/// ```
#[derive(Clone)]
pub struct SubscriptionIdentifiers(Numbers);

#[derive(Clone)]
enum Numbers {
    Few { numbers: [u32; FEW], count: u8 },
    Many(Arc<Vec<u32>>),
}

impl SubscriptionIdentifiers {
    /// None.
    pub const fn new() -> Self {
        Self(Numbers::Few {
            numbers: [0; FEW],
            count: 0,
        })
    }

    /// Appends one. The first time after a clone, it copies those before if they are more than a few.
    pub fn push(&mut self, identifier: u32) {
        match &mut self.0 {
            Numbers::Few { numbers, count } => match numbers.get_mut(usize::from(*count)) {
                Some(free) => {
                    *free = identifier;
                    *count += 1;
                }
                None => self.make_many(1).push(identifier),
            },
            Numbers::Many(many) => Arc::make_mut(many).push(identifier),
        }
    }

    /// Keeps those for which `keep` says so, and gives back the memory of the others.
    pub fn retain(&mut self, mut keep: impl FnMut(u32) -> bool) {
        // The memory is given back here and not when the message is detached: by then a clone may share it, which counts the
        // identifiers that are left and would keep alive the memory of all that there were.
        if let Numbers::Many(many) = &mut self.0
            && let Some(own) = Arc::get_mut(many)
        {
            own.retain(|it| keep(*it));
            if own.len() > FEW {
                return own.shrink_to_fit();
            }
            *self = own.iter().copied().collect();
        } else {
            *self = self.iter().copied().filter(|it| keep(*it)).collect();
        }
    }

    /// Whether the next one needs memory, of which there is none: then [`make_many`](Self::make_many) should be told how much.
    pub(super) fn is_full(&self) -> bool {
        match &self.0 {
            Numbers::Few { count, .. } => usize::from(*count) == FEW,
            Numbers::Many(many) => many.len() == many.capacity(),
        }
    }

    /// Whether there is more memory than they need.
    #[cfg(test)]
    pub(super) fn has_room(&self) -> bool {
        matches!(&self.0, Numbers::Many(many) if many.capacity() > many.len())
    }

    /// Makes room for exactly so many more.
    pub(super) fn make_many(&mut self, more: usize) -> &mut Vec<u32> {
        if let Numbers::Few { .. } = self.0 {
            let mut many = Vec::with_capacity(self.len() + more);
            many.extend_from_slice(self);
            self.0 = Numbers::Many(Arc::new(many));
        }
        match &mut self.0 {
            Numbers::Many(many) => {
                let many = Arc::make_mut(many);
                many.reserve_exact(more);
                many
            }
            Numbers::Few { .. } => unreachable!("they are many now"),
        }
    }

    /// How many bytes they take outside of themselves.
    pub(super) fn held(&self) -> usize {
        match &self.0 {
            Numbers::Few { .. } => 0,
            Numbers::Many(many) => size_of_val(&**many) + size_of_val(&***many),
        }
    }

    /// Gives back memory that is not needed, unless a clone shares it.
    pub(super) fn shrink_to_fit(&mut self) {
        if let Numbers::Many(many) = &mut self.0
            && let Some(own) = Arc::get_mut(many)
        {
            own.shrink_to_fit();
        }
    }
}

impl Default for SubscriptionIdentifiers {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for SubscriptionIdentifiers {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        match &self.0 {
            Numbers::Few { numbers, count } => {
                numbers.get(..usize::from(*count)).unwrap_or_default()
            }
            Numbers::Many(many) => many,
        }
    }
}

impl FromIterator<u32> for SubscriptionIdentifiers {
    fn from_iter<I: IntoIterator<Item = u32>>(identifiers: I) -> Self {
        let mut own = Self::new();
        own.extend(identifiers);
        own.shrink_to_fit();
        own
    }
}

impl Extend<u32> for SubscriptionIdentifiers {
    fn extend<I: IntoIterator<Item = u32>>(&mut self, identifiers: I) {
        identifiers.into_iter().for_each(|it| self.push(it));
    }
}

impl From<Vec<u32>> for SubscriptionIdentifiers {
    fn from(identifiers: Vec<u32>) -> Self {
        if identifiers.len() > FEW {
            return Self(Numbers::Many(Arc::new(identifiers)));
        }
        identifiers.into_iter().collect()
    }
}

impl<const N: usize> From<[u32; N]> for SubscriptionIdentifiers {
    fn from(identifiers: [u32; N]) -> Self {
        identifiers.into_iter().collect()
    }
}

impl<'a> IntoIterator for &'a SubscriptionIdentifiers {
    type Item = &'a u32;
    type IntoIter = std::slice::Iter<'a, u32>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for SubscriptionIdentifiers {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for SubscriptionIdentifiers {}

impl<const N: usize> PartialEq<[u32; N]> for SubscriptionIdentifiers {
    fn eq(&self, other: &[u32; N]) -> bool {
        **self == *other
    }
}

impl fmt::Debug for SubscriptionIdentifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_grow_shrink_and_compare_as_a_list_does() {
        for count in 0..12 {
            let expected: Vec<u32> = (1..=count).collect();
            let mut identifiers: SubscriptionIdentifiers = expected.iter().copied().collect();
            assert_eq!(*identifiers, expected[..]);
            assert_eq!(identifiers, SubscriptionIdentifiers::from(expected.clone()));
            let clone = identifiers.clone();
            identifiers.push(99);
            assert_eq!(*clone, expected[..]);
            identifiers.retain(|it| it % 2 == 1);
            let odd: Vec<u32> = (1..=count).filter(|it| it % 2 == 1).chain([99]).collect();
            assert_eq!(*identifiers, odd[..]);
            let mut shared = clone.clone();
            shared.retain(|it| it % 2 == 1);
            assert_eq!(*shared, odd[..odd.len() - 1]);
            assert_eq!(*clone, expected[..]);
        }
    }

    #[test]
    fn identifiers_that_are_taken_off_leave_no_memory_that_clones_keep_uncounted() {
        for left in [0, 1, 4, 5, 50, 99] {
            let mut own = SubscriptionIdentifiers::from(Vec::from_iter(0..100));
            let mut shared = own.clone();
            shared.retain(|it| it < left);
            own.retain(|it| it < left);
            for identifiers in [own, shared] {
                assert_eq!(*identifiers, *Vec::from_iter(0..left));
                assert!(!identifiers.clone().has_room(), "{left} are left");
                assert_eq!(identifiers.held() == 0, left <= 4, "{left} are left");
            }
        }
    }

    #[test]
    fn a_few_take_no_memory_and_a_clone_shares_the_many() {
        let few = SubscriptionIdentifiers::from([1, 2, 3, 4]);
        assert_eq!(few.held(), 0);
        assert!(size_of_val(&few) <= size_of::<Vec<u32>>());
        let many: SubscriptionIdentifiers = (0..100).collect();
        assert_eq!(many.clone().as_ptr(), many.as_ptr());
        assert_eq!(many.held(), 100 * size_of::<u32>() + size_of::<Vec<u32>>());
    }
}
