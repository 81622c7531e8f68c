//! The journal as a sequence chart.

use std::fmt::Write;

use ferromqtt_proto::Utf8String;
use ferromqtt_proto::shown::peer_text;

use super::BrokerJournal;
use super::records::{BrokerSide, JournalEvent, JournalLink, JournalPacket};
use crate::connection::ConnectionId;

/// Width of the column between client and broker.
const WIDTH: usize = 60;

pub(super) fn draw(journal: &BrokerJournal, most: usize) -> String {
    let events = journal.events();
    let total = events.clone().count();
    let skipped = total.saturating_sub(most);
    let Some(start) = journal.began() else {
        return "(no packets)\n".to_owned();
    };
    let shown: Vec<_> = events.skip(skipped).collect();
    let name_width = (shown.iter())
        .map(|event| name(event).chars().count())
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
    for event in shown {
        let time = event.at().saturating_duration_since(start);
        let time = format!("+{:.3} s", time.as_secs_f64());
        let (middle, note) = line(event);
        let name = name(event);
        let line = format!("{time:>12}  {name:<name_width$}  {middle}");
        let _ = match note {
            Some(note) => writeln!(chart, "{line}  ! {note}"),
            None => writeln!(chart, "{}", line.trim_end()),
        };
    }
    chart
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
