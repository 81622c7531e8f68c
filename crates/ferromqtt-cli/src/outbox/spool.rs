//! Lines that are read twice, also those of standard input.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The longest line, in bytes: a message of 256 MiB as text of which each character is escaped.
const LONGEST_LINE: u64 = 600 << 20;

/// A file that can be read from its start again.
pub(crate) struct Spool {
    file: BufReader<File>,
    line: Vec<u8>,
    number: u64,
}

impl Spool {
    /// Takes a file. One that is read once, such as a pipe, and standard input (`-`) are copied to a file without a name first.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Self::copy(&mut io::stdin().lock());
        }
        let mut file = File::open(path)?;
        match file.metadata()?.is_file() {
            true => Ok(Self::of(file)),
            false => Self::copy(&mut file),
        }
    }

    fn of(file: File) -> Self {
        Self {
            file: BufReader::with_capacity(64 << 10, file),
            line: Vec::new(),
            number: 0,
        }
    }

    fn copy(from: &mut impl Read) -> io::Result<Self> {
        let mut file = unnamed_file()?;
        io::copy(from, &mut file)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Self::of(file))
    }

    /// Reads from the start again.
    pub(crate) fn rewind(&mut self) -> io::Result<()> {
        self.number = 0;
        self.file.seek(SeekFrom::Start(0)).map(drop)
    }

    /// The next line that is not empty, and its number from 1.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        loop {
            self.line.clear();
            let mut limited = (&mut self.file).take(LONGEST_LINE);
            if limited.read_until(b'\n', &mut self.line)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.line.len() as u64 == LONGEST_LINE {
                let text = format!("line {} is longer than 600 MiB", self.number);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some((self.number, self.line.trim_ascii())));
            }
        }
    }
}

/// A file for this process alone, in the system's folder for such files. On Unix it has no name left: a crash leaves nothing.
fn unnamed_file() -> io::Result<File> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanoseconds = now.map_or(0, |it| it.subsec_nanos());
    let name = format!("ferromqtt-import-{}-{nanoseconds}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    #[cfg(windows)]
    {
        const FILE_FLAG_DELETE_ON_CLOSE: u32 = 0x0400_0000;
        std::os::windows::fs::OpenOptionsExt::custom_flags(&mut options, FILE_FLAG_DELETE_ON_CLOSE);
    }
    let file = options.open(&path)?;
    #[cfg(unix)]
    std::fs::remove_file(&path)?;
    Ok(file)
}
