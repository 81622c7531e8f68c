//! The journal as a sequence chart.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::time::Instant;

use ferromqtt_proto::Utf8String;
use ferromqtt_proto::packet::PacketType;
use ferromqtt_proto::shown::peer_text;

use super::BrokerJournal;
use super::records::{BrokerSide, JournalEvent, JournalLink, JournalPacket};
use crate::connection::ConnectionId;

/// Width of the column between client and broker.
const WIDTH: usize = 60;

pub(super) fn draw(journal: &BrokerJournal, most: usize) -> String {
    let Some(start) = journal.began() else {
        return "(no packets)\n".to_owned();
    };
    let rows = rows(&journal.events().collect::<Vec<_>>());
    let skipped = rows.len().saturating_sub(most);
    let shown = &rows[skipped..];
    let name_width = (shown.iter())
        .map(|row| name(row.first).chars().count())
        .fold("client".len(), usize::max)
        .min(24);
    let mut chart = String::new();
    let left_out = skipped as u64 + journal.events.dropped;
    if left_out > 0 {
        let _ = writeln!(chart, "({left_out} earlier lines are left out)");
    }
    let _ = writeln!(
        chart,
        "{:>12}  {:<name_width$}  {:<WIDTH$}  broker",
        "time", "client", ""
    );
    let time_of = |at: Instant| {
        let time = at.saturating_duration_since(start);
        format!("+{:.3} s", time.as_secs_f64())
    };
    for row in shown {
        let time = time_of(row.first.at());
        let (middle, note) = match &row.pings {
            Some(pings) => (pings.text(&time_of(pings.latest)), None),
            None => line(row.first),
        };
        let name = name(row.first);
        let line = format!("{time:>12}  {name:<name_width$}  {middle}");
        let _ = match note {
            Some(note) => writeln!(chart, "{line}  ! {note}"),
            None => writeln!(chart, "{}", line.trim_end()),
        };
    }
    chart
}

/// A line of a chart: an event, or a run of pings that begins with it.
struct ChartRow<'a> {
    first: &'a JournalEvent,
    pings: Option<PingRun>,
}

/// PINGREQ and PINGRESP of a link between which no link had anything else.
#[derive(Clone, Copy)]
struct PingRun {
    requests: usize,
    responses: usize,
    latest: Instant,
}

impl PingRun {
    fn text(&self, until: &str) -> String {
        let (requests, responses) = (self.requests, self.responses);
        match requests == responses {
            true => format!("-- PINGREQ, PINGRESP x{requests}, until {until} --"),
            false => format!("-- PINGREQ x{requests}, PINGRESP x{responses}, until {until} --"),
        }
    }
}

/// The lines of a chart. Pings that come again and again would push out what matters: those of a link are one line.
fn rows<'a>(events: &[&'a JournalEvent]) -> Vec<ChartRow<'a>> {
    let mut rows = Vec::new();
    for stretch in events.chunk_by(|one, next| ping(one).is_some() == ping(next).is_some()) {
        let mut runs: HashMap<ConnectionId, PingRun> = HashMap::new();
        for packet in stretch.iter().copied().filter_map(ping) {
            let run = runs.entry(packet.link).or_insert(PingRun {
                requests: 0,
                responses: 0,
                latest: packet.at,
            });
            match packet.side {
                BrokerSide::Receives => run.requests += 1,
                BrokerSide::Sends => run.responses += 1,
            }
            run.latest = packet.at;
        }
        runs.retain(|_, run| run.requests + run.responses > 2); // one exchange is shown as it is
        let mut begun = HashSet::new();
        for &first in stretch {
            let run = ping(first).and_then(|packet| Some((packet.link, runs.get(&packet.link)?)));
            let pings = match run {
                Some((link, run)) if begun.insert(link) => Some(*run),
                Some(_) => continue, // it is in the line of the first
                None => None,
            };
            rows.push(ChartRow { first, pings });
        }
    }
    rows
}

/// A PINGREQ or PINGRESP that nothing befell.
fn ping(event: &JournalEvent) -> Option<&JournalPacket> {
    let JournalEvent::Packet(packet) = event else {
        return None;
    };
    let is_ping = matches!(
        packet.kind,
        Some(PacketType::PingReq | PacketType::PingResp)
    );
    (is_ping && packet.passed && packet.arrived && packet.fault.is_none()).then_some(packet)
}

fn name(event: &JournalEvent) -> String {
    let (client, link) = match event {
        JournalEvent::Packet(JournalPacket { client, link, .. })
        | JournalEvent::Link(JournalLink { client, link, .. }) => (client, link),
    };
    shown_client(client, *link)
}

/// The Client Identifier, or the number of the link of a client that has not named itself.
pub(crate) fn shown_client(client: &Utf8String, link: ConnectionId) -> String {
    match client.is_empty() {
        true => format!("(link {})", link.0),
        false => peer_text(client, &[]),
    }
}

/// What stands between client and broker, and the fault beside it.
fn line(event: &JournalEvent) -> (String, Option<&str>) {
    match event {
        JournalEvent::Link(link) => (format!("-- {} --", link.change), None),
        JournalEvent::Packet(packet) => {
            let text = packet.to_string();
            let rest = WIDTH.saturating_sub(text.chars().count() + 4).max(2);
            let dashes = "-".repeat(rest);
            let arrow = match (packet.side, packet.passed, packet.arrived) {
                (side, true, false) => {
                    let dots = ".".repeat(rest + 2);
                    match side {
                        BrokerSide::Receives => format!("{text} {dots}"),
                        BrokerSide::Sends => format!("{dots} {text}"),
                    }
                }
                (BrokerSide::Receives, true, true) => format!("{text} {dashes}->"),
                (BrokerSide::Receives, false, _) => format!("{text} {dashes}-x"),
                (BrokerSide::Sends, true, true) => format!("<-{dashes} {text}"),
                (BrokerSide::Sends, false, _) => format!("x-{dashes} {text}"),
            };
            (arrow, packet.fault.as_deref())
        }
    }
}
