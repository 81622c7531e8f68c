//! `ferromqtt outbox stat`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use ferromqtt_store::{QuarantineReason, StoreOwner, StoreReader, store_owner};

use super::age::short_age;
use super::json_line::JsonLine;
use super::line_format::long_why;
use super::listing::Listing;
use super::message_json::{reason_code, why};
use super::output::{OutboxEnd, Output, count};
use super::terminal_text::terminal_text;
use crate::exit_code;

#[derive(Args, Debug)]
pub(crate) struct StatArguments {
    /// The folder of the outbox
    path: PathBuf,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// What is known of the one who has the outbox open.
enum OutboxOwner {
    Nobody,
    Program(StoreOwner),
    /// The lock cannot be looked at; the reason.
    Unknown(String),
}

/// What an outbox holds, beyond what its store counts.
struct OutboxFigures {
    reader: StoreReader,
    owner: OutboxOwner,
    quarantined: BTreeMap<(&'static str, Option<u8>), (QuarantineReason, u64)>,
    /// Its key, and when it was accepted, in milliseconds since 1970.
    oldest: Option<(u64, u64)>,
    now: u64,
}

pub(crate) fn run(arguments: &StatArguments) -> Result<ExitCode, OutboxEnd> {
    let figures = OutboxFigures::gather(arguments)?;
    let mut output = Output::new();
    match arguments.json {
        true => output.line(figures.json())?,
        false => {
            for (name, value) in figures.rows(arguments) {
                output.line(format_args!("{name:<12} {value}"))?;
            }
        }
    }
    output.finish()?;
    Ok(exit_code::SUCCESS)
}

impl OutboxFigures {
    fn gather(arguments: &StatArguments) -> Result<Self, OutboxEnd> {
        let mut listing = Listing::open(&arguments.path)?;
        let now = listing.now();
        let mut oldest = None;
        // One that cannot be read has no age.
        while oldest.is_none()
            && let Some(message) = listing.next(|_| true)?
        {
            let content = message.content.ok();
            oldest = content.map(|content| (content.key, content.accepted_at));
        }
        let reader = StoreReader::open(&arguments.path)?;
        let mut quarantined = BTreeMap::new();
        for reason in reader.messages().filter_map(|info| info.quarantine) {
            let group = (why(reason.why), reason_code(reason.why));
            quarantined.entry(group).or_insert((reason.why, 0)).1 += 1;
        }
        Ok(Self {
            owner: match store_owner(&arguments.path) {
                Ok(None) => OutboxOwner::Nobody,
                Ok(Some(owner)) => OutboxOwner::Program(owner),
                Err(error) => OutboxOwner::Unknown(error.to_string()),
            },
            reader,
            quarantined,
            oldest,
            now,
        })
    }

    fn rows(&self, arguments: &StatArguments) -> Vec<(&'static str, String)> {
        let stats = self.reader.stats();
        let counters = stats.counters;
        let mut rows = vec![("path", terminal_text(&arguments.path.to_string_lossy()))];
        let client = self.reader.identity().map(|identity| {
            let name = terminal_text(&identity.client_identifier);
            let age = short_age(self.now.saturating_sub(identity.made_at));
            format!("{name} (made {age} ago)")
        });
        rows.push(("client", client.unwrap_or_else(|| "none yet".to_owned())));
        rows.push(("owner", self.owner()));
        let bytes = count(stats.message_bytes, "byte");
        rows.push(("messages", format!("{} ({bytes})", stats.messages)));
        rows.push(("on the wire", stats.in_flight.to_string()));
        let oldest = self.oldest.map(|(key, at)| {
            let age = short_age(self.now.saturating_sub(at));
            format!("key {key}, {age} old")
        });
        rows.push(("oldest", oldest.unwrap_or_else(|| "none".to_owned())));
        rows.push(("quarantined", stats.quarantined.to_string()));
        for (reason, number) in self.quarantined.values() {
            rows.push(("", format!("{number} {}", long_why(*reason))));
        }
        for (name, number) in [
            ("accepted", counters.accepted),
            ("acknowledged", counters.finished),
            ("refused", counters.refused),
            ("expired", counters.expired),
            ("dropped", counters.dropped),
            ("replaced", counters.replaced),
            ("retried", counters.requeued),
            ("damaged", counters.damaged),
        ] {
            rows.push((name, number.to_string()));
        }
        let files = count(stats.segments as u64, "file");
        let bytes = count(stats.disk_bytes, "byte");
        rows.push(("disk", format!("{files}, {bytes}")));
        let new_damages = self.reader.new_damages().len() as u64;
        if new_damages > 0 {
            let places = count(new_damages, "place");
            let text = format!("{places}; 'ferromqtt outbox check' says what is lost");
            rows.push(("new damage", text));
        }
        rows
    }

