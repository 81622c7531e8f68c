//! The file of a recording, which one recorder writes at a time.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that is made or emptied, and taken from then on until it is flushed or dropped: two recorders on one file would write
/// over each other. Writing takes it again.
pub(crate) struct RecordingFile {
    file: File,
    path: PathBuf,
    /// A pipe or a terminal can neither be taken nor emptied.
    is_regular: bool,
    is_taken: bool,
    /// How long it is if nobody else has written to it.
    length: u64,
}

impl RecordingFile {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false) // before it is known to be free
            .open(path)?;
        let mut created = Self {
            is_regular: file.metadata()?.is_file(),
            file,
            path: path.to_owned(),
            is_taken: false,
            length: 0,
        };
        created.take()?;
        if created.is_regular {
            created.file.set_len(0)?;
        }
        Ok(created)
    }

    fn take(&mut self) -> io::Result<()> {
        if self.is_regular && !self.is_taken && !try_lock(&self.file) {
            return Err(self.refusal("another recorder writes to it"));
        }
        self.is_taken = true;
        Ok(())
    }

    /// Takes it again after a flush, if nobody else had it meanwhile.
    fn take_again(&mut self) -> io::Result<()> {
        self.take()?;
        if self.is_regular && self.file.metadata()?.len() != self.length {
            return Err(self.refusal("it was written to since this recorder finished"));
        }
        Ok(())
    }

    fn refusal(&self, why: &str) -> io::Error {
        let path = self.path.display();
        let text = format!(
            "cannot record to {path}: {why}; give each recorder a file of its own, or share one Recorder in Rust"
        );
        io::Error::new(io::ErrorKind::ResourceBusy, text)
    }
}

impl Write for RecordingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_taken {
            self.take_again()?;
        }
        let written = self.file.write(bytes)?;
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()?;
        if self.is_regular && self.is_taken {
            unlock(&self.file);
        }
        self.is_taken = false;
        Ok(())
    }
}

/// Locks the open file, for this process and others. A file system that has no locks does not keep anybody from recording.
#[cfg(unix)]
fn try_lock(file: &File) -> bool {
    fs4::fs_std::FileExt::try_lock_exclusive(file).unwrap_or(true)
}

#[cfg(unix)]
fn unlock(file: &File) {
    let _ = fs4::fs_std::FileExt::unlock(file); // one that cannot be unlocked was not locked
}

/// Elsewhere a lock would also keep readers away.
#[cfg(not(unix))]
const fn try_lock(_: &File) -> bool {
    true
}

#[cfg(not(unix))]
const fn unlock(_: &File) {}
