//! A Client Identifier for a client that was given none: made once, and kept by the store.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Letters and digits that every server accepts (section 3.1.3.1), and as many as that says: enough for 128 random bits.
const LENGTH: usize = 22;

pub(crate) fn random_identifier() -> String {
    let random = || u128::from(RandomState::new().hash_one(0));
    let mut bits = random() << 64 | random();
    let mut identifier = String::with_capacity(LENGTH);
    for _ in 0..LENGTH {
        let letter = usize::try_from(bits % 62).unwrap_or_default();
        identifier.push(char::from(LETTERS[letter]));
        bits /= 62;
    }
    identifier
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 3.1.3.1.
    #[test]
    fn an_identifier_has_22_letters_and_digits_and_is_another_one_each_time() {
        let identifiers = [random_identifier(), random_identifier()];
        assert_ne!(identifiers[0], identifiers[1]);
        for identifier in identifiers {
            assert_eq!(identifier.len(), 22);
            assert!(identifier.bytes().all(|it| it.is_ascii_alphanumeric()));
        }
    }
}
