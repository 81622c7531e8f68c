//! `ferromqtt outbox drop`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args};
use ferromqtt_store::{EndedHow, OpenedStore, StoreChange, StoreCommand, StoreError, StoredInfo};

use super::age::Age;
use super::change::{Batch, OutboxAccess, ask_owner};
use super::keys::key_list;
use super::listing::Listing;
use super::output::{OutboxEnd, count, print_done, say};
use super::retry::no_such_message;
use super::selection::{TopicSelection, is_wanted};
use crate::exit_code;

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("which").required(true).multiple(true)
    .args(["keys", "filters", "older_than", "quarantined"]))]
pub(crate) struct DropArguments {
    /// The folder of the outbox
    path: PathBuf,

    /// Keys of messages, as ls lists them
    #[arg(value_name = "KEY", conflicts_with_all = ["filters", "older_than", "quarantined"])]
    keys: Vec<u64>,

    #[command(flatten)]
    topics: TopicSelection,

    /// Only messages accepted at least so long ago: 90s, 1d
    ///
    /// A number and one of s, m, h, d, w.
    #[arg(long, value_name = "AGE", verbatim_doc_comment)]
    older_than: Option<Age>,

    /// Only messages in quarantine
    #[arg(long)]
    quarantined: bool,
}

pub(crate) fn run(arguments: &DropArguments) -> Result<ExitCode, OutboxEnd> {
    let access = OutboxAccess::take(&arguments.path)?;
    let listing = Listing::open(&arguments.path)?;
    let mut chosen = DroppedMessages::default();
    match arguments.keys.is_empty() {
        true => chosen.select(arguments, listing)?,
        false => chosen.add(&arguments.keys, &listing),
    }
    if chosen.keys.is_empty() {
        print_done("nothing to do")?;
    } else {
        let messages = count(chosen.keys.len() as u64, "message");
        let what = format!("{messages}: {}", key_list(&chosen.keys));
        match access {
            OutboxAccess::Owner(holder) => {
                let commands = chosen.keys.iter().copied().map(StoreCommand::Drop);
                let commands: Vec<_> = commands.collect();
                ask_owner(&arguments.path, &holder, &commands, &format!("drop {what}"))?;
            }
            OutboxAccess::Own(store) => {
                chosen.drop(*store)?;
                print_done(&format!("dropped {what}"))?;
            }
        }
    }
    Ok(match chosen.left_alone {
        true => exit_code::FAILURE,
        false => exit_code::SUCCESS,
    })
}

/// Messages to drop, by their keys.
#[derive(Default)]
struct DroppedMessages {
    keys: Vec<u64>,
    /// Whether one that was named is not among them.
    left_alone: bool,
}

impl DroppedMessages {
    fn add(&mut self, keys: &[u64], listing: &Listing) {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let problem = match listing.info(key) {
                Some(info) if is_on_the_wire(&info) => format!(
                    "message {key} is on the wire, and stays: it ends when the server answers"
                ),
                Some(_) => {
                    self.keys.push(key);
                    continue;
                }
                None => no_such_message(key),
            };
            say(&problem);
            self.left_alone = true;
        }
    }

    fn select(&mut self, arguments: &DropArguments, mut listing: Listing) -> Result<(), OutboxEnd> {
        let wants = |info: &StoredInfo| is_wanted(info, arguments.quarantined);
        let reads = !arguments.topics.filters.is_empty() || arguments.older_than.is_some();
        let mut on_the_wire = 0;
        let mut take = |info: &StoredInfo| match is_on_the_wire(info) {
            true => on_the_wire += 1,
            false => self.keys.push(info.key),
        };
        if reads {
            let now = listing.now();
            let older_than = arguments.older_than.map_or(0, |age| age.0.as_millis());
            while let Some(message) = listing.next(wants)? {
                let is_old = message.content.as_ref().is_ok_and(|content| {
                    u128::from(now.saturating_sub(content.accepted_at)) >= older_than
                });
                if is_old && arguments.topics.takes(&message) {
                    take(&message.info);
                }
            }
        } else {
            while let Some(info) = listing.next_info(wants) {
                take(&info);
            }
        }
        if on_the_wire > 0 {
            let messages = count(on_the_wire, "message");
            say(&format!(
                "not dropped: {messages} on the wire; they end when the server answers"
            ));
        }
        Ok(())
    }

    fn drop(&self, mut store: OpenedStore) -> Result<(), OutboxEnd> {
        let mut batch = Batch::new();
        let how = EndedHow::Dropped;
        let mut dropped = Ok(());
        for &key in &self.keys {
            dropped = batch.add(&mut store, [StoreChange::Ended { key, how }]);
            if dropped.is_err() {
                break;
            }
        }
        let dropped = dropped.and_then(|()| batch.record(&mut store));
        let failed = |error: StoreError| {
            OutboxEnd::Failed(format!("{error}; dropped {}", batch.progress(&error)))
        };
        dropped.map_err(failed)?;
        Ok(store.close()?)
    }
}

/// Whether the server may have it already.
const fn is_on_the_wire(info: &StoredInfo) -> bool {
    info.sent.is_some()
}
