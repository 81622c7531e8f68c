//! The rules that a broker has, and how far each has come.

use std::sync::Arc;
use std::time::Instant;

use ferromqtt_proto::packet::{Packet, PacketId, PacketType, QoS};
use ferromqtt_proto::{TopicFilter, Utf8String, debug_fields};

use super::check::FaultError;
use super::plan::FaultPlan;
use super::rule::FaultRule;
use super::text::shown_rule;
use crate::journal::BrokerSide;
use crate::random::Random;

/// Names a rule of a [`Broker`](crate::Broker). Numbers count up and are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FaultId(pub u64);

/// All rules, in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct InstalledFaults {
    rules: Vec<InstalledFault>,
    added: u64,
}

struct InstalledFault {
    id: FaultId,
    rule: FaultRule,
    /// The text of the rule, for the journal.
    text: Arc<str>,
    plan: FaultPlan,
    filter: Option<TopicFilter>,
    begins: Instant,
    /// Its own numbers: what another rule draws does not change them.
    random: Random,
    /// Packets that matched.
    seen: u64,
    /// Packets that would have matched if the other side had sent them.
    seen_elsewhere: u64,
    fired: u64,
}

debug_fields!(InstalledFault {
    id,
    rule,
    text,
    plan: hidden,
    filter,
    begins,
    random,
    seen,
    seen_elsewhere,
    fired
});

/// A packet as rules see it.
pub(crate) struct PacketInView<'a> {
    pub(crate) side: BrokerSide,
    pub(crate) kind: Option<PacketType>,
    pub(crate) client: &'a Utf8String,
    pub(crate) topic: Option<&'a Utf8String>,
    /// What could be read; otherwise a rule for any packet alone matches it.
    pub(crate) packet: Option<&'a Packet>,
}

/// What a rule has decided about a packet.
#[derive(Clone)]
pub(crate) struct Judged {
    pub(crate) id: FaultId,
    pub(crate) text: Arc<str>,
    pub(crate) plan: FaultPlan,
}

impl PacketInView<'_> {
    fn packet_id(&self) -> Option<PacketId> {
        self.packet?.packet_id()
    }
}

impl InstalledFaults {
    pub(crate) fn add(
        &mut self,
        now: Instant,
        seed: u64,
        rule: FaultRule,
    ) -> Result<FaultId, FaultError> {
        let plan = rule.plan()?;
        self.added += 1;
        let id = FaultId(self.added);
        self.rules.push(InstalledFault {
            id,
            text: shown_rule(&rule).into(),
            filter: filter_of(&rule),
            plan,
            rule,
            begins: now,
            random: Random::new(seed ^ Random::new(id.0).next()),
            seen: 0,
            seen_elsewhere: 0,
            fired: 0,
        });
        Ok(id)
    }

    /// Puts another rule in the place of one that is there, with its counts.
    pub(crate) fn replace(&mut self, id: FaultId, rule: FaultRule) -> Result<bool, FaultError> {
        let plan = rule.plan()?;
        let Some(installed) = self.rules.iter_mut().find(|it| it.id == id) else {
            return Ok(false);
        };
        installed.text = shown_rule(&rule).into();
        installed.filter = filter_of(&rule);
        installed.plan = plan;
        installed.rule = rule;
        Ok(true)
    }

    pub(crate) fn remove(&mut self, id: FaultId) -> bool {
        let before = self.rules.len();
        self.rules.retain(|it| it.id != id);
        self.rules.len() < before
    }

    pub(crate) fn get(&self, id: FaultId) -> Option<(&FaultRule, u64)> {
        let installed = self.rules.iter().find(|it| it.id == id)?;
        Some((&installed.rule, installed.fired))
    }

    pub(crate) fn rules(&self) -> impl Iterator<Item = (FaultId, &FaultRule)> {
        self.rules.iter().map(|it| (it.id, &it.rule))
    }

    pub(crate) fn unused(&self) -> impl Iterator<Item = &FaultRule> {
        self.unused_rules().map(|it| &it.rule)
    }

