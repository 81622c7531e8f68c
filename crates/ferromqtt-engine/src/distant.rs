//! The messages of the outgoing queue whose contents are in a store alone: 12 bytes each, and little beside them.
//!
//! They lie in pieces in the order of their keys, as in the store's own index. A time is kept in tenths of a second, rounded up,
//! and each piece knows when the first of its messages expires at the earliest.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use ferromqtt_proto::TopicName;

/// How many messages a piece has at most.
const PIECE: usize = 512;

const TICK_MILLISECONDS: u128 = 100;

/// A message that does not expire.
const NEVER: i32 = i32::MAX;

/// A message that is no longer distant.
pub(crate) struct SetAside<C> {
    pub(crate) size: usize,
    pub(crate) expires_at: Option<Instant>,
    pub(crate) extra: SetAsideExtra<C>,
}

/// What few messages have.
pub(crate) struct SetAsideExtra<C> {
    /// Waits for the outcome.
    pub(crate) token: Option<C>,
    /// Its topic, if a newer message to that takes its place.
    pub(crate) latest_of: Option<TopicName>,
}

impl<C> SetAsideExtra<C> {
    const NONE: Self = Self {
        token: None,
        latest_of: None,
    };

    const fn is_none(&self) -> bool {
        self.token.is_none() && self.latest_of.is_none()
    }
}

#[derive(Clone, Copy)]
struct SetAsideEntry {
    /// Its key is so much larger than the first one that its piece was made for.
    behind: u32,
    size: u32,
    /// In ticks from the base.
    expires: i32,
}

struct DistantPiece {
    from: u64,
    /// None of its messages expires earlier.
    due: i32,
    entries: VecDeque<SetAsideEntry>,
}

impl DistantPiece {
    fn find(&self, key: u64) -> Option<usize> {
        let behind = u32::try_from(key.checked_sub(self.from)?).ok()?;
        (self.entries.binary_search_by_key(&behind, |it| it.behind)).ok()
    }

    fn key(&self, entry: SetAsideEntry) -> u64 {
        self.from + u64::from(entry.behind)
    }

    fn iter(&self) -> impl Iterator<Item = (u64, SetAsideEntry)> {
        (self.entries.iter()).map(|&entry| (self.key(entry), entry))
    }
}

pub(crate) struct DistantMessages<C> {
    /// None is empty.
    pieces: VecDeque<DistantPiece>,
    len: usize,
    /// No message expires earlier.
    due: i32,
    /// From where times are counted.
    base: Option<Instant>,
    extras: BTreeMap<u64, SetAsideExtra<C>>,
}

impl<C> Default for DistantMessages<C> {
    fn default() -> Self {
        Self {
            pieces: VecDeque::new(),
            len: 0,
            due: NEVER,
            base: None,
            extras: BTreeMap::new(),
        }
    }
}

impl<C> DistantMessages<C> {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A number above the keys of all of them, or 0.
    pub(crate) fn end(&self) -> u64 {
        let last = (self.pieces.back()).and_then(|it| Some(it.key(*it.entries.back()?)));
        last.map_or(0, |key| key.saturating_add(1))
    }

    /// Appends a message, whose key is larger than those before. It is not kept exactly when it expires, but at most a tenth of a
    /// second later; after more than six years, not at all.
    pub(crate) fn push(&mut self, key: u64, message: SetAside<C>) {
        let expires = self.ticks(message.expires_at);
        self.due = self.due.min(expires);
        self.len += 1;
        if !message.extra.is_none() {
            self.extras.insert(key, message.extra);
        }
        let size = u32::try_from(message.size).unwrap_or(u32::MAX);
        let entry = |behind| SetAsideEntry {
            behind,
            size,
            expires,
        };
        if let Some(last) = self.pieces.back_mut()
            && last.entries.len() < PIECE
            && let Ok(behind) = u32::try_from(key.saturating_sub(last.from))
        {
            last.due = last.due.min(expires);
            return last.entries.push_back(entry(behind));
        }
        let mut entries = VecDeque::with_capacity(if self.pieces.is_empty() { 4 } else { PIECE });
        entries.push_back(entry(0));
        self.pieces.push_back(DistantPiece {
            from: key,
            due: expires,
            entries,
        });
    }

