//! `ferromqtt outbox`: what a client's outbox holds, and changes to it.

mod age;
mod change;
mod check;
mod drop;
mod export;
mod import;
mod json_line;
mod keys;
mod line_format;
mod listing;
mod ls;
mod message_json;
mod output;
mod read_message;
mod retry;
mod selection;
mod send;
mod spool;
mod stat;
mod terminal_text;

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use ferromqtt_store::{Disk, FolderDisk};

use crate::exit_code;
use output::{OutboxEnd, say};

const RETRY_USAGE: &str = "ferromqtt outbox retry <PATH> <KEY>...
       ferromqtt outbox retry <PATH> --all";

const DROP_USAGE: &str = "ferromqtt outbox drop <PATH> <KEY>...
       ferromqtt outbox drop <PATH> [-t <FILTER>]... [--older-than <AGE>]
                             [--quarantined]";

#[derive(Debug, Subcommand)]
pub(crate) enum OutboxCommand {
    /// List the messages that have not ended
    ///
    /// One line each, in the order in which they were accepted: key, age, QoS,
    /// retain, payload size in bytes, state, why it is in quarantine, when it
    /// expires, topic. Control characters are escaped. Payloads are not shown.
    ///
    /// States: waits, sent (PUBLISH was sent), released (QoS 2: PUBREC came),
    /// quarantined (kept and not sent).
    #[command(verbatim_doc_comment)]
    Ls(ls::LsArguments),

    /// Print figures: messages, bytes, quarantine, counters, owner
    Stat(stat::StatArguments),

    /// Read every byte, and say what is damaged
    ///
    /// Ends with 0 when nothing is damaged, with 1 when something is, and with 2
    /// when the outbox cannot be read. What a power cut or a killed program leaves
    /// is no damage, and is told apart from it.
    #[command(verbatim_doc_comment)]
    Check(check::CheckArguments),

    /// Write the messages as lines of JSON to standard output
    ///
    /// For other programs, and for import. docs/outbox-command-line.md has the
    /// fields. Payloads, Correlation Data and User Properties are left out unless
    /// asked for.
    #[command(verbatim_doc_comment)]
    Export(export::ExportArguments),

    /// Put exported messages into an outbox that no program has open
    ///
    /// They get new keys, behind all others. All lines are checked first: where
    /// one is wrong, nothing is written.
    #[command(verbatim_doc_comment)]
    Import(import::ImportArguments),

    /// Send messages in quarantine again
    ///
    /// They get new keys, behind all others. A message whose QoS 2 exchange was
    /// cut off by the loss of the session may arrive twice.
    ///
    /// While a program has the outbox open, it is asked to do it.
    #[command(verbatim_doc_comment, override_usage = RETRY_USAGE)]
    Retry(retry::RetryArguments),

    /// Remove messages that are not on the wire
    ///
    /// Give keys, or options: with several of these, messages go that all of
    /// them select. A message that was sent and not acknowledged stays.
    ///
    /// While a program has the outbox open, it is asked to do it.
    #[command(verbatim_doc_comment, override_usage = DROP_USAGE)]
    Drop(drop::DropArguments),

    /// Send what waits, as the client whose outbox it is
    ///
    /// For an outbox that no program has open. Ends with 0 when nothing is left, and
    /// with 1 when something is, or went into quarantine.
    #[command(verbatim_doc_comment)]
    Send(send::SendArguments),
}

pub(crate) fn run(command: &OutboxCommand) -> ExitCode {
    let (done, failure) = match command {
        OutboxCommand::Ls(arguments) => (ls::run(arguments), exit_code::FAILURE),
        OutboxCommand::Stat(arguments) => (stat::run(arguments), exit_code::FAILURE),
        OutboxCommand::Check(arguments) => (check::run(arguments), exit_code::no_answer()),
        OutboxCommand::Export(arguments) => (export::run(arguments), exit_code::FAILURE),
        OutboxCommand::Import(arguments) => (import::run(arguments), exit_code::FAILURE),
        OutboxCommand::Retry(arguments) => (retry::run(arguments), exit_code::FAILURE),
        OutboxCommand::Drop(arguments) => (drop::run(arguments), exit_code::FAILURE),
        OutboxCommand::Send(arguments) => (send::run(arguments), exit_code::FAILURE),
    };
    match done {
        Ok(code) => code,
        Err(OutboxEnd::OutputClosed) => exit_code::SUCCESS,
        Err(OutboxEnd::Failed(message)) => {
            say(&message);
            failure
        }
    }
}

/// Whether a folder holds a store. Nothing is made of a path that was mistyped.
fn expect_store(path: &Path) -> Result<(), OutboxEnd> {
    let shown = path.display();
    if path.join("lock").is_file() {
        return Ok(());
    }
    match FolderDisk::new(path.to_owned()).segments() {
        Ok(segments) if !segments.is_empty() => Ok(()),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(OutboxEnd::Failed(
            format!("cannot read {shown}: {error}; give the folder of an outbox"),
        )),
        _ => Err(OutboxEnd::Failed(format!(
            "there is no outbox at {shown}; give the folder that the client was given"
        ))),
    }
}