    fn owner(&self) -> String {
        let owner = match &self.owner {
            OutboxOwner::Nobody => return "none".to_owned(),
            OutboxOwner::Unknown(reason) => return format!("not known: {reason}"),
            OutboxOwner::Program(owner) => owner,
        };
        let Some(process) = owner.process else {
            return "another process".to_owned();
        };
        let program = owner.program.as_deref().unwrap_or("?");
        match owner.since {
            Some(since) => {
                let seconds = wall_clock().saturating_sub(since);
                let age = short_age(seconds.saturating_mul(1_000));
                format!("process {process} ({program}), for {age}")
            }
            None => format!("process {process} ({program})"),
        }
    }

    fn json(&self) -> String {
        let stats = self.reader.stats();
        let counters = stats.counters;
        let identity = self.reader.identity();
        let mut line = JsonLine::new();
        line.member(
            "client_identifier",
            &identity.map(|it| &it.client_identifier),
        );
        line.member("made_at", &identity.map(|it| it.made_at));
        match &self.owner {
            OutboxOwner::Nobody => line.member("owner", &None::<u64>),
            OutboxOwner::Unknown(reason) => {
                let mut object = JsonLine::new();
                object.member("unknown", reason);
                line.object("owner", object);
            }
            OutboxOwner::Program(owner) => {
                let mut object = JsonLine::new();
                object.member("process", &owner.process);
                object.member("program", &owner.program);
                object.member("since", &owner.since.map(|it| it.saturating_mul(1_000)));
                line.object("owner", object);
            }
        }
        line.member("messages", &stats.messages);
        line.member("message_bytes", &stats.message_bytes);
        line.member("on_the_wire", &stats.in_flight);
        line.member("oldest_key", &self.oldest.map(|(key, _)| key));
        line.member("oldest_accepted_at", &self.oldest.map(|(_, at)| at));
        line.member("quarantined", &stats.quarantined);
        let by_reason = self.quarantined.values().map(|(reason, number)| {
            let mut object = JsonLine::new();
            object.member("why", why(*reason));
            object.member("reason_code", &reason_code(*reason));
            object.member("messages", number);
            object
        });
        line.objects("quarantined_by", by_reason);
        let mut so_far = JsonLine::new();
        so_far.member("accepted", &counters.accepted);
        so_far.member("acknowledged", &counters.finished);
        so_far.member("refused", &counters.refused);
        so_far.member("expired", &counters.expired);
        so_far.member("dropped", &counters.dropped);
        so_far.member("replaced", &counters.replaced);
        so_far.member("retried", &counters.requeued);
        so_far.member("quarantined", &counters.quarantined);
        so_far.member("damaged", &counters.damaged);
        line.object("so_far", so_far);
        line.member("files", &stats.segments);
        line.member("disk_bytes", &stats.disk_bytes);
        line.member("new_damages", &self.reader.new_damages().len());
        line.finish()
    }
}

/// The seconds since 1970.
fn wall_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |it| it.as_secs())
}