    fn piece_of(&self, key: u64) -> Option<usize> {
        let behind = self.pieces.partition_point(|it| it.from <= key);
        behind.checked_sub(1)
    }

    fn get(&self, key: u64) -> Option<SetAsideEntry> {
        let piece = self.pieces.get(self.piece_of(key)?)?;
        piece.entries.get(piece.find(key)?).copied()
    }

    pub(crate) fn contains(&self, key: u64) -> bool {
        self.get(key).is_some()
    }

    /// What a message counts, in bytes.
    pub(crate) fn size(&self, key: u64) -> Option<usize> {
        Some(self.get(key)?.size as usize)
    }

    pub(crate) fn remove(&mut self, key: u64) -> Option<SetAside<C>> {
        let at_piece = self.piece_of(key)?;
        let piece = self.pieces.get_mut(at_piece)?;
        let at = piece.find(key)?;
        let entry = piece.entries.remove(at)?;
        self.len -= 1;
        if piece.entries.is_empty() {
            self.pieces.remove(at_piece);
        } else if piece.entries.len() * 4 < piece.entries.capacity() {
            piece.entries.shrink_to(piece.entries.len() * 2);
        }
        if self.len == 0 {
            self.due = NEVER;
        }
        Some(SetAside {
            size: entry.size as usize,
            expires_at: self.instant(entry.expires),
            extra: self.extras.remove(&key).unwrap_or(SetAsideExtra::NONE),
        })
    }

    /// All of them in order, with their sizes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, usize)> {
        let entries = self.pieces.iter().flat_map(DistantPiece::iter);
        entries.map(|(key, entry)| (key, entry.size as usize))
    }

    /// Those of which only the latest to their topic is kept.
    pub(crate) fn latest(&self) -> impl Iterator<Item = (u64, &TopicName)> {
        (self.extras.iter()).filter_map(|(&key, extra)| Some((key, extra.latest_of.as_ref()?)))
    }

    pub(crate) fn token(&self, key: u64) -> Option<&C> {
        self.extras.get(&key)?.token.as_ref()
    }

    /// All tokens, with the keys of their messages.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = (u64, &C)> {
        (self.extras.iter()).filter_map(|(&key, extra)| Some((key, extra.token.as_ref()?)))
    }

    pub(crate) fn take_token(&mut self, key: u64) -> Option<C> {
        let extra = self.extras.get_mut(&key)?;
        let token = extra.token.take();
        if extra.is_none() {
            self.extras.remove(&key);
        }
        token
    }

    /// When the next of them expires at the earliest.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.instant(self.due)
    }

    /// The keys of those that have expired.
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<u64> {
        let mut expired = Vec::new();
        if self.next_expiry().is_none_or(|due| now < due) {
            return expired;
        }
        let now = self.ticks_before(now);
        self.due = NEVER;
        for piece in &mut self.pieces {
            if piece.due <= now {
                let of_piece = (piece.iter()).filter(|(_, it)| it.expires <= now);
                expired.extend(of_piece.map(|(key, _)| key));
                let later = (piece.entries.iter()).filter(|it| it.expires > now);
                piece.due = later.map(|it| it.expires).min().unwrap_or(NEVER);
            }
            self.due = self.due.min(piece.due);
        }
        expired
    }

    fn ticks(&mut self, expires_at: Option<Instant>) -> i32 {
        let Some(end) = expires_at else {
            return NEVER;
        };
        let base = *self.base.get_or_insert(end);
        match end.checked_duration_since(base) {
            Some(after) => {
                i32::try_from(after.as_millis().div_ceil(TICK_MILLISECONDS)).unwrap_or(NEVER)
            }
            None => -whole_ticks(base.saturating_duration_since(end)),
        }
    }

    /// The whole ticks until then.
    fn ticks_before(&self, now: Instant) -> i32 {
        let Some(base) = self.base else {
            return 0;
        };
        match now.checked_duration_since(base) {
            Some(after) => whole_ticks(after),
            None => {
                let before = base.saturating_duration_since(now).as_millis();
                let ticks = i32::try_from(before.div_ceil(TICK_MILLISECONDS));
                -ticks.unwrap_or(NEVER)
            }
        }
    }

    fn instant(&self, ticks: i32) -> Option<Instant> {
        let base = self.base.filter(|_| ticks != NEVER)?;
        let distance = Duration::from_millis(u64::from(ticks.unsigned_abs()) * 100);
        match ticks < 0 {
            true => base.checked_sub(distance),
            false => base.checked_add(distance),
        }
    }
}

