//! The lock of a store: one owner at a time.
//!
//! It is a lock of the open file (`flock`), and never a POSIX record lock: those belong to the process, and any close of the
//! file in it drops them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ferromqtt_proto::shown::peer_text;
use fs4::fs_std::FileExt;

use crate::folder::private_file;

/// How much of a lock's text is read.
const LONGEST_TEXT: u64 = 1_000;

/// How often a lock that is held is tried again: [`store_owner`] holds it for an instant, to find out whether anyone does.
const ATTEMPTS: u32 = 5;

/// How long between two of these.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(10);

/// Held until it is dropped, or the process ends.
#[derive(Debug)]
pub(crate) struct FolderLock {
    file: File,
}

/// Why there is no lock.
pub(crate) enum LockError {
    /// Who has it.
    Held(StoreOwner),
    Disk(io::Error),
}

impl FolderLock {
    /// The file that holds it.
    #[cfg(unix)]
    pub(crate) fn descriptor(&self) -> i32 {
        std::os::fd::AsRawFd::as_raw_fd(&self.file)
    }

    /// Takes the lock of the store in a folder, and writes into it who has it.
    pub(crate) fn take(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join("lock");
        let mut file = (private_file().read(true).write(true).create(true))
            .truncate(false)
            .open(path)
            .map_err(LockError::Disk)?;
        let mut attempts = ATTEMPTS;
        while !FileExt::try_lock_exclusive(&file).map_err(LockError::Disk)? {
            attempts -= 1;
            if attempts == 0 {
                return Err(LockError::Held(StoreOwner::read(&mut file)));
            }
            thread::sleep(BETWEEN_ATTEMPTS);
        }
        // The text is for people. Without it the lock is as good.
        let _ = file
            .set_len(0)
            .and_then(|()| file.write_all(myself().as_bytes()));
        Ok(Self { file })
    }
}

fn myself() -> String {
    let program = std::env::current_exe();
    let program = program.as_ref().ok().and_then(|path| path.file_name());
    let program = program.map_or_else(|| "?".into(), |name| name.to_string_lossy());
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.map_or(0, |it| it.as_secs());
    format!("{} {since} {program}\n", std::process::id())
}

/// Who has a store open, as that program has written into the lock. All of it is absent when the lock was taken by something else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreOwner {
    /// The process.
    pub process: Option<u32>,
    /// Since when, in seconds since 1970.
    pub since: Option<u64>,
    /// The file name of the program, fit for one line.
    pub program: Option<String>,
}

impl StoreOwner {
    fn read(file: &mut File) -> Self {
        let mut text = String::new();
        let _ = file.take(LONGEST_TEXT).read_to_string(&mut text);
        let mut words = text.trim().splitn(3, ' ');
        let (process, since) = (words.next(), words.next());
        Self {
            process: process.and_then(|it| it.parse().ok()),
            since: since.and_then(|it| it.parse().ok()),
            program: words.next().map(|it| peer_text(it, &[])),
        }
    }
}

impl fmt::Display for StoreOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(process) = self.process else {
            return f.write_str("another process");
        };
        write!(f, "process {process}")?;
        match &self.program {
            _ if process == std::process::id() => f.write_str(" (this program)"),
            Some(program) => write!(f, " ({program})"),
            None => Ok(()),
        }
    }
}

/// Who has the store in `folder` open; `None` when nobody has. It may be otherwise as soon as this returns.
///
/// # Errors
/// The lock cannot be opened or tried. A folder without a lock has no owner.
pub fn store_owner(folder: &Path) -> io::Result<Option<StoreOwner>> {
    let mut file = match File::open(folder.join("lock")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // A shared lock: several may look at the same time. Closing the file gives it back.
    let is_free = FileExt::try_lock_shared(&file)?;
    Ok((!is_free).then(|| StoreOwner::read(&mut file)))
}
