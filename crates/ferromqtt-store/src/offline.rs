//! Changing a store without its thread: for tools, which wait for the disk.

use crate::change::StoreChange;
use crate::error::StoreError;
use crate::log::LogError;
use crate::log_store::OpenedStore;
use crate::owner::wall_clock;
use crate::recovery::Damage;

impl OpenedStore {
    /// Records changes as one frame, so that a crash leaves all of them or none, and waits until they are on the disk whatever the
    /// [sync level](crate::StoreSync). Keep a frame to a few megabytes: it is read as a whole again.
    ///
    /// # Errors
    /// The disk is full ([`DiskError::is_full`](crate::DiskError::is_full)): nothing was recorded. Or the disk has failed: then it is
    /// not known whether the changes are on record, and every later call fails; open the store again to find out.
    pub fn record(&mut self, changes: &[StoreChange]) -> Result<(), StoreError> {
        let recorded = self.log.append(wall_clock(), changes);
        recorded
            .and_then(|()| self.log.sync())
            .map_err(|error| self.failed(error))?;
        match self.log.tidy() {
            // Removing files is not urgent.
            Ok(_) | Err(LogError::Full(_)) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Damage that was found when the store was opened, and that no owner has reported before. It counts as reported once
    /// [`record`](Self::record) has written: whoever calls that reports it.
    pub fn new_damages(&self) -> &[Damage] {
        self.log.new_damages()
    }

    /// Removes files that are not needed and ends the log, so that it is opened quickly, and gives the store back. Dropping the
    /// store gives it back too, and does nothing else.
    ///
    /// # Errors
    /// The disk has failed. All that was recorded is on it.
    pub fn close(mut self) -> Result<(), StoreError> {
        let tidied = match self.log.tidy_now() {
            Ok(_) | Err(LogError::Full(_)) => Ok(()),
            Err(error) => Err(error),
        };
        (tidied.and_then(|()| self.log.seal())).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: LogError) -> StoreError {
        let (LogError::Full(error) | LogError::Failed(error)) = error;
        StoreError::disk(self.path.clone(), error)
    }
}
