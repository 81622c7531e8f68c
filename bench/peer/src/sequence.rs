//! Sequence numbers: the first four bytes of each payload, big-endian, counting round a cycle.

use std::collections::HashSet;

/// Senders recycle this many payloads, so numbers run from 0 to one less and start again.
/// A loss of a whole cycle does not show in the numbers; it shows in the count.
pub(crate) const CYCLE: u32 = 4096;

/// Bytes a sequence number takes at the front of a payload.
pub(crate) const NUMBER_SIZE: usize = 4;

/// The payload that carries this number.
pub(crate) fn payload(number: u32, size: usize) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(size, b'.');
    payload
}

/// Compares the numbers that arrive with the ones that should.
#[derive(Debug, Default)]
pub(crate) struct SequenceCheck {
    expected: u32,
    missing: HashSet<u32>,
    pub(crate) messages: u64,
    pub(crate) lost: u64,
    pub(crate) reordered: u64,
    pub(crate) duplicates: u64,
}

impl SequenceCheck {
    /// Takes the payload of one message. `Err` if it has no number of the cycle in front.
    pub(crate) fn take(&mut self, payload: &[u8]) -> Result<(), &'static str> {
        let number = payload
            .first_chunk::<NUMBER_SIZE>()
            .map(|bytes| u32::from_be_bytes(*bytes))
            .filter(|number| *number < CYCLE)
            .ok_or("a payload does not start with a sequence number of the cycle")?;
        self.messages += 1;
        if number == self.expected {
            self.expected = (number + 1) % CYCLE;
        } else {
            self.take_unexpected(number);
        }
        Ok(())
    }

    /// Up to half a cycle ahead means a gap; otherwise it is a late message or a repeated one.
    fn take_unexpected(&mut self, number: u32) {
        let ahead = (number + CYCLE - self.expected) % CYCLE;
        if ahead < CYCLE / 2 {
            self.missing
                .extend((0..ahead).map(|offset| (self.expected + offset) % CYCLE));
            self.lost += u64::from(ahead);
            self.expected = (number + 1) % CYCLE;
        } else if self.missing.remove(&number) {
            self.lost -= 1;
            self.reordered += 1;
        } else {
            self.duplicates += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(numbers: impl IntoIterator<Item = u32>) -> (u64, u64, u64, u64) {
        let mut check = SequenceCheck::default();
        for number in numbers {
            check
                .take(&payload(number, 64))
                .expect("a numbered payload");
        }
        (
            check.messages,
            check.lost,
            check.reordered,
            check.duplicates,
        )
    }

    #[test]
    fn a_full_sequence_is_clean_across_the_end_of_the_cycle() {
        assert_eq!(check((0..10_000).map(|n| n % CYCLE)), (10_000, 0, 0, 0));
    }

    #[test]
    fn a_gap_is_a_loss() {
        assert_eq!(check([0, 1, 4, 5]), (4, 2, 0, 0));
    }

    #[test]
    fn a_late_message_is_reordered_and_not_lost() {
        assert_eq!(check([0, 2, 1, 3]), (4, 0, 1, 0));
    }

    #[test]
    fn a_repeated_message_is_a_duplicate() {
        assert_eq!(check([0, 1, 1, 2, 0]), (5, 0, 0, 2));
    }

    #[test]
    fn a_payload_without_a_number_is_refused() {
        let mut check = SequenceCheck::default();
        assert!(check.take(b"abc").is_err());
        assert!(check.take(b"text, not a number").is_err());
    }
}
