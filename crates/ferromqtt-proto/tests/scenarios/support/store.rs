//! What a store would hold of a client's session.

use ferromqtt_proto::{
    JournalEntry, Options, Properties, ProtocolVersion, Publish, QoS, Session, SessionChange,
    TopicName,
};

use super::*;

pub(crate) fn journaled(version: ProtocolVersion) -> Options {
    let mut options = resuming(version);
    options.journal = true;
    options
}

/// What a store would hold.
#[derive(Clone, Default)]
pub(crate) struct Store {
    pub(crate) entries: Vec<JournalEntry>,
}

impl Store {
    /// Takes what the client has to record, and does not say that it is written.
    pub(crate) fn collect(&mut self, pair: &mut Pair) -> Vec<SessionChange> {
        let before = self.entries.len();
        while let Some(entry) = pair.client.poll_journal() {
            if let Some(last) = self.entries.last() {
                assert_eq!(entry.sequence, last.sequence + 1, "without a gap");
            }
            self.entries.push(entry);
        }
        (self.entries[before..].iter())
            .map(|entry| entry.change.clone())
            .collect()
    }

    /// Takes it, and writes it.
    pub(crate) fn write(&mut self, pair: &mut Pair) -> Vec<SessionChange> {
        let changes = self.collect(pair);
        if let Some(last) = self.entries.last() {
            pair.client.journal_written(last.sequence);
        }
        pair.pump();
        changes
    }

    /// The session that the first `count` entries make.
    pub(crate) fn session(&self, count: usize) -> Session {
        restore(self.entries[..count].iter().cloned())
    }
}

/// The session that these entries make.
pub(crate) fn restore(entries: impl IntoIterator<Item = JournalEntry>) -> Session {
    Session::restore(resuming(V5).client_identifier, 1, entries)
}

/// The key of the message that changes.
pub(crate) fn key(change: &SessionChange) -> Option<u64> {
    match change {
        SessionChange::Accepted { key, .. }
        | SessionChange::Publishing { key, .. }
        | SessionChange::Sending { key, .. }
        | SessionChange::Releasing { key }
        | SessionChange::Finished { key } => Some(*key),
        _ => None,
    }
}

/// A connected client, and the store, which has what connecting changed.
pub(crate) fn connected(options: Options) -> (Pair, Store) {
    let mut store = Store::default();
    let mut pair = Pair::new(options);
    pair.connect();
    store.write(&mut pair);
    pair.accept(false, Properties::default());
    store.write(&mut pair);
    pair.events();
    (pair, store)
}

/// A new process with a session that was recorded; the server resumes it.
pub(crate) fn resumed(options: Options, session: Session) -> Pair {
    let mut pair = Pair::with_session(options, session);
    pair.connect();
    pair.accept(true, Properties::default());
    pair.events();
    pair
}

pub(crate) fn publish(payload: &'static str, qos: QoS) -> Publish {
    let mut publish = Publish::new(TopicName::new("t").unwrap(), payload);
    publish.qos = qos;
    publish
}

/// The key of the one message that goes out, whose identifier and content must be these.
pub(crate) fn key_of(changes: &[SessionChange], packet_id: u16, publish: &Publish) -> u64 {
    match changes {
        [
            SessionChange::Publishing {
                key,
                packet_id: recorded,
                publish: message,
            },
        ] if *recorded == id(packet_id) && message == publish => *key,
        other => panic!("{other:?}"),
    }
}
