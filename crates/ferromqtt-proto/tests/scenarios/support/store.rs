//! What a store would hold of a client's session.

use ferromqtt_proto::{
    Direction, JournalEntry, Options, Properties, ProtocolVersion, Publish, QoS, Session,
    SessionChange, TopicName,
};

use super::*;

pub(crate) fn journaled(version: ProtocolVersion) -> Options {
    let mut options = resuming(version);
    options.journal = true;
    options
}

pub(crate) const DIRECTIONS: [Direction; 2] = [Direction::Sent, Direction::Received];

/// The server has lost the session, as both rows say.
pub(crate) fn session_lost() -> [SessionChange; 2] {
    DIRECTIONS.map(|direction| SessionChange::SessionLost { direction })
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
            if let Some(last) = self.last(entry.direction()) {
                assert_eq!(entry.sequence, last + 1, "without a gap");
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
        for direction in DIRECTIONS {
            self.write_row(pair, direction);
        }
        changes
    }

    /// Writes what it has taken of one direction.
    pub(crate) fn write_row(&self, pair: &mut Pair, direction: Direction) {
        if let Some(last) = self.last(direction) {
            pair.client.journal_written(direction, last);
        }
        pair.pump();
    }

    /// The number of the last entry of a direction.
    pub(crate) fn last(&self, direction: Direction) -> Option<u64> {
        let mut of_row = self.entries.iter().rev();
        let last = of_row.find(|entry| entry.direction() == direction)?;
        Some(last.sequence)
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

/// Changes as the first entries of a record.
pub(crate) fn entries(changes: impl IntoIterator<Item = SessionChange>) -> Vec<JournalEntry> {
    let mut store = Store::default();
    for change in changes {
        let sequence = store.last(change.direction()).unwrap_or(0) + 1;
        let holds = false;
        (store.entries).push(JournalEntry {
            sequence,
            change,
            holds,
        });
    }
    store.entries
}

/// The key of the message that changes.
pub(crate) fn key(change: &SessionChange) -> Option<u64> {
    match change {
        SessionChange::Accepted { key, .. }
        | SessionChange::Publishing { key, .. }
        | SessionChange::Sending { key, .. }
        | SessionChange::Releasing { key }
        | SessionChange::Uncertain { key }
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
    resumed_on(options, session, &mut Store::default())
}

/// The same, whose record goes on in this store.
pub(crate) fn resumed_on(options: Options, session: Session, store: &mut Store) -> Pair {
    let mut pair = Pair::with_session(options, session);
    pair.connect();
    store.write(&mut pair); // CONNECT may wait for that
    pair.accept(true, Properties::default());
    store.collect(&mut pair);
    pair.events();
    pair
}

/// Cuts the connection, and accepts the next one, whose CONNECT may wait for the record. Of what is sent nothing is written.
pub(crate) fn reconnect(pair: &mut Pair, store: &mut Store, session_present: bool) {
    pair.cut();
    pair.wait_for_transport();
    store.collect(pair);
    store.write_row(pair, Direction::Received);
    pair.accept(session_present, Properties::default());
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
