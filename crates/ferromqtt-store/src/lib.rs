//! A durable store for an MQTT client: its outgoing messages and its session survive `kill -9` and power loss.
//!
//! A [`LogStore`] keeps them in a folder, in a log of segments that are only appended to. [`Store`] is what a driver needs of it,
//! and no call of that waits for a disk: entries are [submitted](Store::submit), a thread writes all that has come as one frame
//! and syncs it, and a [waker](StoreWaker) says how far it has [come](StoreMarks). Payloads stay on the disk until they are
//! [fetched](Store::fetch).
//!
//! The clients of `ferromqtt` use this crate by themselves. You need it to read a store ([`StoreReader`]), or to put another
//! store below a client.
//!
//! # Example
//! ```
//! use std::sync::Arc;
//! use std::sync::mpsc::channel;
//!
//! use ferromqtt_proto::{Publish, QoS, SessionChange};
//! use ferromqtt_store::{LogStore, Store, StoreChange, StoreEntry, StoreOptions, StoreReader};
//!
//! # let folder = std::env::temp_dir().join(format!("ferromqtt-store-doc-{}", std::process::id()));
//! let opened = LogStore::open(&folder, StoreOptions::new().client_identifier("pump-7"))?;
//! let key = opened.next_key();
//! let (wake, woken) = channel();
//! let wake = std::sync::Mutex::new(wake);
//! let store = opened.start(Some(Arc::new(move || {
//!     let _ = wake.lock().map(|wake| wake.send(()));
//! })))?;
//!
//! let publish = Publish {
//!     topic: "site/7/level".parse()?,
//!     payload: "28.4".into(),
//!     qos: QoS::AtLeastOnce,
//!     retain: false,
//!     properties: None,
//! };
//! let accepted = SessionChange::Accepted { key, publish, expires_in: None, keep_latest: false };
//! let entry = StoreEntry { change: StoreChange::Session(accepted), mark: None };
//! let ticket = store.submit(entry).map_err(|(_, error)| error)?;
//! while store.marks().on_record < ticket {
//!     woken.recv()?;
//! }
//! // On the disk. Anyone may look, also while the store is open.
//! let mut reader = StoreReader::open(&folder)?;
//! assert_eq!(reader.read(key).unwrap().unwrap().publish.payload, "28.4");
//! # store.close_and_wait();
//! # std::fs::remove_dir_all(folder)?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # What survives what
//! | [`StoreSync`] | `kill -9` | power loss | an entry on record is |
//! | --- | --- | --- | --- |
//! | `Always` | all on record | all on record | on the disk |
//! | `Interval` | all on record | but for the last interval | written |
//! | `Never` | all on record | but for the segment that is written to | written |
//!
//! After a crash the store holds what some number of the first entries make: all that are on record, and perhaps some more.
//! Damage, bytes that the disk gives back in another form, never stops it from being opened. What is lost is counted and
//! [reported](StoreEvent), and told apart from what a power cut leaves.
//!
//! # Map
//! The page `docs/store-format.md` has the format; `docs/design/0062-store.md` has the reasons.
//!
//! | What | Where |
//! | --- | --- |
//! | sans-IO: changes, records, frames | `change.rs`, `record.rs` with `record/coding.rs`, `fields.rs`, `frame.rs` |
//! | their state, and the log that writes them | `state.rs`, `entries.rs`, `log.rs` with `log/upkeep.rs`, `active.rs`, `read.rs` |
//! | from files to the state | `scan.rs` (frames among bytes), `survey.rs` (one segment), `recovery.rs` (all of them) |
//! | what a log needs of files | `disk.rs`; `folder.rs` has it |
//! | the thread and its handle | `store.rs` (the trait), `log_store.rs`, `shared.rs`, `owner.rs` |
//! | without the thread | `offline.rs` |
//! | beside the owner | `lock.rs`, `reader.rs`, `commands.rs`, `check.rs` |

#[cfg(test)]
extern crate self as ferromqtt_store; // for what is shared with the tests beside

mod active;
mod change;
mod check;
mod commands;
mod disk;
mod entries;
mod error;
mod fields;
mod folder;
mod frame;
mod lock;
mod log;
mod log_store;
mod offline;
mod owner;
mod read;
mod reader;
mod record;
mod recovery;
mod scan;
mod shared;
mod state;
mod store;
mod survey;

pub use change::StoreChange;
pub use check::{StoreCheck, StoreFinding};
pub use commands::{StoreCommand, give_commands};
pub use disk::{Disk, DiskError, DiskOperation, SegmentFile};
pub use error::StoreError;
pub use ferromqtt_proto::QuarantineReason;
pub use folder::FolderDisk;
pub use frame::{FRAME_HEADER, FrameAt, FrameHeader, TRAILER};
pub use lock::{StoreOwner, store_owner};
pub use log::{LogError, SEGMENT_SIZE, StoreLog};
pub use log_store::{LogStore, OpenedStore, StoreOptions, StoreSync};
pub use read::{ReadError, StoreStats, StoredInfo, StoredPublish};
pub use reader::StoreReader;
pub use record::{
    AcceptedMessage, EndedHow, LogRecord, PlacedMessage, SendState, StoreCounters, StoreIdentity,
};
pub use recovery::{Damage, RecoveryError};
pub use state::{Quarantine, topic_hash};
pub use store::{
    FetchRequest, FetchedMessage, Store, StoreEntry, StoreEvent, StoreMarks, StoreWaker,
    SubmitError,
};
