//! Going through the messages of an outbox, whose owner may go on meanwhile.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ferromqtt_store::{ReadError, StoreReader, StoredInfo, StoredPublish};

use super::output::OutboxEnd;

/// How many messages are looked up at a time.
const CHUNK: usize = 256;

/// How often a message is looked for again that its owner has moved or ended.
const ATTEMPTS: u32 = 20;

/// A message that has not ended.
pub(crate) struct ListedMessage {
    pub(crate) info: StoredInfo,
    /// What it says, or why that cannot be read.
    pub(crate) content: Result<StoredPublish, ReadError>,
}

/// The messages that there were at the start, by their keys. One that ends meanwhile is left out from then on.
pub(crate) struct Listing {
    path: PathBuf,
    reader: StoreReader,
    chunk: VecDeque<StoredInfo>,
    /// From which key on; `None` behind the largest there is.
    next: Option<u64>,
    /// The last key when it was opened: messages that come meanwhile would be without end.
    last: u64,
    attempts: u32,
}

impl Listing {
    pub(crate) fn open(path: &Path) -> Result<Self, OutboxEnd> {
        super::expect_store(path)?;
        let reader = StoreReader::open(path)?;
        Ok(Self {
            path: path.to_owned(),
            last: reader.messages().last().map_or(0, |it| it.key),
            reader,
            chunk: VecDeque::new(),
            next: Some(0),
            attempts: ATTEMPTS,
        })
    }

    /// The time by which messages expire, in milliseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        self.reader.now()
    }

    /// What is known of the message with this key, if it has not ended.
    pub(crate) fn info(&self, key: u64) -> Option<StoredInfo> {
        let from = self.reader.messages_from(key).next();
        from.filter(|info| info.key == key)
    }

    /// The next message that `wants` takes by what is known of it without reading it. Contents are not read.
    pub(crate) fn next_info(&mut self, wants: impl Fn(&StoredInfo) -> bool) -> Option<StoredInfo> {
        loop {
            if self.chunk.is_empty() {
                let found = self.reader.messages_from(self.next?);
                let found = found.take_while(|info| info.key <= self.last);
                self.chunk = found.take(CHUNK).collect();
            }
            let info = self.chunk.pop_front()?;
            self.next = info.key.checked_add(1);
            if wants(&info) {
                return Some(info);
            }
        }
    }

    /// The same with what the message says.
    pub(crate) fn next(
        &mut self,
        wants: impl Fn(&StoredInfo) -> bool,
    ) -> Result<Option<ListedMessage>, OutboxEnd> {
        while let Some(info) = self.next_info(&wants) {
            match self.reader.read(info.key) {
                // The owner has removed the file: the message has ended, or stands elsewhere now.
                Some(Err(ReadError::Disk(error))) if error.kind == ErrorKind::NotFound => {
                    if self.attempts == 0 {
                        self.attempts = ATTEMPTS;
                        continue;
                    }
                    self.attempts -= 1;
                    self.reader = StoreReader::open(&self.path)?;
                    self.chunk.clear();
                    self.next = Some(info.key);
                }
                Some(content) => {
                    self.attempts = ATTEMPTS;
                    return Ok(Some(ListedMessage { info, content }));
                }
                None => {}
            }
        }
        Ok(None)
    }
}
