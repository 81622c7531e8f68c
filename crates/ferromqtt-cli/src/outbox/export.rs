//! `ferromqtt outbox export`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::listing::Listing;
use super::ls::report_unreadable;
use super::message_json::{Contents, message_line, put_contents};
use super::output::{OutboxEnd, Output};
use super::selection::{TopicSelection, is_wanted};

#[derive(Args, Debug)]
pub(crate) struct ExportArguments {
    /// The folder of the outbox
    path: PathBuf,

    #[command(flatten)]
    topics: TopicSelection,

    /// Only messages in quarantine
    #[arg(long)]
    quarantined: bool,

    /// Write payloads, Correlation Data and User Properties too
    ///
    /// import needs them. A payload is text if it is UTF-8 without control
    /// characters (but for tabs and line ends), and Base64 otherwise.
    #[arg(long, verbatim_doc_comment)]
    payload: bool,
}

pub(crate) fn run(arguments: &ExportArguments) -> Result<ExitCode, OutboxEnd> {
    let mut listing = Listing::open(&arguments.path)?;
    let now = listing.now();
    let contents = match arguments.payload {
        true => Contents::Written,
        false => Contents::LeftOut,
    };
    let mut output = Output::new();
    let mut unreadable = 0;
    let only_quarantined = arguments.quarantined;
    while let Some(message) = listing.next(|info| is_wanted(info, only_quarantined))? {
        if message.content.is_err() {
            unreadable += 1; // there is nothing to export
            continue;
        }
        if !arguments.topics.takes(&message) {
            continue;
        }
        let mut line = message_line(&message, now);
        put_contents(&mut line, &message, contents);
        output.line(line.finish())?;
    }
    output.finish()?;
    Ok(report_unreadable(unreadable))
}
