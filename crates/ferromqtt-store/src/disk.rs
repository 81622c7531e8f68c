//! What a log needs of files. [`FolderDisk`](crate::FolderDisk) has them; tests have a disk that loses what was not synced.

use std::fmt;
use std::io;

use bytes::Bytes;
use thiserror::Error;

/// A segment's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    /// Its number, from 1.
    pub number: u32,
    /// Its length, in bytes.
    pub length: u64,
}

/// The files of a log: one for each segment, in one folder.
///
/// Calls block. An operation that fails has done all, a part or nothing of what it was asked for.
pub trait Disk {
    /// The segments that there are, by their numbers.
    ///
    /// # Errors
    /// The folder cannot be read.
    fn segments(&mut self) -> io::Result<Vec<SegmentFile>>;

    /// Makes an empty file. It is lost at a power cut until [`sync_folder`](Self::sync_folder).
    ///
    /// # Errors
    /// It cannot be made, or is there already.
    fn create(&mut self, segment: u32) -> io::Result<()>;

    /// Writes at the end of a file.
    ///
    /// # Errors
    /// A part may have been written.
    fn append(&mut self, segment: u32, bytes: &[u8]) -> io::Result<()>;

    /// Cuts a file to `length` bytes.
    ///
    /// # Errors
    /// It cannot be cut.
    fn truncate(&mut self, segment: u32, length: u64) -> io::Result<()>;

    /// Returns once the bytes of a file survive a power cut.
    ///
    /// # Errors
    /// Any of the bytes since the last sync that succeeded may be lost, also if another sync succeeds.
    fn sync(&mut self, segment: u32) -> io::Result<()>;

    /// Returns once files that were made and removed stay so after a power cut.
    ///
    /// # Errors
    /// They may come back, or go.
    fn sync_folder(&mut self) -> io::Result<()>;

    /// Removes a file. It may come back at a power cut until [`sync_folder`](Self::sync_folder).
    ///
    /// # Errors
    /// It cannot be removed; no file is no error.
    fn remove(&mut self, segment: u32) -> io::Result<()>;

    /// Reads up to `length` bytes from `offset` on: fewer where the file ends.
    ///
    /// # Errors
    /// They cannot be read.
    fn read(&mut self, segment: u32, offset: u64, length: usize) -> io::Result<Bytes>;

    /// Keeps a copy of a segment with damage aside, for people to look at.
    ///
    /// # Errors
    /// It cannot be copied. That is no reason to stop.
    fn keep_damaged(&mut self, segment: u32) -> io::Result<()>;
}

/// What was done to a file when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskOperation {
    /// Making the folder, or setting who may read it.
    MakeFolder,
    /// Taking the lock.
    Lock,
    /// Listing the folder.
    List,
    /// Making a segment.
    Create,
    /// Writing.
    Write,
    /// Syncing a segment.
    Sync,
    /// Syncing the folder.
    SyncFolder,
    /// Reading.
    Read,
    /// Starting the thread that owns the files.
    StartThread,
}

impl fmt::Display for DiskOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MakeFolder => "make the folder",
            Self::Lock => "lock the folder",
            Self::List => "list the folder",
            Self::Create => "make a segment",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::SyncFolder => "sync the folder",
            Self::Read => "read",
            Self::StartThread => "start the thread of the store",
        })
    }
}

/// An operation on a file that has failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("cannot {operation}{}: {reason}", of_segment(*.segment))]
pub struct DiskError {
    /// What was tried.
    pub operation: DiskOperation,
    /// The segment, if it was one.
    pub segment: Option<u32>,
    /// What went wrong.
    pub kind: io::ErrorKind,
    /// The same as the operating system says it.
    pub reason: String,
}

fn of_segment(segment: Option<u32>) -> String {
    segment.map_or_else(String::new, |segment| format!(" (segment {segment:08})"))
}

impl DiskError {
    /// An operation that the operating system has refused.
    pub fn new(operation: DiskOperation, segment: Option<u32>, error: &io::Error) -> Self {
        Self {
            operation,
            segment,
            kind: error.kind(),
            reason: error.to_string(),
        }
    }

    /// Whether the disk is full, which may pass.
    pub fn is_full(&self) -> bool {
        matches!(
            self.kind,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}
