//! Store.

mod active;
mod change;
mod disk;
mod entries;
mod fields;
mod frame;
mod log;
mod read;
mod record;
mod recovery;
mod state;
mod survey;

pub use change::StoreChange;
pub use disk::{Disk, DiskError, DiskOperation, SegmentFile};
pub use frame::{FRAME_HEADER, FrameAt, FrameHeader, TRAILER};
pub use log::{Log, LogError, SEGMENT_SIZE};
pub use read::{ReadError, StoreStats, StoredInfo, StoredPublish};
pub use record::{
    AcceptedMessage, EndedHow, LogRecord, PlacedMessage, QuarantineReason, SendState,
    StoreCounters, StoreIdentity,
};
pub use recovery::{Damage, RecoveryError};
pub use state::{Quarantine, topic_hash};
