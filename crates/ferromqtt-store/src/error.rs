//! Why a store cannot be opened, or takes nothing more.

use std::path::PathBuf;

use ferromqtt_proto::shown::peer_text;
use thiserror::Error;

use crate::disk::DiskError;
use crate::recovery::RecoveryError;

/// Why a store cannot be opened, or has stopped. Damage is no reason for either.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another program, or another client of this one, has the store.
    #[error(
        "the store {} is in use by {holder}: close it there, or choose another folder", path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Who has it, as it says itself.
        holder: String,
    },
    /// The disk has failed. A store that was open has tried another file before it gave up.
    #[error("the store {}: {error}: check the disk, and who may write to the folder", path.display())]
    Disk {
        /// The folder.
        path: PathBuf,
        /// What has failed.
        error: DiskError,
    },
    /// A later version of this library has written the store.
    #[error(
        "the store {} has version {version} of the format, and this library reads version 1: update it", path.display()
    )]
    NewerVersion {
        /// The folder.
        path: PathBuf,
        /// The version of the format.
        version: char,
    },
    /// The store holds the session of another Client Identifier.
    #[error(
        "the store {} holds the session of client '{}', and not of '{}': choose another folder for that client",
        path.display(), peer_text(recorded, &[]), peer_text(given, &[])
    )]
    OtherClient {
        /// The folder.
        path: PathBuf,
        /// The Client Identifier on record.
        recorded: String,
        /// The Client Identifier that was given.
        given: String,
    },
}

impl StoreError {
    pub(crate) const fn disk(path: PathBuf, error: DiskError) -> Self {
        Self::Disk { path, error }
    }

    pub(crate) fn recovery(path: PathBuf, error: RecoveryError) -> Self {
        match error {
            RecoveryError::Disk(error) => Self::Disk { path, error },
            RecoveryError::NewerVersion(version) => Self::NewerVersion { path, version },
        }
    }
}
