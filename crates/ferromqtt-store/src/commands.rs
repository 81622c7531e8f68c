//! Commands to the owner of a store from beside it, such as the command line: a file that they append to, and the owner reads.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fs4::fs_std::FileExt;

use crate::folder::private_file;

/// How much is read at a time.
const LONGEST_READ: u64 = 1 << 20;

/// A command from beside the owner of a store. The owner's driver carries it out, and a key that has ended is no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreCommand {
    /// Send a message in quarantine again.
    Retry(u64),
    /// End a message that is not on the wire.
    Drop(u64),
}

impl StoreCommand {
    fn line(self) -> String {
        match self {
            Self::Retry(key) => format!("retry {key}\n"),
            Self::Drop(key) => format!("drop {key}\n"),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, key) = line.trim().split_once(' ')?;
        let key = key.parse().ok()?;
        match name {
            "retry" => Some(Self::Retry(key)),
            "drop" => Some(Self::Drop(key)),
            _ => None, // a later version's
        }
    }
}

/// Gives commands to the owner of the store in `folder`, which reads them within a second. Waits for others who do the same.
///
/// # Errors
/// The file cannot be written.
pub fn give_commands(
    folder: &Path,
    commands: impl IntoIterator<Item = StoreCommand>,
) -> io::Result<()> {
    let path = folder.join("commands");
    let mut file = private_file().append(true).create(true).open(path)?;
    FileExt::lock_exclusive(&file)?;
    let lines: String = commands.into_iter().map(StoreCommand::line).collect();
    file.write_all(lines.as_bytes())
    // Closing the file gives the lock back.
}

/// The commands as the owner reads them.
#[derive(Debug)]
pub(crate) struct CommandFile {
    path: PathBuf,
}

impl CommandFile {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            path: folder.join("commands"),
        }
    }

    /// Takes what was given since, if anything. A file that somebody is writing to is left for the next time.
    pub(crate) fn take(&self) -> Vec<StoreCommand> {
        match std::fs::metadata(&self.path) {
            Ok(meta) if meta.len() > 0 => self.read().unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    fn read(&self) -> io::Result<Vec<StoreCommand>> {
        let mut file = File::options().read(true).write(true).open(&self.path)?;
        if !FileExt::try_lock_exclusive(&file)? {
            return Ok(Vec::new());
        }
        let mut text = Vec::new();
        Read::by_ref(&mut file)
            .take(LONGEST_READ)
            .read_to_end(&mut text)?;
        let taken = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(text.len(), |at| at + 1);
        let mut rest = text.split_off(taken);
        file.read_to_end(&mut rest)?;
        let commands = String::from_utf8_lossy(&text);
        let commands = commands.lines().filter_map(StoreCommand::parse).collect();
        // A crash here gives them a second time, which does no harm.
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&rest)?;
        Ok(commands)
    }
}
