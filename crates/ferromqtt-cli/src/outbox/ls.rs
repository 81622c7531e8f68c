//! `ferromqtt outbox ls`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ferromqtt_store::ReadError;

use super::age::short_age;
use super::line_format::{LineFormat, short_why};
use super::listing::{ListedMessage, Listing};
use super::message_json::{message_line, state};
use super::output::{OutboxEnd, Output, count, say};
use super::selection::{TopicSelection, is_wanted};
use super::terminal_text::terminal_text;
use crate::exit_code;

#[derive(Args, Debug)]
pub(crate) struct LsArguments {
    /// The folder of the outbox
    path: PathBuf,

    #[command(flatten)]
    topics: TopicSelection,

    /// Only messages in quarantine
    #[arg(long)]
    quarantined: bool,

    /// Print lines of this form, and no heading
    ///
    /// %k key, %t topic, %q QoS, %r retain (0 or 1), %l payload length in
    /// bytes, %s state, %w why it is in quarantine, %a age and %e time until
    /// it expires, both in seconds, %p payload as text, %x payload in
    /// hexadecimal digits, %% a percent sign; \n, \r, \t, \0, \\. A line ends
    /// after each message. Control characters in %t and %p are escaped; -
    /// stands for what is not there.
    #[arg(short = 'F', long, value_name = "FORMAT", verbatim_doc_comment)]
    format: Option<LineFormat>,

    /// Print a line of JSON for each message, without payloads
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

/// The heading, and with it the widths of the columns.
const HEADING: &str = "     KEY  AGE Q R      SIZE STATE       WHY              EXPIRES TOPIC";

pub(crate) fn run(arguments: &LsArguments) -> Result<ExitCode, OutboxEnd> {
    let mut listing = Listing::open(&arguments.path)?;
    let now = listing.now();
    let mut output = Output::new();
    let is_table = !arguments.json && arguments.format.is_none();
    if is_table {
        output.line(HEADING)?;
    }
    let mut damaged = 0;
    let only_quarantined = arguments.quarantined;
    while let Some(message) = listing.next(|info| is_wanted(info, only_quarantined))? {
        damaged += u64::from(message.content.is_err());
        if !arguments.topics.takes(&message) {
            continue;
        }
        match &arguments.format {
            Some(format) => output.line(format.line(&message, now))?,
            None if arguments.json => output.line(message_line(&message, now).finish())?,
            None => output.line(row(&message, now))?,
        }
    }
    output.finish()?;
    Ok(report_unreadable(damaged))
}

/// Says that messages cannot be read, and ends accordingly.
pub(super) fn report_unreadable(messages: u64) -> ExitCode {
    if messages == 0 {
        return exit_code::SUCCESS;
    }
    let messages = count(messages, "message");
    say(&format!(
        "{messages} cannot be read; 'ferromqtt outbox check' says why"
    ));
    exit_code::FAILURE
}

fn row(message: &ListedMessage, now: u64) -> String {
    let info = &message.info;
    let why = short_why(message).unwrap_or_else(|| "-".to_owned());
    let expires = info.expires_at.map(|at| match at.saturating_sub(now) {
        0 => "expired".to_owned(),
        left => short_age(left),
    });
    let expires = expires.unwrap_or_else(|| "-".to_owned());
    let (age, qos, retain, size, topic) = match &message.content {
        Ok(content) => (
            short_age(now.saturating_sub(content.accepted_at)),
            (content.publish.qos as u8).to_string(),
            if content.publish.retain { "r" } else { "-" },
            content.publish.payload.len().to_string(),
            terminal_text(&content.publish.topic),
        ),
        Err(error) => {
            let unknown = || "?".to_owned();
            let topic = match error {
                ReadError::Damaged => "(damaged: it cannot be read)".to_owned(),
                ReadError::Disk(error) => format!("({error})"),
                _ => unknown(),
            };
            (unknown(), unknown(), "?", unknown(), topic)
        }
    };
    format!(
        "{:>8} {age:>4} {qos} {retain} {size:>9} {:<11} {why:<16} {expires:>7} {topic}",
        info.key,
        state(info),
    )
}
