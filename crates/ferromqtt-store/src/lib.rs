//! Store.

mod active;
mod change;
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
mod owner;
mod read;
mod reader;
mod record;
mod recovery;
mod shared;
mod state;
mod store;
mod survey;

pub use change::StoreChange;
pub use commands::{StoreCommand, give_commands};
pub use disk::{Disk, DiskError, DiskOperation, SegmentFile};
pub use error::StoreError;
pub use folder::FolderDisk;
pub use frame::{FRAME_HEADER, FrameAt, FrameHeader, TRAILER};
pub use log::{Log, LogError, SEGMENT_SIZE};
pub use log_store::{LogStore, OpenedStore, StoreOptions, StoreSync};
pub use read::{ReadError, StoreStats, StoredInfo, StoredPublish};
pub use reader::StoreReader;
pub use record::{
    AcceptedMessage, EndedHow, LogRecord, PlacedMessage, QuarantineReason, SendState,
    StoreCounters, StoreIdentity,
};
pub use recovery::{Damage, RecoveryError};
pub use state::{Quarantine, topic_hash};
pub use store::{
    FetchRequest, FetchedMessage, Store, StoreDirection, StoreEntry, StoreEvent, StoreMarks,
    StoreWaker, SubmitError,
};
