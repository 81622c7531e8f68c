//! What is read of the system: times, bytes, memory.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ferromqtt_store::StoreReader;
use rustix::time::{ClockId, clock_gettime};

use crate::Failure;

/// A line of a file of /proc, in the unit that it has there.
pub(crate) fn line_of(file: &str, name: &str) -> Result<u64, Failure> {
    let text = fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.unwrap_or_default().split_whitespace().next();
    Ok(number.ok_or("there is no such line")?.parse()?)
}

/// How many frames a store has written so far.
pub(crate) fn frames(folder: &Path) -> Result<u64, Failure> {
    Ok(StoreReader::open(folder)?.stats().frames)
}

/// Measures from where it was made.
pub(crate) struct Meter {
    wall: Instant,
    cpu: Duration,
    written: u64,
}

impl Meter {
    pub(crate) fn start() -> Result<Self, Failure> {
        Ok(Self {
            written: line_of("/proc/self/io", "wchar:")?,
            cpu: cpu(),
            wall: Instant::now(),
        })
    }

    /// The fields of a line of JSON: the wall clock's and the CPU's seconds, and the bytes of all calls that write.
    pub(crate) fn stop(&self) -> Result<String, Failure> {
        let (wall, cpu) = (self.wall.elapsed(), cpu() - self.cpu);
        let written = line_of("/proc/self/io", "wchar:")? - self.written;
        let (wall, cpu) = (wall.as_secs_f64(), cpu.as_secs_f64());
        Ok(format!(
            "\"wall\": {wall}, \"cpu\": {cpu}, \"written\": {written}"
        ))
    }
}

/// User and system time of all threads of this process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}
