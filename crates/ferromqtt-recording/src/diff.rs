//! What is different in two recordings.

use std::collections::HashMap;
use std::fmt::Write as _;

use ferromqtt_proto::shown::peer_text;

use crate::align::align;
use crate::entry::{RecordedEntry, RecordedEvent, RecordedPacket, shown};
use crate::format::Receiver;
use crate::json::JsonValue;
use crate::recording::{Recording, name_of};

/// Whether [`diff`] compares times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ComparedTimes {
    /// No. The default.
    #[default]
    Ignored,
    /// Those since the first line of the link, in milliseconds.
    Milliseconds,
}

/// What is different in two recordings; empty when nothing is.
///
/// Links belong together by their Client Identifier, in order; links that are left over, in order. On a link the packets of each
/// direction belong together by type and topic, and are compared field by field. What only the first recording has is marked
/// `-`, what only the second has `+`, and what is different `~`; numbers of lines are those of the files.
///
/// Not compared are times, unless `times` asks for it, the order of packets of different directions, which is a matter of
/// time too, and the numbers of Packet Identifiers and Subscription Identifiers: an acknowledgement has to answer the same packet,
/// and a message to belong to the same SUBSCRIBE. Where a recording has no payloads, their hashes are compared.
pub fn diff(first: &Recording, second: &Recording, times: ComparedTimes) -> String {
    let (a, b) = (Links::of(first), Links::of(second));
    let mut text = String::new();
    let pairs = a.pair(&b);
    let mut subscriptions = SubscriptionTranslation::default();
    for &(one, other) in &pairs {
        let differences = compare(&a.0[one], &b.0[other], times, &mut subscriptions);
        if !differences.is_empty() {
            let (one, other) = (a.0[one].name(), b.0[other].name());
            let _ = match one == other {
                true => writeln!(text, "{one}:"),
                false => writeln!(text, "{one}, in the second {other}:"),
            };
            for difference in differences {
                let _ = writeln!(text, "{difference}");
            }
        }
    }
    let alone =
        |text: &mut String, links: &Links<'_>, paired: &[usize], mark: &str, which: &str| {
            for (index, link) in links.0.iter().enumerate() {
                if !paired.contains(&index) {
                    let _ = writeln!(text, "{}: only in the {which}", link.name());
                    for entry in &link.entries {
                        let _ = writeln!(text, "  {mark} line {:<5} {entry}", entry.line);
                    }
                }
            }
        };
    let (firsts, seconds): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    alone(&mut text, &a, &firsts, "-", "first");
    alone(&mut text, &b, &seconds, "+", "second");
    text
}

/// The links of a recording, in order.
struct Links<'a>(Vec<ComparedLink<'a>>);

/// One link of a recording.
struct ComparedLink<'a> {
    number: u64,
    client: Option<&'a str>,
    entries: Vec<&'a RecordedEntry>,
}

impl<'a> Links<'a> {
    fn of(recording: &'a Recording) -> Self {
        let mut links: Vec<ComparedLink<'a>> = Vec::new();
        let mut places = HashMap::new();
        for entry in recording.entries() {
            let place = *places.entry(entry.link).or_insert(links.len());
            if place == links.len() {
                links.push(ComparedLink {
                    number: entry.link,
                    client: None,
                    entries: Vec::new(),
                });
            }
            let link = &mut links[place];
            link.client = link.client.or(entry.client.as_deref());
            link.entries.push(entry);
        }
        Self(links)
    }

    /// Which links belong together, in the order of the first recording.
    fn pair(&self, other: &Self) -> Vec<(usize, usize)> {
        let mut free: Vec<_> = (0..other.0.len()).collect();
        let mut pairs = Vec::new();
        let mut left = Vec::new();
        for (index, link) in self.0.iter().enumerate() {
            match free
                .iter()
                .position(|&it| other.0[it].client == link.client)
            {
                Some(place) => pairs.push((index, free.remove(place))),
                None => left.push(index),
            }
        }
        pairs.extend(left.into_iter().zip(free));
        pairs.sort_unstable();
        pairs
    }
}

