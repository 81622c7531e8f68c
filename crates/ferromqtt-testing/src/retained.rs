//! Retained messages (section 3.3.1.3).

use std::collections::BTreeMap;
use std::iter;
use std::ops::Bound;
use std::sync::Arc;

use ferromqtt_proto::TopicFilter;

use crate::memory::{self, Meter};
use crate::message::{Kept, Message};
use crate::options::BrokerOptions;

/// The last message of each topic that was published with RETAIN.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    by_topic: BTreeMap<Key, Arc<Kept>>,
    meter: Meter,
}

/// A topic with U+0000, which no topic holds, for each slash: so everything below a level stands right behind it.
type Key = Box<[u8]>;

const SLASH: u8 = 0;

fn key(topic: &str) -> Key {
    topic.bytes().map(to_key).collect()
}

const fn to_key(byte: u8) -> u8 {
    match byte {
        b'/' => SLASH,
        byte => byte,
    }
}

impl Retained {
    /// Whether [`Retained::store`] keeps a message, or forgets its topic.
    pub(crate) fn has_room_for(&self, message: &Message, options: &BrokerOptions) -> bool {
        if message.payload.is_empty() {
            return true;
        }
        let old = self.by_topic.get(&key(&message.topic));
        if old.is_none() && self.by_topic.len() >= options.maximum_retained_messages {
            return false;
        }
        let around = memory::retained_entry_size(message.topic.len());
        let freed = old.map_or(0, |old| old.size + around);
        let more = (message.memory_size() + around).saturating_sub(freed);
        self.meter.has_room(more, options.maximum_retained_bytes)
    }

    /// Keeps a message, or forgets its topic when the payload is empty (MQTT-3.3.1-5, MQTT-3.3.1-6). `false` when there is
    /// no room for it.
    pub(crate) fn store(&mut self, message: &Message, options: &BrokerOptions) -> bool {
        if !self.has_room_for(message, options) {
            return false;
        }
        let key = key(&message.topic);
        if message.payload.is_empty() {
            self.by_topic.remove(&key);
        } else {
            let around = memory::retained_entry_size(message.topic.len());
            let kept = Kept::new(message, around, &self.meter);
            self.by_topic.insert(key, kept);
        }
        true
    }

    /// The messages whose topics match `filter`, in the order of the topics' levels.
    ///
    /// Topics that do not match are leapt over: the cost is that of those that match, and of the different levels that stand
    /// where the filter has a `+`.
    pub(crate) fn matching<'a>(
        &'a self,
        filter: &'a TopicFilter,
    ) -> impl Iterator<Item = &'a Arc<Kept>> {
        let mut rest = self.by_topic.range::<[u8], _>(..);
        iter::from_fn(move || {
            loop {
                let (key, kept) = rest.next()?;
                match compare(filter, key) {
                    Place::Matches => return Some(kept),
                    Place::Before(next) => {
                        let from = (Bound::Included(&next[..]), Bound::Unbounded);
                        rest = self.by_topic.range::<[u8], _>(from);
                    }
                    Place::BehindAll => return None,
                }
            }
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.by_topic.len()
    }

    /// Bytes of those that are retained, and of those replaced that are still on their way to a new subscription.
    pub(crate) fn bytes(&self) -> usize {
        self.meter.held()
    }
}

/// Where a topic stands, seen from a filter.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Matches,
    /// No topic from here to this key matches.
    Before(Vec<u8>),
    /// Neither this topic nor any behind it matches.
    BehindAll,
}

fn compare(filter: &TopicFilter, key: &[u8]) -> Place {
    // Wildcards at the front do not match topics that begin with $ (MQTT-4.7.2-1).
    if key.starts_with(b"$") && filter.starts_with(['+', '#']) {
        return Place::Before(vec![b'$' + 1]);
    }
    let mut next_level = Some(0);
    let (mut end, mut end_of_last_plus) = (0, None);
    for level in filter.split('/') {
        if level == "#" {
            return Place::Matches; // the level above as well
        }
        let Some(start) = next_level else {
            let deeper: &[u8] = if level == "+" { b"" } else { level.as_bytes() };
            return Place::Before([key, &[SLASH], deeper].concat());
        };
        let length = key[start..].iter().position(|&byte| byte == SLASH);
        end = length.map_or(key.len(), |length| start + length);
        next_level = length.map(|_| end + 1);
        if level == "+" {
            end_of_last_plus = Some(end);
            continue;
        }
        let wanted = level.as_bytes();
        if wanted > &key[start..end] {
            return Place::Before([&key[..start], wanted].concat());
        }
        if wanted < &key[start..end] {
            return match end_of_last_plus {
                Some(end) => behind(&key[..end]),
                None => Place::BehindAll,
            };
        }
    }
    match next_level {
        None => Place::Matches,
        Some(_) => behind(&key[..end]),
    }
}

