//! The option for messages that outlive the program.

use ferromqtt_outbox::OpenedOutbox;
use tokio::task::spawn_blocking;

use super::Options;
use crate::{ConnectError, Outbox};

impl Options {
    /// Keeps the outgoing messages and the session in a folder, so that they survive the end of the program: an [`Outbox`].
    /// Default: none.
    ///
    /// [`enqueue`](crate::Publish::enqueue) and [`try_enqueue`](crate::Publish::try_enqueue) accept messages into it, also while
    /// there is no connection, and [`Receipt::stored`](crate::Receipt::stored) waits until one is on the disk. A later connection
    /// with the same folder sends what is left, and resends what was on its way. It takes the place of an
    /// [outgoing queue](Self::outgoing_queue), whose documentation holds for it too, with its own bounds; when no connection follows,
    /// each message that is left is kept, and its receipt ends as [`PublishError::Kept`](crate::PublishError::Kept).
    ///
    /// - The session is resumed: [`CleanStart::FirstOnly`](crate::CleanStart::FirstOnly), the default, is taken for
    ///   [`Never`](crate::CleanStart::Never). With [`Always`](crate::CleanStart::Always), or a Session Expiry Interval of 0, a QoS 2
    ///   message is refused as [`InvalidPublish::SessionTooShort`](crate::InvalidPublish::SessionTooShort), since the session does
    ///   not outlive the program.
    /// - On 5.0 the Session Expiry Interval is at least [`Outbox::max_age`], unless it is given.
    /// - Without a [Client Identifier](Self::client_identifier) one is made, and kept in the folder.
    /// - A connection opens the folder, and has it until it has ended: [`ConnectError::Outbox`] says who has it otherwise.
    ///   [`Connection::start`](crate::Connection::start) does not wait for a server.
    ///
    /// ```no_run
    /// use ferromqtt::{Connection, Error, Options, Outbox, QoS, Reconnect};
    ///
    /// # async fn example() -> Result<(), Error> {
    /// let patient = Reconnect { initial: true, ..Reconnect::default() };
    /// let options = Options::new("localhost", 1883).reconnect(patient).outbox(Outbox::new("data/outbox"));
    /// let connection = Connection::start(options).await?; // also where there is no network
    /// let client = connection.client();
    /// let level = client.publish("site/7/level", "28.4").qos(QoS::AtLeastOnce);
    /// let receipt = level.enqueue().await?;
    /// receipt.stored().await?; // it survives now
    /// receipt.await?; // the server has it
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn outbox(mut self, outbox: Outbox) -> Self {
        self.outbox = Some(outbox);
        self
    }

    /// Opens the outbox, if there is one, on a thread for what blocks.
    pub(crate) async fn open_outbox(&self) -> Result<Option<OpenedOutbox>, ConnectError> {
        let Some(outbox) = self.outbox.clone() else {
            return Ok(None);
        };
        let identifier = self.client_identifier.clone();
        let opened = spawn_blocking(move || outbox.open(&identifier)).await;
        match opened {
            Ok(opened) => Ok(Some(opened?)),
            Err(error) => std::panic::resume_unwind(error.into_panic()), // nobody cancels it
        }
    }
}
