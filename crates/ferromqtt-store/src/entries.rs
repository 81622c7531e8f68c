//! The pending messages, by their keys: 48 bytes each, and little beside them.
//!
//! A map of the standard library would take twice that: its nodes stay half empty when keys rise. Here they lie in pieces that
//! are filled to the end, and a piece whose messages have mostly ended is made smaller. Messages mostly end in order, so a piece
//! is a ring: taking out its first message moves no other.

use std::collections::VecDeque;

/// Where a record is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecordPlace {
    /// The segment.
    pub(crate) segment: u32,
    /// Where its frame begins, in bytes from the start of the segment.
    pub(crate) frame_at: u32,
    /// Where the record begins, in bytes from the start of the frame.
    pub(crate) record_at: u32,
}

impl RecordPlace {
    /// A number that rises over the records of a log: no number of a segment is given twice. By it, messages keep the order of
    /// their sending when their records are copied.
    pub(crate) fn order(self) -> u64 {
        let at = self.frame_at.saturating_add(self.record_at);
        u64::from(self.segment) << 32 | u64::from(at)
    }
}

/// A message that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PendingMessage {
    pub(crate) key: u64,
    /// In milliseconds since 1970; 0 is never.
    pub(crate) expires_at: u64,
    /// Of its topic, if a newer message to that takes its place; otherwise 0.
    pub(crate) topic_hash: u64,
    pub(crate) place: RecordPlace,
    /// The length of its record.
    pub(crate) size: u32,
}

/// How many messages a piece has at most.
const PIECE: usize = 512;

#[derive(Debug)]
struct Piece {
    /// No key in it is lower, and all before it are. It lies here so that looking for a key reads no other memory.
    from: u64,
    messages: VecDeque<PendingMessage>,
}

impl Piece {
    fn find(&self, key: u64) -> Result<usize, usize> {
        self.messages.binary_search_by_key(&key, |it| it.key)
    }
}

#[derive(Debug, Default)]
pub(crate) struct PendingMessages {
    /// In the order of the keys. None is empty.
    pieces: VecDeque<Piece>,
    len: usize,
}

impl PendingMessages {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The piece that has the key or is where it belongs, if there is any.
    fn piece_of(&self, key: u64) -> Option<usize> {
        let behind = self.pieces.partition_point(|it| it.from <= key);
        behind.checked_sub(1)
    }

    pub(crate) fn get(&self, key: u64) -> Option<&PendingMessage> {
        let piece = self.pieces.get(self.piece_of(key)?)?;
        piece.messages.get(piece.find(key).ok()?)
    }

    /// Puts a message in, and returns the one that had its key.
    pub(crate) fn insert(&mut self, message: PendingMessage) -> Option<PendingMessage> {
        let last = self.pieces.back().and_then(|it| it.messages.back());
        if last.is_none_or(|last| last.key < message.key) {
            self.push(message);
            return None;
        }
        let at_piece = self.piece_of(message.key).unwrap_or(0);
        let piece = self.pieces.get_mut(at_piece)?;
        match piece.find(message.key) {
            Ok(at) => Some(std::mem::replace(piece.messages.get_mut(at)?, message)),
            Err(at) => {
                piece.from = piece.from.min(message.key);
                piece.messages.insert(at, message);
                self.len += 1;
                if piece.messages.len() > PIECE {
                    let messages = piece.messages.split_off(PIECE / 2);
                    let from = messages.front().map_or(message.key, |it| it.key);
                    self.pieces.insert(at_piece + 1, Piece { from, messages });
                }
                None
            }
        }
    }

    fn push(&mut self, message: PendingMessage) {
        self.len += 1;
        match self.pieces.back_mut() {
            Some(piece) if piece.messages.len() < PIECE => piece.messages.push_back(message),
            _ => {
                // A piece begins small: most queues have a few messages.
                let capacity = if self.pieces.is_empty() { 4 } else { PIECE };
                let mut messages = VecDeque::with_capacity(capacity);
                messages.push_back(message);
                let from = message.key;
                self.pieces.push_back(Piece { from, messages });
            }
        }
    }

    pub(crate) fn remove(&mut self, key: u64) -> Option<PendingMessage> {
        let at_piece = self.piece_of(key)?;
        let piece = self.pieces.get_mut(at_piece)?;
        let at = piece.find(key).ok()?;
        let removed = piece.messages.remove(at)?;
        self.len -= 1;
        if piece.messages.is_empty() {
            self.pieces.remove(at_piece);
        } else if piece.messages.len() * 4 < piece.messages.capacity() {
            piece.messages.shrink_to(piece.messages.len() * 2);
        }
        Some(removed)
    }

    /// The first message whose key is `from` or larger.
    pub(crate) fn first_from(&self, from: u64) -> Option<&PendingMessage> {
        self.iter_from(from).next()
    }

    /// The messages whose key is `from` or larger, in order.
    pub(crate) fn iter_from(&self, from: u64) -> impl Iterator<Item = &PendingMessage> {
        let at_piece = self.piece_of(from).unwrap_or(0);
        let pieces = self.pieces.range(at_piece..);
        let messages = pieces.flat_map(|it| &it.messages);
        messages.skip_while(move |it| it.key < from)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &PendingMessage> {
        self.pieces.iter().flat_map(|it| &it.messages)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn message(key: u64, size: u32) -> PendingMessage {
        PendingMessage {
            key,
            expires_at: 0,
            topic_hash: 0,
            place: RecordPlace::default(),
            size,
        }
    }

    #[test]
    fn a_message_takes_less_than_48_bytes() {
        let mut messages = PendingMessages::default();
        for key in 1..=1_000_000 {
            messages.insert(message(key, 0));
        }
        let taken: usize = (messages.pieces.iter())
            .map(|it| it.messages.capacity() * size_of::<PendingMessage>() + size_of_val(it))
            .sum();
        assert!(taken <= 48_000_000, "{taken}");
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(
            steps in prop::collection::vec((0..3_000_u64, any::<bool>(), any::<u32>()), 1..500),
            rising in 0..3_000_u64,
        ) {
            let mut messages = PendingMessages::default();
            let mut map = BTreeMap::new();
            for key in 0..rising {
                messages.insert(message(key, 0));
                map.insert(key, message(key, 0));
            }
            for (key, insert, size) in steps {
                if insert {
                    prop_assert_eq!(messages.insert(message(key, size)), map.insert(key, message(key, size)));
                } else {
                    prop_assert_eq!(messages.remove(key), map.remove(&key));
                }
                prop_assert_eq!(messages.get(key), map.get(&key));
                prop_assert_eq!(messages.len(), map.len());
                prop_assert_eq!(messages.first_from(key), map.range(key..).next().map(|(_, it)| it));
            }
            prop_assert!(messages.iter().eq(map.values()));
            prop_assert!(messages.iter_from(1_500).eq(map.range(1_500..).map(|(_, it)| it)));
        }
    }
}