fn whole_ticks(time: Duration) -> i32 {
    i32::try_from(time.as_millis() / TICK_MILLISECONDS).unwrap_or(NEVER - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(size: usize, expires_at: Option<Instant>) -> SetAside<u64> {
        SetAside {
            size,
            expires_at,
            extra: SetAsideExtra::NONE,
        }
    }

    #[test]
    fn a_message_takes_13_bytes() {
        let mut distant = DistantMessages::default();
        let end = Instant::now();
        for key in 1..=1_000_000 {
            distant.push(key, message(200, Some(end)));
        }
        let taken: usize = (distant.pieces.iter())
            .map(|it| it.entries.capacity() * size_of::<SetAsideEntry>() + size_of_val(it))
            .sum();
        assert!(taken <= 13_000_000, "{taken}");
        assert!(distant.extras.is_empty());
    }

    #[test]
    fn it_gives_back_what_was_set_aside_and_says_what_has_expired() {
        let mut random = 1_u64;
        let mut number = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % below
        };
        let tick = Duration::from_millis(100);
        let begun = Instant::now() + Duration::from_secs(100);
        let mut now = begun - Duration::from_secs(2);
        let mut distant = DistantMessages::default();
        let mut map: BTreeMap<u64, (usize, Option<Instant>)> = BTreeMap::new();
        let mut key = 0;
        for step in 0..20_000 {
            match number(4) {
                // As many enter as leave, in stretches: it is empty now and then.
                0..=2 if number(5) > step / 1_000 % 5 => {
                    key += match number(1_000) {
                        0 => 1 << 33, // too far for the piece of those before
                        _ => 1 + number(2),
                    };
                    let size = number(100) as usize;
                    let time = (number(3) > 0).then(|| Duration::from_millis(number(50_000)));
                    let end = time.map(|time| begun + time);
                    let mut aside = message(size, end);
                    aside.extra.token = key.is_multiple_of(5).then_some(key);
                    distant.push(key, aside);
                    map.insert(key, (size, end));
                }
                0..=2 => {
                    let some = map.keys().nth(number(1 + map.len() as u64) as usize);
                    let some = some.copied().unwrap_or(key + 1);
                    let (removed, expected) = (distant.remove(some), map.remove(&some));
                    assert!(!distant.contains(some));
                    assert_eq!(removed.is_some(), expected.is_some());
                    let (Some(removed), Some((size, end))) = (removed, expected) else {
                        continue;
                    };
                    assert_eq!(removed.size, size);
                    assert_eq!(removed.extra.token, some.is_multiple_of(5).then_some(some));
                    assert_eq!(removed.expires_at.is_some(), end.is_some());
                    let late = removed.expires_at.zip(end);
                    assert!(late.is_none_or(|(kept, end)| kept >= end && kept <= end + tick));
                }
                _ => {
                    now += Duration::from_millis(number(200));
                    let first = map.values().filter_map(|(_, end)| *end).min();
                    assert!(first.is_none_or(|it| distant.next_expiry().unwrap() <= it + tick));
                    for expired in distant.expired(now) {
                        distant.remove(expired).unwrap();
                        let (_, end) = map.remove(&expired).unwrap();
                        assert!(end.unwrap() <= now);
                    }
                    let late = |(_, end): &(usize, Option<Instant>)| {
                        end.is_some_and(|end| end + tick <= now)
                    };
                    assert!(!map.values().any(late));
                    assert!(distant.next_expiry().is_none_or(|next| next > now));
                }
            }
            assert_eq!(distant.len(), map.len());
            assert_eq!(
                distant.end(),
                map.last_key_value().map_or(0, |(&last, _)| last + 1)
            );
        }
        assert!(
            distant
                .iter()
                .eq(map.iter().map(|(&key, &(size, _))| (key, size)))
        );
    }
}
