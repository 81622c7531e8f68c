//! The files of a log in a folder of the operating system's.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::disk::{Disk, SegmentFile};

/// How many segments with damage are kept aside, at most.
const KEPT_DAMAGED: usize = 16;

/// The files of a log in a folder: `00000001.log` and so on, and copies of damaged ones in `damaged/`.
///
/// On Unix, files are readable by their owner alone. On Windows a folder cannot be synced: files that were made or removed just
/// before a power cut may be lost or back, as far as the file system lets them.
#[derive(Debug)]
pub struct FolderDisk {
    path: PathBuf,
    /// The file that was written to last.
    writing: Option<(u32, File)>,
    /// The file that was read last.
    reading: Option<(u32, File)>,
}

impl FolderDisk {
    /// The files below `path`, which is there.
    pub const fn new(path: PathBuf) -> Self {
        Self {
            path,
            writing: None,
            reading: None,
        }
    }

    fn file_path(&self, segment: u32) -> PathBuf {
        self.path.join(file_name(segment))
    }

    fn writing(&mut self, segment: u32) -> io::Result<&mut File> {
        let file = match self.writing.take() {
            Some((number, file)) if number == segment => file,
            _ => OpenOptions::new()
                .append(true)
                .open(self.file_path(segment))?,
        };
        let (_, file) = self.writing.insert((segment, file));
        Ok(file)
    }

    fn reading(&mut self, segment: u32) -> io::Result<&mut File> {
        let file = match self.reading.take() {
            Some((number, file)) if number == segment => file,
            _ => File::open(self.file_path(segment))?,
        };
        let (_, file) = self.reading.insert((segment, file));
        Ok(file)
    }
}

fn file_name(segment: u32) -> String {
    format!("{segment:08}.log")
}

fn segment_number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".log")?;
    let number = digits.parse().ok()?;
    (file_name(number) == name && number > 0).then_some(number)
}

/// Makes a folder, and those above it, for its owner alone. Returns once it survives a power cut.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => sync_folder(Path::new(".")),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(windows) {
        return Ok(()); // it has no such thing
    }
    File::open(path)?.sync_all()
}

/// Options for a file that its owner alone may read.
pub(crate) fn private_file() -> OpenOptions {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "only Unix has a mode"))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

impl Disk for FolderDisk {
    fn segments(&mut self) -> io::Result<Vec<SegmentFile>> {
        // Lengths after all names: beside a living owner, each file but the last then has all that was written to it before the
        // next one was made. In the other order the end of one could be missing, which looks like damage.
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            numbers.extend(entry?.file_name().to_str().and_then(segment_number));
        }
        numbers.sort_unstable();
        let mut files = Vec::new();
        for number in numbers {
            match fs::metadata(self.file_path(number)) {
                Ok(meta) => files.push(SegmentFile {
                    number,
                    length: meta.len(),
                }),
                // The owner of the store has just removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(files)
    }

    fn create(&mut self, segment: u32) -> io::Result<()> {
        let path = self.file_path(segment);
        let file = private_file().append(true).create_new(true).open(path)?;
        self.writing = Some((segment, file));
        Ok(())
    }

    fn append(&mut self, segment: u32, bytes: &[u8]) -> io::Result<()> {
        self.writing(segment)?.write_all(bytes)
    }

    fn truncate(&mut self, segment: u32, length: u64) -> io::Result<()> {
        self.writing(segment)?.set_len(length)
    }

    fn sync(&mut self, segment: u32) -> io::Result<()> {
        self.writing(segment)?.sync_data()
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        sync_folder(&self.path)
    }

    fn remove(&mut self, segment: u32) -> io::Result<()> {
        self.reading.take_if(|(number, _)| *number == segment);
        self.writing.take_if(|(number, _)| *number == segment);
        match fs::remove_file(self.file_path(segment)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn read(&mut self, segment: u32, offset: u64, length: usize) -> io::Result<Bytes> {
        let file = self.reading(segment)?;
        let there = file.metadata()?.len().saturating_sub(offset);
        let length = length.min(usize::try_from(there).unwrap_or(usize::MAX));
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::with_capacity(length);
        file.take(length as u64).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }

    fn keep_damaged(&mut self, segment: u32) -> io::Result<()> {
        let folder = self.path.join("damaged");
        make_folder(&folder)?;
        let copy = folder.join(file_name(segment));
        if copy.exists() || fs::read_dir(&folder)?.count() >= KEPT_DAMAGED {
            return Ok(());
        }
        let file = self.file_path(segment);
        fs::hard_link(&file, &copy).or_else(|_| fs::copy(&file, &copy).map(drop))
    }
}