/// Behind a topic and all below it.
fn behind(key: &[u8]) -> Place {
    Place::Before([key, &[SLASH + 1]].concat())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Instant;

    use bytes::Bytes;
    use ferromqtt_proto::Utf8String;
    use ferromqtt_proto::packet::QoS;

    use super::*;
    use crate::session::SessionId;

    /// Topics of up to three levels; some hold characters that sort before and behind the slash.
    fn topics() -> Vec<String> {
        let levels = ["", "a", "a\u{1}", "a!", "a0", "b", "$a", "\u{e9}"];
        let mut topics = Vec::new();
        for first in levels {
            topics.push(first.to_owned());
            for second in levels {
                topics.push(format!("{first}/{second}"));
                topics.extend(levels.map(|third| format!("{first}/{second}/{third}")));
            }
        }
        topics.retain(|topic| !topic.is_empty());
        topics
    }

    fn retained(topics: &[String]) -> Retained {
        let mut retained = Retained::default();
        for topic in topics {
            let message = Message {
                topic: Utf8String::try_from(topic.as_str()).unwrap(),
                payload: Bytes::from_static(b"x"),
                qos: QoS::AtMostOnce,
                retain: true,
                properties: None,
                publisher: SessionId(1),
                received: Instant::now(),
            };
            assert!(retained.store(&message, &BrokerOptions::default()));
        }
        retained
    }

    #[test]
    fn a_filter_finds_the_topics_that_it_matches_and_no_others_mqtt_4_7() {
        let topics = topics();
        let retained = retained(&topics);
        assert_eq!(retained.len(), topics.len());
        let levels = ["", "a", "a!", "b", "+", "$a", "none", "\u{e9}"];
        let mut filters: Vec<String> = vec!["#".to_owned(), "+".to_owned(), "a".to_owned()];
        for first in levels {
            filters.push(format!("{first}/#"));
            for second in levels {
                filters.push(format!("{first}/{second}"));
                filters.push(format!("{first}/{second}/#"));
                filters.extend(levels.map(|third| format!("{first}/{second}/{third}")));
                filters.push(format!("{first}/{second}/+/+"));
            }
        }
        for filter in filters {
            let filter = TopicFilter::new(filter).unwrap();
            let found: Vec<_> = retained.matching(&filter).collect();
            let names: BTreeSet<_> = found.iter().map(|it| it.topic.as_str()).collect();
            let expected: BTreeSet<_> = (topics.iter().map(String::as_str))
                .filter(|topic| filter.matches(topic))
                .collect();
            assert_eq!(names, expected, "{filter:?}");
            assert_eq!(found.len(), names.len(), "{filter:?}");
        }
    }

    #[test]
    fn topics_that_do_not_match_are_leapt_over() {
        let topics: Vec<String> = (0..1000)
            .map(|number| format!("group {}/device {number}/state", number % 4))
            .collect();
        let retained = retained(&topics);
        let filter = TopicFilter::new("+/device 7/state").unwrap();
        let (mut steps, mut from, mut found) = (0, Vec::new(), 0);
        loop {
            let bounds = (Bound::Included(&from[..]), Bound::Unbounded);
            let Some((key, _)) = retained.by_topic.range::<[u8], _>(bounds).next() else {
                break;
            };
            steps += 1;
            from = match compare(&filter, key) {
                Place::BehindAll => break,
                Place::Before(next) => next,
                Place::Matches => {
                    found += 1;
                    [&key[..], &[SLASH]].concat()
                }
            };
        }
        assert_eq!(found, 1);
        assert!(steps <= 4 * 3, "{steps} steps through four groups");
    }

    #[test]
    fn replaced_and_forgotten_messages_are_counted_no_more() {
        let mut retained = retained(&topics());
        let before = retained.bytes();
        assert!(before > 0);
        let again: Vec<Message> = (retained.by_topic.values())
            .map(|kept| Message::clone(kept))
            .collect();
        for message in &again {
            assert!(retained.store(message, &BrokerOptions::default()));
        }
        assert_eq!(retained.bytes(), before);
        for mut message in again {
            message.payload = Bytes::new();
            assert!(retained.store(&message, &BrokerOptions::default()));
        }
        assert_eq!((retained.bytes(), retained.len()), (0, 0));
    }
}