impl ComparedLink<'_> {
    fn name(&self) -> String {
        name_of(self.number, self.client)
    }

    /// The entries that go in the same direction, and those that are no packets.
    fn stream(&self, to: Option<Receiver>) -> Vec<usize> {
        let goes = |entry: &RecordedEntry| match &entry.event {
            RecordedEvent::Packet(packet) => Some(packet.to),
            _ => None,
        };
        (0..self.entries.len())
            .filter(|&index| goes(self.entries[index]) == to)
            .collect()
    }

    /// Of each entry, the one that it answers: the packet of the other side that its Packet Identifier stands for. A PUBREL
    /// belongs to its own side's PUBLISH.
    fn answered(&self) -> Vec<Option<usize>> {
        let mut begun = HashMap::new();
        let answered = |(index, entry): (usize, &&RecordedEntry)| {
            let RecordedEvent::Packet(packet) = &entry.event else {
                return None;
            };
            let packet_id = packet.packet_id()?;
            let begins = ["PUBLISH", "SUBSCRIBE", "UNSUBSCRIBE"].contains(&&*packet.name);
            let own = begins || packet.name == "PUBREL";
            let side = match own {
                true => packet.to,
                false if packet.to == Receiver::Server => Receiver::Client,
                false => Receiver::Server,
            };
            if begins {
                begun.insert((side, packet_id), index);
                return None;
            }
            begun.get(&(side, packet_id)).copied()
        };
        self.entries.iter().enumerate().map(answered).collect()
    }
}

/// What is different on one link, a line or more each.
fn compare(
    a: &ComparedLink<'_>,
    b: &ComparedLink<'_>,
    times: ComparedTimes,
    subscriptions: &mut SubscriptionTranslation,
) -> Vec<String> {
    let mut partners = HashMap::new();
    for to in [None, Some(Receiver::Server), Some(Receiver::Client)] {
        let (stream_a, stream_b) = (a.stream(to), b.stream(to));
        let keys = |link: &ComparedLink<'_>, stream: &[usize]| -> Vec<String> {
            stream
                .iter()
                .map(|&index| key(link.entries[index]))
                .collect()
        };
        let (keys_a, keys_b) = (keys(a, &stream_a), keys(b, &stream_b));
        let same_kind = |one: usize, other: usize| {
            kind(a.entries[stream_a[one]]) == kind(b.entries[stream_b[other]])
        };
        let pairs = align(&keys_a, &keys_b, same_kind);
        partners.extend((pairs.into_iter()).map(|(one, other)| (stream_a[one], stream_b[other])));
    }
    let (answered_a, answered_b) = (a.answered(), b.answered());
    let same_answer = |one: usize, other: usize| match (answered_a[one], answered_b[other]) {
        (None, None) => true,
        (Some(one), Some(other)) => partners.get(&one) == Some(&other),
        _ => false,
    };
    let mut found = Vec::new();
    for (index, entry) in a.entries.iter().enumerate() {
        let Some(&other) = partners.get(&index) else {
            found.push((entry.line, format!("  - line {:<5} {entry}", entry.line)));
            continue;
        };
        let counterpart = b.entries[other];
        let entry = &subscriptions.translated(a.client, entry, counterpart);
        let mut fields = different_fields(entry, counterpart, same_answer(index, other));
        if times == ComparedTimes::Milliseconds {
            let since = |link: &ComparedLink<'_>, entry: &RecordedEntry| {
                (entry.at.saturating_sub(link.entries[0].at)).as_millis()
            };
            let (one, two) = (since(a, entry), since(b, counterpart));
            if one != two {
                fields.push(format!("time: {one} ms, in the second {two} ms"));
            }
        }
        if !fields.is_empty() {
            let mut text = format!(
                "  ~ line {} and {}  {}",
                entry.line,
                counterpart.line,
                head(entry)
            );
            for field in fields {
                let _ = write!(text, "\n      {field}");
            }
            found.push((entry.line, text));
        }
    }
    let backward: HashMap<_, _> = partners.iter().map(|(&one, &other)| (other, one)).collect();
    let mut place = 0;
    for (index, entry) in b.entries.iter().enumerate() {
        match backward.get(&index) {
            Some(&one) => place = place.max(a.entries[one].line),
            None => found.push((place, format!("  + line {:<5} {entry}", entry.line))),
        }
    }
    found.sort_by_key(|&(line, _)| line); // keeps the order of what has the same place
    found.into_iter().map(|(_, text)| text).collect()
}

/// The Subscription Identifiers of the second recording, by the client and those of the first. Clients draw them at random.
#[derive(Default)]
struct SubscriptionTranslation(HashMap<(String, JsonValue), JsonValue>);

