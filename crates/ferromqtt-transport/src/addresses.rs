//! In which order, and when, the addresses of a host are tried ("Happy Eyeballs", RFC 8305).
//!
//! ```
//! use std::time::Duration;
//!
//! use ferromqtt_transport::{Next, Race};
//!
//! let addresses = ["[2001:db8::1]:1883", "192.0.2.1:1883"].map(|text| text.parse().unwrap());
//! let mut race = Race::new(&addresses);
//!
//! // The driver starts the attempt that it gets, and waits for that long, or until an attempt ends.
//! let at = Duration::from_millis;
//! assert_eq!(race.poll(at(0)), Next::Start(0));
//! assert_eq!(race.poll(at(0)), Next::WaitUntil(at(250)));
//! race.failed(0, at(40)); // "network is unreachable"
//! assert_eq!(race.poll(at(40)), Next::Start(1));
//! assert_eq!(race.poll(at(40)), Next::Wait); // attempt 1 succeeds: the race is over, drop it
//! ```

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// How long an attempt may take before the next is started beside it: RFC 8305, section 5.
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// What the driver does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Connect to the address at this place of the list, and ask again at once.
    Start(usize),
    /// Ask again at this time, or when an attempt fails.
    WaitUntil(Duration),
    /// Every address is being tried: only the end of an attempt changes that.
    Wait,
    /// Every attempt failed, or there was no address.
    Failed,
}

/// Attempts to connect to the addresses of one host, of which the first to succeed wins.
///
/// It has no clock: `now` is the time since the race began. The winner ends the race: the driver drops it, and gives up
/// the other attempts.
#[derive(Clone, Debug)]
pub struct Race {
    waiting: VecDeque<usize>,
    running: Vec<usize>,
    next_start: Duration,
}

impl Race {
    /// A race over addresses in the order that the resolver prefers.
    #[must_use]
    pub fn new(addresses: &[SocketAddr]) -> Self {
        let families: Vec<bool> = addresses.iter().map(SocketAddr::is_ipv6).collect();
        Self::of_families(&families)
    }

    /// A race over addresses of which only the families are known.
    #[must_use]
    pub fn of_families<Family: PartialEq>(families: &[Family]) -> Self {
        Self {
            waiting: interleave(families).into(),
            running: Vec::new(),
            next_start: Duration::ZERO,
        }
    }

    /// What to do now.
    pub fn poll(&mut self, now: Duration) -> Next {
        let next = self.peek(now);
        if let Next::Start(index) = next {
            self.waiting.pop_front();
            self.running.push(index);
            self.next_start = now.saturating_add(ATTEMPT_DELAY);
        }
        next
    }

    /// What [`Race::poll`] would return; starts nothing.
    #[must_use]
    pub fn peek(&self, now: Duration) -> Next {
        match self.waiting.front() {
            Some(&index) if now >= self.next_start => Next::Start(index),
            Some(_) => Next::WaitUntil(self.next_start),
            None if self.running.is_empty() => Next::Failed,
            None => Next::Wait,
        }
    }

    /// An attempt failed: the next one need not wait any longer. An attempt that does not run is ignored.
    pub fn failed(&mut self, index: usize, now: Duration) {
        let Some(place) = self.running.iter().position(|&running| running == index) else {
            return;
        };
        self.running.swap_remove(place);
        self.next_start = self.next_start.min(now);
    }
}

