//! `ferromqtt outbox import`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use ferromqtt_store::{OpenedStore, StoreChange, StoreError};

use super::change::{Batch, accept, is_expired, open_or_make};
use super::output::{OutboxEnd, count, print_done, say};
use super::read_message::ImportedMessage;
use super::spool::Spool;
use crate::exit_code;

/// How many wrong lines are named, at most.
const NAMED_LINES: u64 = 20;

#[derive(Args, Debug)]
pub(crate) struct ImportArguments {
    /// The folder of the outbox; it is made if it is not there
    path: PathBuf,

    /// What export --payload has written; - is standard input
    ///
    /// The lines are read twice. Standard input is kept in an unnamed file
    /// in the system's folder for temporary files (TMPDIR) meanwhile.
    #[arg(default_value = "-", verbatim_doc_comment)]
    file: PathBuf,
}

/// What became of the lines.
#[derive(Default)]
struct ImportCounts {
    quarantined: u64,
    expired: u64,
    sent_before: u64,
}

pub(crate) fn run(arguments: &ImportArguments) -> Result<ExitCode, OutboxEnd> {
    let file = match arguments.file.to_str() {
        Some("-") => "standard input".to_owned(),
        _ => arguments.file.display().to_string(),
    };
    let unreadable = |error: io::Error| {
        OutboxEnd::Failed(format!(
            "cannot read {file}: {error}; give a file that 'ferromqtt outbox export --payload' has written"
        ))
    };
    expect_outbox_or_nothing(&arguments.path)?;
    let mut lines = Spool::open(&arguments.file).map_err(unreadable)?;
    let (all, wrong) = check_lines(&mut lines).map_err(unreadable)?;
    if wrong > 0 {
        let lines = count(all, "line");
        return Err(OutboxEnd::Failed(format!(
            "{wrong} of {lines} in {file} cannot be imported, and nothing was; mend them or leave them out"
        )));
    }
    lines.rewind().map_err(unreadable)?;
    let mut store = open_or_make(&arguments.path)?;
    let mut batch = Batch::new();
    let first = store.next_key();
    let mut counts = ImportCounts::default();
    if let Err(problem) = import_lines(&mut store, &mut lines, &mut batch, &mut counts) {
        let (reason, progress) = match problem {
            ImportProblem::Store(error) => (error.to_string(), batch.progress(&error)),
            ImportProblem::Lines(reason) => {
                let recorded = count(batch.recorded, "message");
                let reason = format!("{file} has changed while it was read: {reason}");
                (reason, format!("{recorded} before that"))
            }
        };
        return Err(OutboxEnd::Failed(format!("{reason}; imported {progress}")));
    }
    store.close()?;
    report(&counts, first, batch.recorded)?;
    Ok(exit_code::SUCCESS)
}

fn report(counts: &ImportCounts, first: u64, recorded: u64) -> Result<(), OutboxEnd> {
    for (number, what) in [
        (
            counts.expired,
            "could no longer be sent in time and was left out",
        ),
        (
            counts.sent_before,
            "had been sent before, and may arrive twice",
        ),
    ] {
        if number > 0 {
            say(&format!("of these messages, {number} {what}"));
        }
    }
    let messages = count(recorded, "message");
    let keys = match recorded {
        0 => String::new(),
        1 => format!(": key {first}"),
        _ => format!(": keys {first} to {}", first + (recorded - 1)),
    };
    let quarantined = match counts.quarantined {
        0 => String::new(),
        number => format!(", {number} of them in quarantine"),
    };
    print_done(&format!("imported {messages}{keys}{quarantined}"))
}

/// A path that was mistyped does not become an outbox among other files.
fn expect_outbox_or_nothing(path: &Path) -> Result<(), OutboxEnd> {
    let is_new = match std::fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    match is_new {
        true => Ok(()),
        false => super::expect_store(path),
    }
}

/// Reads all lines, and names those that are wrong. Returns how many there are, and how many are wrong.
fn check_lines(lines: &mut Spool) -> io::Result<(u64, u64)> {
    let (mut all, mut wrong) = (0, 0);
    while let Some((number, line)) = lines.next()? {
        all += 1;
        if let Err(problem) = ImportedMessage::read(line) {
            wrong += 1;
            if wrong <= NAMED_LINES {
                say(&format!("line {number}: {problem}"));
            }
        }
    }
    Ok((all, wrong))
}

enum ImportProblem {
    Store(StoreError),
    /// The lines are no longer those that were checked.
    Lines(String),
}

impl From<StoreError> for ImportProblem {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn import_lines(
    store: &mut OpenedStore,
    lines: &mut Spool,
    batch: &mut Batch,
    counts: &mut ImportCounts,
) -> Result<(), ImportProblem> {
    let mut key = store.next_key();
    loop {
        let line = lines.next();
        let Some((number, line)) = line.map_err(|error| ImportProblem::Lines(error.to_string()))?
        else {
            break;
        };
        let message = ImportedMessage::read(line)
            .map_err(|problem| ImportProblem::Lines(format!("line {number}: {problem}")))?;
        let now = store.now();
        if message.quarantine.is_none() && is_expired(message.expires_at, now) {
            counts.expired += 1;
            continue;
        }
        counts.sent_before += u64::from(message.was_sent);
        counts.quarantined += u64::from(message.quarantine.is_some());
        let ImportedMessage {
            publish,
            expires_at,
            keep_latest,
            ..
        } = message;
        let accepted = accept(key, publish, expires_at, keep_latest, now);
        let quarantined = (message.quarantine).map(|why| StoreChange::Quarantined { key, why });
        batch.add(store, [accepted].into_iter().chain(quarantined))?;
        key += 1;
    }
    Ok(batch.record(store)?)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use ferromqtt_store::{LogStore, StoreOptions};

    use super::*;

    #[test]
    fn a_file_that_changes_after_it_was_checked_ends_the_import_at_that_line() {
        let folder = std::env::temp_dir().join(format!("ferromqtt-import-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("lines");
        let line = "{\"topic\":\"t\",\"payload\":\"x\"}\n";
        std::fs::write(&file, line.repeat(5_000)).unwrap();
        let mut lines = Spool::open(&file).unwrap();
        assert_eq!(check_lines(&mut lines).unwrap(), (5_000, 0));
        let mut more = std::fs::File::options().append(true).open(&file).unwrap();
        more.write_all(b"no json\n").unwrap();
        lines.rewind().unwrap();
        let mut store = LogStore::open(folder.join("outbox"), StoreOptions::new()).unwrap();
        let mut batch = Batch::new();
        let mut counts = ImportCounts::default();
        let ended = import_lines(&mut store, &mut lines, &mut batch, &mut counts);
        let there = store.messages().count() as u64;
        drop(store);
        std::fs::remove_dir_all(&folder).unwrap();
        match ended {
            Err(ImportProblem::Lines(said)) => assert!(said.starts_with("line 5001: "), "{said}"),
            _ => panic!("it went on"),
        }
        assert_eq!(batch.recorded, there);
        assert!(there > 4_000);
    }
}
