//! Identifiers of received QoS 2 messages that the application keeps, with what it has done with the messages
//! (`docs/design/0065-identifiers-of-the-application.md`).

use super::Client;
use crate::session::JournalEntry;

impl Client {
    /// Sets whether the application keeps the Packet Identifiers of received QoS 2 messages, in a store of its own: one that
    /// commits an identifier together with what was done with its message has handled the message exactly once. To be called
    /// before [`connect`](Self::connect). It lasts until it is changed.
    ///
    /// The application puts the identifier of a message on record before it
    /// [acknowledges](Self::acknowledge) it, and takes the changes that
    /// [`poll_identifier_change`](Self::poll_identifier_change) returns. What would make the server use an identifier for
    /// another message, while the application still has it, waits for
    /// [`identifiers_written`](Self::identifiers_written): PUBCOMP, also for a message that an earlier process has received;
    /// CONNECT; and, after a lost session, all packets but PINGREQ, AUTH and DISCONNECT. The
    /// client does not know what the application has. So a message that comes again is handed out again, unless this process
    /// has acknowledged it.
    ///
    /// With [`Options::journal`](crate::Options::journal) the store keeps what is sent, and nothing of what is received: it is
    /// told that no identifier is remembered.
    pub fn keep_identifiers(&mut self, keep: bool) {
        self.session.journal.keep(keep);
    }

    /// The next change of identifiers that the application [keeps](Self::keep_identifiers). Drain it after every call, and
    /// before messages are taken; the changes are to be made in their order, and before those that messages cause which
    /// come later. They are:
    ///
    /// - [`Connecting`](crate::SessionChange::Connecting) and [`Resumed`](crate::SessionChange::Resumed). While the first is on
    ///   record and no other change has answered it, the server may be in another session than the one in which an identifier
    ///   was put on record. A message without the DUP flag under such an identifier is a new one.
    /// - [`SessionLost`](crate::SessionChange::SessionLost): no identifier means anything any more. Messages that were received
    ///   before it, and are not handled yet, come before it: only the identifiers on record say which of them were handled in
    ///   an earlier copy. None comes behind it until it is on record.
    /// - [`Released`](crate::SessionChange::Released): this one does not. It may be unknown.
    pub fn poll_identifier_change(&mut self) -> Option<JournalEntry> {
        self.session.journal.poll_kept()
    }

    /// The application has on record all changes up to the one numbered `sequence`: the packets that depend on them may leave.
    pub fn identifiers_written(&mut self, sequence: u64) {
        self.session.journal.set_kept(sequence);
        self.release_held();
    }
}