/// The order of attempts: families take turns, the first address' family first (RFC 8305, section 4).
///
/// Returns places in the list. Within a family, the order stays as it is.
#[must_use]
pub fn interleave<Family: PartialEq>(families: &[Family]) -> Vec<usize> {
    let mut by_family: Vec<(&Family, VecDeque<usize>)> = Vec::new();
    for (index, family) in families.iter().enumerate() {
        match by_family.iter_mut().find(|(known, _)| *known == family) {
            Some((_, members)) => members.push_back(index),
            None => by_family.push((family, VecDeque::from([index]))),
        }
    }
    let mut order = Vec::with_capacity(families.len());
    while order.len() < families.len() {
        order.extend(
            by_family
                .iter_mut()
                .filter_map(|(_, members)| members.pop_front()),
        );
    }
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn families_take_turns_beginning_with_the_first() {
        assert_eq!(interleave(&[6, 6, 6, 4, 4]), [0, 3, 1, 4, 2]);
        assert_eq!(interleave(&[4, 6, 6]), [0, 1, 2]);
        assert_eq!(interleave(&[4, 4, 6]), [0, 2, 1]);
        assert_eq!(interleave::<u8>(&[]), [0_usize; 0]);
    }

    #[test]
    fn an_attempt_starts_each_250_ms_while_none_ends() {
        let addresses = ["[::1]:1", "[::2]:1", "127.0.0.1:1"].map(|text| text.parse().unwrap());
        let mut race = Race::new(&addresses);
        assert_eq!(race.poll(ms(0)), Next::Start(0));
        assert_eq!(race.poll(ms(0)), Next::WaitUntil(ms(250)));
        assert_eq!(race.poll(ms(249)), Next::WaitUntil(ms(250)));
        assert_eq!(race.poll(ms(260)), Next::Start(2));
        assert_eq!(race.poll(ms(260)), Next::WaitUntil(ms(510)));
        assert_eq!(race.poll(ms(510)), Next::Start(1));
        assert_eq!(race.poll(ms(510)), Next::Wait);
    }

    #[test]
    fn a_failure_starts_the_next_attempt_at_once_and_the_one_after_250_ms_later() {
        let mut race = Race::of_families(&[4, 4, 4]);
        assert_eq!(race.poll(ms(0)), Next::Start(0));
        race.failed(0, ms(10));
        assert_eq!(race.poll(ms(10)), Next::Start(1));
        assert_eq!(race.poll(ms(10)), Next::WaitUntil(ms(260)));
    }

    #[test]
    fn one_failure_starts_one_attempt_while_others_run() {
        let mut race = Race::of_families(&[4, 4, 4, 4]);
        assert_eq!(race.poll(ms(0)), Next::Start(0));
        assert_eq!(race.poll(ms(250)), Next::Start(1));
        race.failed(0, ms(300));
        assert_eq!(race.poll(ms(300)), Next::Start(2));
        assert_eq!(race.poll(ms(300)), Next::WaitUntil(ms(550)));
    }

    #[test]
    fn the_race_is_lost_with_the_last_attempt() {
        let mut race = Race::of_families(&[4, 6]);
        assert_eq!(race.poll(ms(0)), Next::Start(0));
        assert_eq!(race.poll(ms(250)), Next::Start(1));
        race.failed(1, ms(300));
        assert_eq!(race.poll(ms(300)), Next::Wait);
        race.failed(0, ms(310));
        assert_eq!(race.poll(ms(310)), Next::Failed);
    }

    #[test]
    fn a_host_without_addresses_is_lost_at_once() {
        assert_eq!(Race::new(&[]).poll(ms(0)), Next::Failed);
    }

    #[test]
    fn an_attempt_that_does_not_run_cannot_fail() {
        let mut race = Race::of_families(&[4, 4]);
        assert_eq!(race.poll(ms(0)), Next::Start(0));
        race.failed(1, ms(1));
        race.failed(7, ms(1));
        assert_eq!(race.poll(ms(1)), Next::WaitUntil(ms(250)));
    }

    proptest! {
        #[test]
        fn the_order_is_a_permutation_that_keeps_each_family_in_order(
            families in prop::collection::vec(0_u8..3, 0..12),
        ) {
            let order = interleave(&families);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..families.len()).collect::<Vec<_>>());
            for family in 0..3 {
                let members = || order.iter().filter(|&&index| families[index] == family);
                prop_assert!(members().is_sorted());
            }
        }

        #[test]
        fn each_address_is_tried_once_and_no_two_starts_without_a_reason(
            families in prop::collection::vec(any::<bool>(), 0..8),
            steps in prop::collection::vec((0_u64..400, any::<prop::sample::Index>(), any::<bool>()), 0..60),
        ) {
            let mut race = Race::of_families(&families);
            let (mut now, mut started, mut running) = (ms(0), Vec::new(), Vec::new());
            let (mut last_start, mut failures) = (None, 0);
            for (pause, which, fails) in steps {
                now += ms(pause);
                if fails && !running.is_empty() {
                    race.failed(running.swap_remove(which.index(running.len())), now);
                    failures += 1;
                }
                let expected = race.peek(now);
                let next = race.poll(now);
                prop_assert_eq!(next, expected);
                match next {
                    Next::Start(index) => {
                        prop_assert!(!started.contains(&index));
                        let rested = last_start.is_none_or(|last| now - last >= ATTEMPT_DELAY);
                        prop_assert!(rested || failures > 0);
                        (last_start, failures) = (Some(now), 0);
                        started.push(index);
                        running.push(index);
                    }
                    Next::WaitUntil(time) => prop_assert!(time > now && !running.is_empty()),
                    Next::Wait => prop_assert!(!running.is_empty() && started.len() == families.len()),
                    Next::Failed => prop_assert!(running.is_empty() && started.len() == families.len()),
                }
            }
        }
    }
}
