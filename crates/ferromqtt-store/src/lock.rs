//! The lock of a store: one owner at a time.
//!
//! It is a lock of the open file (`flock`), and never a POSIX record lock: those belong to the process, and any close of the
//! file in it drops them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use fs4::fs_std::FileExt;

use crate::folder::private_file;

/// How much of a lock's text is read.
const LONGEST_TEXT: u64 = 1_000;

/// Held until it is dropped, or the process ends.
#[derive(Debug)]
pub(crate) struct FolderLock {
    file: File,
}

/// Why there is no lock.
pub(crate) enum LockError {
    /// Who has it.
    Held(String),
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
        if !FileExt::try_lock_exclusive(&file).map_err(LockError::Disk)? {
            return Err(LockError::Held(holder(&mut file)));
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

/// Who holds the lock, as it has written: process, time in seconds since 1970, program.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.take(LONGEST_TEXT).read_to_string(&mut text);
    let mut words = text.trim().splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some(process), Some(since), Some(program)) => {
            let program = ferromqtt_proto::shown::peer_text(program, &[]);
            let process = ferromqtt_proto::shown::peer_text(process, &[]);
            match since.parse::<u64>() {
                Ok(since) => format!("process {process} ({program}, since {since} s after 1970)"),
                Err(_) => format!("process {process} ({program})"),
            }
        }
        _ => "another process".to_owned(),
    }
}