    fn unused_rules(&self) -> impl Iterator<Item = &InstalledFault> {
        let unused = |it: &&InstalledFault| it.fired == 0 && it.rule.timing.is_expected();
        self.rules.iter().filter(unused)
    }

    /// The texts of the rules that never fired, each with what is known of why.
    pub(crate) fn explain_unused(&self) -> impl Iterator<Item = String> {
        self.unused_rules().map(|it| match it.why_unused() {
            Some(why) => format!("{}   ({why})", it.text),
            None => it.text.to_string(),
        })
    }

    /// Shows a packet to every rule; the first whose turn it is fires.
    pub(crate) fn judge(&mut self, now: Instant, packet: &PacketInView<'_>) -> Option<Judged> {
        let mut judged = None;
        for installed in &mut self.rules {
            if !installed.matches(now, packet) {
                continue;
            }
            if installed.rule.place.side != packet.side {
                installed.seen_elsewhere += 1;
            } else {
                installed.seen += 1;
                if judged.is_none() && installed.fires() {
                    judged = Some(Judged {
                        id: installed.id,
                        text: Arc::clone(&installed.text),
                        plan: installed.plan.clone(),
                    });
                }
            }
        }
        judged
    }
}

fn filter_of(rule: &FaultRule) -> Option<TopicFilter> {
    TopicFilter::new(rule.place.topic.as_deref()?).ok() // it was checked
}

impl InstalledFault {
    /// Whether a packet matches, whichever side sends it.
    fn matches(&self, now: Instant, packet: &PacketInView<'_>) -> bool {
        let place = &self.rule.place;
        (place.kind.is_none() || place.kind == packet.kind)
            && (place.client.as_ref()).is_none_or(|client| **packet.client == **client)
            && now.saturating_duration_since(self.begins) >= self.rule.timing.after
            && (self.filter.as_ref()).is_none_or(|filter| has_topic(packet, filter))
            && place.qos.is_none_or(|qos| qos_of(packet) == Some(qos))
            && (place.packet_id).is_none_or(|id| packet.packet_id().map(PacketId::get) == Some(id))
    }

    fn why_unused(&self) -> Option<String> {
        let (does, rule) = match self.rule.place.side {
            BrokerSide::Sends => ("received", "receives"),
            BrokerSide::Receives => ("sent", "sends"),
        };
        match (self.seen, self.seen_elsewhere) {
            (0, 0) => None,
            (0, 1) => Some(format!(
                "the broker {does} such a packet: was {rule} meant?"
            )),
            (0, count) => Some(format!(
                "the broker {does} {count} such packets: was {rule} meant?"
            )),
            (1, _) => Some("1 packet matched".to_owned()),
            (count, _) => Some(format!("{count} packets matched")),
        }
    }

    fn fires(&mut self) -> bool {
        let timing = &self.rule.timing;
        let is_left = timing.most().is_none_or(|most| self.fired < most.into());
        let is_turn = is_left && self.seen >= timing.nth.into();
        let fires =
            is_turn && (timing.probability >= 1.0 || self.random.fraction() < timing.probability);
        self.fired += u64::from(fires);
        fires
    }
}

fn has_topic(packet: &PacketInView<'_>, filter: &TopicFilter) -> bool {
    match packet.packet {
        Some(Packet::Publish(_)) => packet.topic.is_some_and(|topic| filter.matches(topic)),
        Some(Packet::Connect(connect)) => {
            (connect.will.as_ref()).is_some_and(|will| filter.matches(&will.topic))
        }
        Some(Packet::Subscribe(subscribe)) => {
            (subscribe.filters.iter()).any(|(it, _)| *it == **filter || filter.matches(it))
        }
        Some(Packet::Unsubscribe(unsubscribe)) => {
            (unsubscribe.filters.iter()).any(|it| *it == **filter || filter.matches(it))
        }
        _ => false,
    }
}

fn qos_of(packet: &PacketInView<'_>) -> Option<QoS> {
    match packet.packet? {
        Packet::Publish(publish) => Some(publish.qos),
        Packet::Subscribe(subscribe) => (subscribe.filters.iter())
            .map(|(_, options)| options.qos)
            .max(),
        _ => None,
    }
}
