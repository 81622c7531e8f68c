//! `ferromqtt outbox retry`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ferromqtt_store::{
    EndedHow, OpenedStore, QuarantineReason, StoreChange, StoreCommand, StoredInfo,
};

use super::change::{Batch, OutboxAccess, accept, ask_owner, is_expired};
use super::keys::key_list;
use super::listing::Listing;
use super::output::{OutboxEnd, count, print_done, say};
use crate::exit_code;

#[derive(Args, Debug)]
pub(crate) struct RetryArguments {
    /// The folder of the outbox
    path: PathBuf,

    /// Keys of messages in quarantine, as ls lists them
    #[arg(value_name = "KEY", required_unless_present = "all")]
    keys: Vec<u64>,

    /// All messages in quarantine
    #[arg(long, conflicts_with = "keys")]
    all: bool,
}

pub(crate) fn run(arguments: &RetryArguments) -> Result<ExitCode, OutboxEnd> {
    let access = OutboxAccess::take(&arguments.path)?;
    let listing = Listing::open(&arguments.path)?;
    let mut chosen = ChosenMessages::default();
    match arguments.all {
        true => chosen.add_all(listing),
        false => chosen.add(&arguments.keys, &listing),
    }
    if chosen.uncertain > 0 {
        let exchanges = count(chosen.uncertain, "QoS 2 message");
        say(&format!(
            "the server may have {exchanges} of these already: they may arrive twice"
        ));
    }
    match access {
        OutboxAccess::Owner(holder) => {
            let commands = chosen.keys.iter().copied().map(StoreCommand::Retry);
            let commands: Vec<_> = commands.collect();
            let messages = count(chosen.keys.len() as u64, "message");
            let what = format!("retry {messages}: {}", key_list(&chosen.keys));
            ask_owner(&arguments.path, &holder, &commands, &what)?;
        }
        OutboxAccess::Own(store) => chosen.retry(*store)?,
    }
    Ok(match chosen.left_alone {
        true => exit_code::FAILURE,
        false => exit_code::SUCCESS,
    })
}

/// Messages to retry, by their keys.
#[derive(Default)]
struct ChosenMessages {
    keys: Vec<u64>,
    /// Those of QoS 2 that the server may have.
    uncertain: u64,
    /// Whether one that was named is not among them.
    left_alone: bool,
}

impl ChosenMessages {
    fn add_all(&mut self, mut listing: Listing) {
        while let Some(info) = listing.next_info(|info| info.quarantine.is_some()) {
            self.push(&info);
        }
    }

    fn add(&mut self, keys: &[u64], listing: &Listing) {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            match listing.info(key) {
                Some(info) if info.quarantine.is_some() => self.push(&info),
                Some(_) => {
                    say(&format!(
                        "message {key} is not in quarantine: it is sent when its turn comes"
                    ));
                    self.left_alone = true;
                }
                None => {
                    say(&no_such_message(key));
                    self.left_alone = true;
                }
            }
        }
    }

    fn push(&mut self, info: &StoredInfo) {
        self.keys.push(info.key);
        let why = info.quarantine.map(|it| it.why);
        self.uncertain += u64::from(why == Some(QuarantineReason::Uncertain));
    }

    /// Accepts each message again, behind all others, and ends the one in quarantine in the same frame.
    fn retry(&mut self, mut store: OpenedStore) -> Result<(), OutboxEnd> {
        let first = store.next_key();
        let mut batch = Batch::new();
        let mut retried = Vec::new();
        for &key in &self.keys {
            let now = store.now();
            let message = match store.read(key) {
                Some(Ok(message)) if is_expired(message.expires_at, now) => {
                    say(&format!(
                        "message {key} can no longer be sent in time, and stays; drop it"
                    ));
                    self.left_alone = true;
                    continue;
                }
                Some(Ok(message)) => message,
                Some(Err(_)) => {
                    say(&format!(
                        "message {key} cannot be read, and stays; 'ferromqtt outbox check' says why"
                    ));
                    self.left_alone = true;
                    continue;
                }
                None => continue, // nobody else has the store: it was there
            };
            let new_key = first + retried.len() as u64;
            retried.push(key);
            let expires_at = message.expires_at;
            let accepted = accept(
                new_key,
                message.publish,
                expires_at,
                message.keep_latest,
                now,
            );
            let how = EndedHow::Requeued;
            let added = batch.add(&mut store, [accepted, StoreChange::Ended { key, how }]);
            added.map_err(|error| failed(&error, &batch))?;
        }
        let recorded = batch.record(&mut store);
        recorded.map_err(|error| failed(&error, &batch))?;
        store.close()?;
        if retried.is_empty() {
            return print_done("nothing to do");
        }
        let new_keys: Vec<_> = (first..).take(retried.len()).collect();
        let (old, new) = (key_list(&retried), key_list(&new_keys));
        let messages = count(retried.len() as u64, "message");
        print_done(&format!("retried {messages}: {old} as {new}"))
    }
}

fn failed(error: &ferromqtt_store::StoreError, batch: &Batch) -> OutboxEnd {
    OutboxEnd::Failed(format!("{error}; retried {}", batch.progress(error)))
}

/// What is said of a key that no message has.
pub(super) fn no_such_message(key: u64) -> String {
    format!("there is no message {key}: it has ended, or never was")
}
