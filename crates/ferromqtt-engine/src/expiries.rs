//! When the messages that wait in the outgoing queue expire.
//!
//! Most queues have one limit for all, so what is accepted later expires later: then entering and leaving cost the same whatever
//! waits, and a message takes 32 bytes at most. The others are kept sorted.

use std::collections::BTreeSet;
use std::time::Instant;

use ferromqtt_proto::InOrder;

#[derive(Default)]
pub(crate) struct Expiries {
    /// By the keys of the messages; the times rise too.
    rising: InOrder<Instant>,
    /// No time in `rising` is later, while that holds any.
    latest: Option<Instant>,
    others: BTreeSet<(Instant, u64)>,
}

impl Expiries {
    /// A message with a higher key than all before expires then.
    pub(crate) fn insert(&mut self, end: Instant, key: u64) {
        let rises = self.rising.is_empty() || self.latest.is_none_or(|latest| latest <= end);
        if rises && key >= self.rising.end() {
            self.latest = Some(end);
            self.rising.push(key, end);
        } else {
            self.others.insert((end, key));
        }
    }

    /// A message that was inserted waits no longer.
    pub(crate) fn remove(&mut self, end: Instant, key: u64) {
        if self.rising.remove(key).is_none() {
            self.others.remove(&(end, key));
        }
    }

    /// The message that expires first, and when.
    pub(crate) fn first(&self) -> Option<(Instant, u64)> {
        let rising = self.rising.iter().next().map(|(key, &end)| (end, key));
        let other = self.others.first().copied();
        [rising, other].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_to_expire_is_that_of_a_sorted_set() {
        let start = Instant::now();
        let mut random = 1_u64;
        let mut number = |below: usize| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) as usize % below
        };
        let mut expiries = Expiries::default();
        let mut set = BTreeSet::new();
        for key in 0..20_000 {
            // As many enter as leave, in stretches: it is empty now and then.
            let enters = set.is_empty() || number(4) > key as usize / 64 % 4;
            if enters {
                let end = start + Duration::from_secs(number(20) as u64 + key / 200);
                expiries.insert(end, key);
                set.insert((end, key));
            } else {
                let leaves = set.iter().nth(number(set.len())).copied();
                let (end, key) = leaves.unwrap();
                expiries.remove(end, key);
                set.remove(&(end, key));
            }
            assert_eq!(expiries.first(), set.first().copied());
        }
    }

    #[test]
    fn messages_that_expire_in_order_are_not_sorted() {
        let start = Instant::now();
        let mut expiries = Expiries::default();
        for key in 0..1_000 {
            expiries.insert(start + Duration::from_secs(key), key);
        }
        assert!(expiries.others.is_empty());
    }
}
