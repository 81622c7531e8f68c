//! The log lines of facts, made once for all faces, and how often a line that repeats is written.
//!
//! A face with fields and spans writes a line's text and its fields. One without writes [`Line::render`].

use std::time::{Duration, Instant};

use ferromqtt_proto::{
    ConnectionError, Direction, Outcome, ProtocolVersion, Repeats, TopicFilter, Unreported,
};

use crate::line::{Line, LineLevel, LineValue};
use crate::{Awaited, CallEnd, Fact, PublishError, end_text};

/// Counts the lines of one client, and says which of them are to be written.
///
/// A line that repeats is written the first time, and whenever its number has doubled ([`Repeats`]). What is left out is reported
/// when the client is connected again, and when it ends: nothing is left out without a trace.
#[derive(Debug, Default)]
pub struct Lines {
    repeats: Repeats,
    quiet: bool,
    /// A connection was made whose end [`Lines::closed`] has not reported.
    established: bool,
    /// That messages went to the default queue unclaimed has been logged, for this connection.
    warned_of_unclaimed: bool,
}

/// The kind of lines that a face makes itself. Their texts are the subjects.
const OF_THE_FACE: &str = "";

impl Lines {
    /// A client that does not connect again reports to its callers, by errors, what becomes of its connection: with `quiet` the
    /// lines about that are at [`LineLevel::Debug`]. Attempts that others follow have their lines all the same.
    pub const fn set_quiet(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    /// Appends the lines of a fact.
    pub fn note(&mut self, now: Instant, fact: &Fact, lines: &mut Vec<Line>) {
        match fact {
            Fact::Connected { .. } => {
                self.established = true;
                self.warned_of_unclaimed = false;
                if !self.quiet {
                    self.report_left_out(false, lines);
                }
            }
            Fact::Disconnected { retry_at: None, .. } if !self.quiet => {
                self.report_left_out(true, lines);
            }
            Fact::Unclaimed { .. } if std::mem::replace(&mut self.warned_of_unclaimed, true) => {
                return;
            }
            _ => {}
        }
        lines.extend(self.line(fact).and_then(|it| self.counted(now, it)));
        match *fact {
            Fact::Disconnected { unflushed, .. } if unflushed > 0 => {
                let messages = unflushed;
                self.note(now, &Fact::Unflushed { messages }, lines);
            }
            Fact::Ended { .. } if !self.quiet => self.report_left_out(true, lines),
            _ => {}
        }
    }

    /// Counts `occurrences` more of a line that the face makes itself. Returns how often it has been, if it is to be written.
    pub fn count(&mut self, now: Instant, text: &str, occurrences: u64) -> Option<u64> {
        let repeat = self.repeats.count(now, OF_THE_FACE, text, occurrences);
        repeat.map(|repeat| repeat.total)
    }

    /// Appends what was left out and is due once the transport has closed: for a face that makes lines after the
    /// [end](Fact::Ended), or whose client is [quiet](Self::set_quiet). `is_over`: no other connection follows.
    pub fn closed(&mut self, is_over: bool, lines: &mut Vec<Line>) {
        if std::mem::take(&mut self.established) && (self.quiet || is_over) {
            self.report_left_out(!self.quiet, lines);
        }
    }

    /// The line, if it is to be written.
    fn counted(&mut self, now: Instant, line: Line) -> Option<Line> {
        match &line.counted {
            None => Some(line),
            Some((kind, subject)) => {
                let repeat = self.repeats.count(now, kind, subject, 1)?;
                Some(line.number("times", repeat.total))
            }
        }
    }

    /// Appends lines for those that were left out: all, or those to be reported between connections.
    fn report_left_out(&mut self, all: bool, lines: &mut Vec<Line>) {
        match all {
            true => lines.extend(self.repeats.take_unreported().map(left_out)),
            false => lines.extend(self.repeats.take_unreported_of_connection().map(left_out)),
        }
    }

    /// The line of a fact, if it has one.
    fn line(&self, fact: &Fact) -> Option<Line> {
        let mut line = match fact {
            Fact::Packet(record) => Line::new(LineLevel::Debug, record.to_string())
                .name("packet", record.packet_type.name())
                .number("bytes", record.bytes),
            Fact::Untraced { packets } => {
                let text = "so many packets have no line: there were too many at once";
                Line::new(LineLevel::Debug, text).number("packets", *packets)
            }
            Fact::RecordingFailed { why } => {
                let text = format!("the recording has ended, because it cannot be written: {why}");
                Line::new(LineLevel::Warn, text)
            }
            Fact::Connected {
                session_present, ..
            } => {
                let present = LineValue::Flag(*session_present);
                (self.milestone("connected", "to")).field("session_present", present)
            }
            Fact::Disconnected {
                cause: ConnectionError::Closed | ConnectionError::Dropped,
                ..
            } => self.milestone("disconnected", "from"),
            Fact::Disconnected {
                cause,
                address,
                has_accepted,
                retry_at,
                unflushed,
                established,
            } => (self.end(
                end_text(cause, *has_accepted),
                retry_at.is_some(),
                *established,
                address,
            ))
            .words("cause", cause)
            .field("retries", LineValue::Flag(retry_at.is_some()))
            .number("unflushed", *unflushed),
            Fact::VersionRefused {
                cause,
                address,
                next,
            } => {
                let text = "the server refused a version of MQTT, or does not seem to speak it";
                let tried = match next {
                    ProtocolVersion::V5 => ProtocolVersion::V311,
                    _ => ProtocolVersion::V5,
                };
                let server = match &**address {
                    "" => "the server",
                    address => address,
                };
                let why = end_text(cause, true); // the port is right: the other version is tried there
                let mut line = Line::warning(text).words("cause", cause);
                line.level = LineLevel::Info;
                line.saying(
                    format!("{server} refused MQTT {tried}, or does not seem to speak it ({why}): trying MQTT {next}"),
                    format!("{server}: {why}"),
                )
            }
            Fact::Unflushed { messages } => {
                let text =
                    "QoS 0 messages were not written before the connection ended: they are lost";
                Line::warning(text).number("messages", *messages)
            }
            Fact::Unawaited { not_sent, unknown } => {
                let text = "the connection has ended, and QoS 1 and 2 messages that nobody waited for are not acknowledged (keep \
                    their receipts, or drain the connection)";
                let line = Line::new(LineLevel::Warn, text).number("not_sent", *not_sent);
                line.number("unknown", *unknown)
            }
            Fact::PublishRefused { topic, .. } => {
                let text = "the server refused a message, and nobody waited for its outcome: it is not delivered";
                Line::about("topic", topic, text)
            }
            Fact::NotResubscribed { filter, .. } => {
                let text = "a subscription that the server had lost was not renewed";
                Line::about("filter", filter, text)
            }
            Fact::NotSubscribed { filter, refusal } => {
                let text = match refusal.forbidden_by() {
                    None => {
                        "the server refused a subscription that was declared before the connection"
                    }
                    Some(_) => {
                        "a subscription that was declared before the connection cannot be made on it: the server was not asked"
                    }
                };
                Line::about("filter", filter, text)
            }
            Fact::NotUnsubscribed { filter, refusal } => {
                let text = match refusal.forbidden_by() {
                    None => {
                        "the server refused to end a subscription, and goes on to send its messages"
                    }
                    Some(_) => {
                        "the server could not be asked to end a subscription, and goes on to send its messages"
                    }
                };
                Line::about("filter", filter, text)
            }
            Fact::Tolerated { slip } => {
                let text = "the server breaks a rule of MQTT, which is tolerated";
                let line = Line::warning(text).words("slip", format!("{slip:?}"));
                line.saying(format!("{text}: {slip}"), slip)
            }
            // Of a queue whose loss is reported for the first time since its reader has asked: more are counted there.
            Fact::Lost {
                filters,
                forgotten: false,
                ..
            } => {
                let text = "received messages are lost: the queue was full (see take_lost and stats for how many)";
                Line::about("filters", list(filters), text)
            }
            Fact::LeftBehind { filters, messages } => {
                let text = "received messages are lost: their subscription was left before the program had taken them, and the client \
                    has acknowledged them";
                Line::about("filters", list(filters), text).number("messages", *messages)
            }
            Fact::MessageEnded { outcome, .. } => {
                let why = undelivered(outcome)?;
                let text = "a message of the outgoing queue is not delivered, and nobody waits for its outcome";
                let line = Line::warning(text).words("cause", &why);
                line.saying(format!("{text}: {why}"), &why)
            }
            // That nobody reads it was logged.
            Fact::Lost { .. } | Fact::Ended { lost: 0 } => return None,
            Fact::Unclaimed { messages } => {
                let text = "no stream has claimed messages of the session in time: they go to the client's `messages`, and are \
                    acknowledged; subscribe earlier, declare the subscription in the options, or unsubscribe from what is not needed";
                Line::warning(text).number("messages", *messages)
            }
            Fact::Forgotten { filters } => {
                let text = "QoS 0 messages are lost: the queue is full, and nobody has read it for 5 s (read it, or drop it)";
                Line::about("filters", list(filters), text)
            }
            Fact::PossibleDuplicate { topic, packet_id } => {
                let text = "a QoS 2 message may have come twice: the server may have lost the session and not said so, and uses the \
                    Packet Identifier of a message that was not released";
                Line::about("topic", topic, text).number("packet_id", packet_id.get())
            }
            Fact::StoreFailed { direction } => {
                let (text, messages) = match direction {
                    Direction::Sent => (
                        "the store has failed: QoS 2 messages are not sent, and the outgoing queue accepts nothing (check its disk)",
                        "sent",
                    ),
                    Direction::Received => (
                        "the store has failed: QoS 2 messages are not acknowledged (check its disk)",
                        "received",
                    ),
                };
                Line::warning(text).name("messages", messages)
            }
            Fact::StoreFull { error } => {
                let text = "the disk of the outbox is full: it accepts nothing until there is space, and sends what it has";
                Line::warning(text).name("error", error)
            }
            Fact::StoreDamaged { damage } => {
                let text = "the outbox is damaged: the disk gives bytes back in another form (check the disk; 'ferromqtt outbox check' says what is lost)";
                Line::warning(text).name("damage", damage)
            }
            Fact::PassedOver { topic } => {
                let text = "a message that asks for no response was passed over by a responder: it has no Response Topic (subscribe to \
                    get such messages too)";
                Line::about("topic", topic, text)
            }
            Fact::Stalled { filters } => {
                let text = "a full queue has withheld acknowledgements for 5 s, and holds up all others (read it faster, or choose \
                    another overflow policy)";
                Line::about("filters", list(filters), text)
            }
            Fact::MessageSuspected {
                topic,
                messages,
                ends,
                reason,
            } => {
                let known = "the server may be ending one connection after another because of a message in flight: they are sent \
                    one at a time to find it";
                let unknown = "one connection after another has ended while messages were in flight, and none was acknowledged: \
                    one of them may be the reason, and they are sent again";
                let text = reason.map_or(unknown, |_| known);
                let line = Line::about("topic", topic, text).number("messages", *messages);
                line.number("ends", *ends)
            }
            Fact::MessageRefused { topic, .. } => {
                let text = "the server ended the connection each time this message was sent: it is given up";
                Line::about("topic", topic, text)
            }
            Fact::IdentifierContested(contest) => {
                let text = "another client has the same Client Identifier";
                let line = Line::warning(text).number("ends", contest.ends);
                line.saying(contest.to_string(), contest)
            }
            Fact::Unacknowledged { messages } => {
                let text = "received messages are not acknowledged, and for 5 s the server has sent no QoS 1 or 2 message: it may be \
                    waiting (acknowledge each message when you have processed it; the client's `unacknowledged` has the age of the oldest)";
                Line::warning(text).number("messages", *messages)
            }
            Fact::Ended { lost } => {
                let text = "so many received messages were lost in all, since queues were full";
                Line::new(LineLevel::Warn, text).number("messages", *lost)
            }
        };
        line.fields.extend(optional(fact));
        Some(line)
    }

    /// The line of a connection that was made, or has ended as the application wanted it.
    fn milestone(&self, text: &'static str, joint: &'static str) -> Line {
        let level = match self.quiet {
            true => LineLevel::Debug,
            false => LineLevel::Info,
        };
        Line {
            before_server: Some(joint),
            ..Line::new(level, text)
        }
    }

    /// The line of a connection that was lost, or of an attempt that has failed. One that no other follows does not repeat.
    fn end(&self, why: String, retries: bool, established: bool, server: &str) -> Line {
        let kind = match established {
            true => "connection lost",
            false => "cannot connect",
        };
        match (retries, self.quiet) {
            (true, _) => {
                let text = format!("{kind}: {why}");
                let mut subject = why;
                if !subject.contains(server) {
                    subject += &format!(" ({server})"); // each server has its own count
                }
                Line::warning(kind).saying(text, subject)
            }
            (false, true) => Line::new(LineLevel::Debug, format!("{kind}: {why}")),
            (false, false) => {
                let text = format!("{kind}, and the client connects no more: {why}");
                Line::new(LineLevel::Warn, text)
            }
        }
    }
}

/// The fields that facts may have or not, and those that many have.
fn optional(fact: &Fact) -> Option<(&'static str, LineValue)> {
    match fact {
        Fact::Packet(record) => {
            let id = record.packet_id?;
            Some(("packet_id", LineValue::Number(id.get().into())))
        }
        Fact::Connected { assigned, .. } => {
            let name = assigned.as_ref()?;
            Some(("client_identifier", LineValue::Name(name.to_string())))
        }
        Fact::MessageSuspected {
            reason: Some(reason),
            ..
        }
        | Fact::PublishRefused { reason, .. }
        | Fact::MessageRefused { reason, .. } => {
            Some(("reason", LineValue::Words(reason.to_string())))
        }
        Fact::NotResubscribed { refusal, .. }
        | Fact::NotSubscribed { refusal, .. }
        | Fact::NotUnsubscribed { refusal, .. } => {
            let reason = match refusal.forbidden_by() {
                Some(error) => error.to_string(),
                None => refusal.reason().to_string(),
            };
            Some(("reason", LineValue::Words(reason)))
        }
        _ => None,
    }
}

fn list(filters: &[TopicFilter]) -> String {
    let filters: Vec<_> = filters.iter().map(TopicFilter::as_str).collect();
    filters.join(", ")
}

/// Why a message of the outgoing queue is not delivered, if no other line says so and the program has not asked for it.
fn undelivered(outcome: &Outcome) -> Option<String> {
    let end = CallEnd::Completed(outcome.clone());
    match end.published(Awaited::Writing, Duration::ZERO).err()? {
        PublishError::Rejected { .. }
        | PublishError::Disconnected { .. }
        | PublishError::Replaced => None,
        error => Some(error.summary()),
    }
}

/// The line of those that were left out.
fn left_out(left_out: Unreported) -> Line {
    Line::new(LineLevel::Warn, "log lines that say the same were left out")
        .name("kind", left_out.kind)
        .words("subject", left_out.subject)
        .number("times", left_out.total)
        .number("left_out", left_out.new)
}