impl SubscriptionTranslation {
    /// `entry` with the identifiers that the second recording has for the same subscriptions. A SUBSCRIBE says which those are.
    fn translated(
        &mut self,
        client: Option<&str>,
        entry: &RecordedEntry,
        counterpart: &RecordedEntry,
    ) -> RecordedEntry {
        let mut entry = entry.clone();
        let client = client.unwrap_or_default();
        let (RecordedEvent::Packet(one), RecordedEvent::Packet(two)) =
            (&mut entry.event, &counterpart.event)
        else {
            return entry;
        };
        let others = two.field("properties").and_then(|it| it.get(IDENTIFIERS));
        let Some(JsonValue::List(identifiers)) = identifiers_of(one) else {
            return entry;
        };
        if two.name == "SUBSCRIBE"
            && let ([identifier], Some(JsonValue::List(others))) = (&identifiers[..], others)
            && let [other] = &others[..]
        {
            let key = (client.to_owned(), identifier.clone());
            self.0.insert(key, other.clone());
        }
        for identifier in identifiers {
            let key = (client.to_owned(), identifier.clone());
            if let Some(other) = self.0.get(&key) {
                *identifier = other.clone();
            }
        }
        entry
    }
}

const IDENTIFIERS: &str = "subscription_identifiers";

fn identifiers_of(packet: &mut RecordedPacket) -> Option<&mut JsonValue> {
    let (_, properties) = packet
        .fields
        .iter_mut()
        .find(|(name, _)| name == "properties")?;
    let JsonValue::Object(members) = properties else {
        return None;
    };
    let found = members.iter_mut().find(|(name, _)| name == IDENTIFIERS);
    found.map(|(_, value)| value)
}

fn key(entry: &RecordedEntry) -> String {
    match &entry.event {
        RecordedEvent::Packet(packet) => packet.key(),
        RecordedEvent::Opened | RecordedEvent::Closed(_) => entry.to_string(),
    }
}

fn kind(entry: &RecordedEntry) -> &str {
    match &entry.event {
        RecordedEvent::Packet(packet) => &packet.name,
        RecordedEvent::Opened => "opened",
        RecordedEvent::Closed(_) => "closed",
    }
}

/// An entry without what is told field by field.
fn head(entry: &RecordedEntry) -> String {
    let RecordedEvent::Packet(packet) = &entry.event else {
        return entry.to_string();
    };
    let mut packet = packet.clone();
    packet
        .fields
        .retain(|(name, _)| name == "topic" || name == "packet_id");
    packet.to_string()
}

fn different_fields(one: &RecordedEntry, two: &RecordedEntry, same_answer: bool) -> Vec<String> {
    let (RecordedEvent::Packet(a), RecordedEvent::Packet(b)) = (&one.event, &two.event) else {
        let (one, two) = (one.to_string(), two.to_string());
        return match one == two {
            true => Vec::new(),
            false => vec![format!("{one}, in the second {two}")],
        };
    };
    let mut found = Vec::new();
    if !same_answer {
        let id = |packet: &RecordedPacket| packet.packet_id().unwrap_or_default();
        let (one, two) = (id(a), id(b));
        found.push(format!(
            "packet_id: {one} and in the second {two} do not answer the same packet"
        ));
    }
    compare_members("", &a.fields, &b.fields, &mut found);
    found
}

/// Compares two objects, member by member.
fn compare_members(
    prefix: &str,
    a: &[(String, JsonValue)],
    b: &[(String, JsonValue)],
    found: &mut Vec<String>,
) {
    let of = |members: &[(String, JsonValue)], name: &str| {
        (members.iter().find(|(it, _)| it == name)).map(|(_, value)| value.clone())
    };
    let names = (a.iter()).chain(b.iter().filter(|(name, _)| of(a, name).is_none()));
    for (name, _) in names {
        if name == "packet_id" {
            continue;
        }
        let path = format!("{prefix}{}", peer_text(name, &[]));
        match (of(a, name), of(b, name)) {
            (Some(one), Some(two)) if is_same(&one, &two) => {}
            (Some(JsonValue::Object(one)), Some(JsonValue::Object(two)))
                if !one.iter().any(|(name, _)| name == "hash") =>
            {
                compare_members(&format!("{path}."), &one, &two, found);
            }
            (one, two) => {
                let text = |value: Option<JsonValue>| {
                    value.as_ref().map_or_else(|| "none".to_owned(), shown)
                };
                found.push(format!(
                    "{path}: {}, in the second {}",
                    text(one),
                    text(two)
                ));
            }
        }
    }
}

/// Whether two values are the same, as far as both recordings have them.
fn is_same(one: &JsonValue, two: &JsonValue) -> bool {
    match (one.get("hash"), two.get("hash")) {
        (Some(hash), Some(other)) => {
            hash == other
                && one.get("length") == two.get("length")
                && one.get("count") == two.get("count")
        }
        _ => one == two,
    }
}
