//! The warnings that the queue of received messages grows long. As aiomqtt's it has no bound of its own.

use ferromqtt_proto::{Client, QueueId};

/// When a queue is so long that its reader may have been forgotten.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backlog {
    /// This many messages.
    pub(crate) messages: usize,
    /// This many bytes of memory, as the core counts them.
    pub(crate) bytes: usize,
    warned_of_messages: bool,
    warned_of_bytes: bool,
}

impl Default for Backlog {
    fn default() -> Self {
        Self {
            messages: 100_000,
            bytes: 1 << 30,
            warned_of_messages: false,
            warned_of_bytes: false,
        }
    }
}

impl Backlog {
    /// A connection begins: each warning may come once on it.
    pub(crate) const fn begin(&mut self) {
        self.warned_of_messages = false;
        self.warned_of_bytes = false;
    }

    /// The messages and bytes in the queue, when there is something to warn of. A number of messages that the user has set a
    /// limit to is none.
    pub(crate) fn grown(&mut self, client: &Client) -> Option<(usize, usize)> {
        let messages = client.queue_len(QueueId::DEFAULT);
        let bytes = client.queue_bytes(QueueId::DEFAULT);
        let many = messages >= self.messages && client.options().incoming.limit.is_none();
        let large = bytes >= self.bytes;
        let is_news = many && !self.warned_of_messages || large && !self.warned_of_bytes;
        self.warned_of_messages |= many;
        self.warned_of_bytes |= large;
        is_news.then_some((messages, bytes))
    }
}
