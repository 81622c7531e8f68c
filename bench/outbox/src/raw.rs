//! The bound: as many bytes in as many writes, each with `fdatasync`.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Failure;

/// Files as long as the store's segments.
const FILE_LENGTH: usize = 4 << 20;

pub(crate) fn run(folder: &Path, bytes: usize, writes: usize) -> Result<String, Failure> {
    fs::create_dir_all(folder)?;
    let part = vec![b'x'; (bytes / writes.max(1)).max(1)];
    let mut syncs = Vec::with_capacity(writes);
    let start = Instant::now();
    let mut file = new_file(folder, 0)?;
    let mut length = 0;
    for number in 1..=writes {
        if length + part.len() > FILE_LENGTH {
            file = new_file(folder, number)?;
            length = 0;
        }
        file.write_all(&part)?;
        length += part.len();
        let begun = Instant::now();
        file.sync_data()?;
        syncs.push(begun.elapsed());
    }
    let wall = start.elapsed().as_secs_f64();
    fs::remove_dir_all(folder)?;
    syncs.sort_unstable();
    let middle: Duration = syncs.get(writes / 2).copied().unwrap_or_default();
    let milliseconds = middle.as_secs_f64() * 1e3;
    Ok(format!("{{\"wall\": {wall}, \"sync_ms\": {milliseconds}}}"))
}

fn new_file(folder: &Path, number: usize) -> Result<File, Failure> {
    let file = File::create(folder.join(format!("{number}.raw")))?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}
