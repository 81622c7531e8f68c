//! Reading all that a store's files hold, to find damage that opening it does not meet.
//!
//! Opening reads the index of a sealed segment, and not its frames. This reads every frame. What a power cut leaves is told
//! apart from damage as recovery does it: by the highest frame that was known to be on the disk.

use std::io;
use std::ops::Range;
use std::path::Path;

use crate::disk::Disk;
use crate::error::StoreError;
use crate::folder::FolderDisk;
use crate::record::{LogRecord, Records};
use crate::recovery::{Damage, Recovered, RecoveryError, recover};
use crate::scan::{ScannedPiece, SegmentScan};
use crate::survey::{LONGEST_SEGMENT, read_around_errors};

/// How often the check begins again because the owner has changed something meanwhile.
const ATTEMPTS: usize = 20;

/// What the files of a store hold, by reading all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreCheck {
    /// Segments that belong to the log.
    pub segments: usize,
    /// Frames in them whose checksums are right, indexes included.
    pub frames: u64,
    /// How many bytes were read.
    pub bytes: u64,
    /// Messages that have not ended, and can be read.
    pub messages: usize,
    /// What is not as it was written, in the order of the segments.
    pub findings: Vec<StoreFinding>,
}

/// Something in the files of a store that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreFinding {
    /// Damage: frames that were on the disk are no longer there, and nothing else says what they recorded. Messages in them are
    /// lost, and ends in them are forgotten, so messages may be sent again.
    Lost {
        /// Which frames.
        damage: Damage,
        /// Whether an owner of the store has reported it already.
        reported: bool,
    },
    /// Damage: frames that were on the disk cannot be read, and the index of their segment says what they recorded, but for the
    /// messages themselves.
    Unreadable {
        /// Which frames.
        damage: Damage,
        /// Messages in them that have not ended. They are lost.
        messages: Vec<u64>,
    },
    /// No damage: bytes that belong to no frame that counts. A write that a power cut or the end of the process has cut short
    /// leaves some, as does the loss of an index, or a frame that is being written now.
    Leftover {
        /// The segment.
        segment: u32,
        /// Where they begin, in bytes from its start.
        at: u64,
        /// How many they are.
        bytes: u64,
    },
    /// No damage: the file of a segment that belongs to the log no longer. The owner removes it.
    Unused {
        /// The segment.
        segment: u32,
    },
}

impl StoreFinding {
    /// The frames that are damaged, if it is damage.
    pub const fn damage(&self) -> Option<Damage> {
        match self {
            Self::Lost { damage, .. } | Self::Unreadable { damage, .. } => Some(*damage),
            Self::Leftover { .. } | Self::Unused { .. } => None,
        }
    }

    fn segment(&self) -> u32 {
        match self {
            Self::Lost { damage, .. } | Self::Unreadable { damage, .. } => damage.segment,
            Self::Leftover { segment, .. } | Self::Unused { segment } => *segment,
        }
    }
}

impl StoreCheck {
    /// Reads all files of the store in a folder. Locks and writes nothing, and the owner of the store goes on meanwhile. Blocks as
    /// the disk does.
    ///
    /// # Errors
    /// The folder cannot be read, or a later version has written the store. Damage is none.
    pub fn of_folder(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let mut before: Option<Self> = None;
        let mut attempts = ATTEMPTS;
        loop {
            attempts -= 1;
            match Self::of_disk(FolderDisk::new(path.to_owned())) {
                // What changes between two readings is the work of an owner. Damage stays.
                Ok(check)
                    if attempts == 0
                        || check.damages().next().is_none()
                        || before
                            .as_ref()
                            .is_some_and(|it| it.damages().eq(check.damages())) =>
                {
                    return Ok(check);
                }
                Ok(check) => before = Some(check),
                Err(RecoveryError::Disk(error))
                    if error.kind == io::ErrorKind::NotFound && attempts > 0 && path.is_dir() => {}
                Err(error) => return Err(StoreError::recovery(path.to_owned(), error)),
            }
        }
    }

    /// The same of the files on a [`Disk`], which must not change meanwhile.
    ///
    /// # Errors
    /// As [`of_folder`](Self::of_folder).
    pub fn of_disk(mut disk: impl Disk) -> Result<Self, RecoveryError> {
        let recovered = recover(&mut disk)?;
        let mut check = Self {
            segments: recovered.segments.len(),
            messages: recovered.state.pending.len(),
            ..Self::default()
        };
        let lost = recovered.damages.iter().map(|damage| StoreFinding::Lost {
            damage: *damage,
            reported: !recovered.new_damages.contains(damage),
        });
        check.findings = lost.collect();
        let unused = recovered.void.iter();
        (check.findings).extend(unused.map(|&segment| StoreFinding::Unused { segment }));
        let behind = recovered.segments.values().skip(1);
        let last = behind.map(|meta| meta.first_frame.saturating_sub(1));
        let last = last.chain([recovered.tail.frame]);
        for ((&number, meta), last) in recovered.segments.iter().zip(last) {
            let length = usize::try_from(meta.length.min(LONGEST_SEGMENT)).unwrap_or(usize::MAX);
            let bytes = read_around_errors(&mut disk, number, length)?;
            let frames = CountedFrames {
                number,
                first: meta.first_frame,
                last,
            };
            frames.check(&recovered, &bytes, &mut check)?;
        }
        check.findings.sort_by_key(StoreFinding::segment);
        Ok(check)
    }

    /// The damage.
    pub fn damages(&self) -> impl Iterator<Item = Damage> {
        self.findings.iter().filter_map(StoreFinding::damage)
    }
}

/// The frames of a segment that count.
struct CountedFrames {
    number: u32,
    first: u64,
    last: u64,
}

/// Frames of a segment that are not there, and the bytes between those that are.
struct MissingFrames {
    first: u64,
    last: u64,
    bytes: Range<usize>,
}

impl CountedFrames {
    fn check(
        &self,
        recovered: &Recovered,
        bytes: &[u8],
        check: &mut StoreCheck,
    ) -> Result<(), RecoveryError> {
        check.bytes += bytes.len() as u64;
        let mut next = self.first;
        let mut end = 0;
        let mut missing = Vec::new();
        let mut leftover: Option<(usize, usize)> = None;
        let mut leave = |range: Range<usize>| {
            let (_, bytes) = leftover.get_or_insert((range.start, 0));
            *bytes += range.len();
        };
        for piece in SegmentScan::new(self.number, bytes) {
            match piece {
                ScannedPiece::Frame { at, header, body } => {
                    let number = header.number;
                    let is_index = is_index(body);
                    if number > self.last || (number < next && !is_index) {
                        leave(at..at + header.frame_len());
                        continue;
                    }
                    check.frames += 1;
                    if is_index {
                        continue;
                    }
                    missing.extend((number > next).then(|| MissingFrames {
                        first: next,
                        last: number - 1,
                        bytes: end..at,
                    }));
                    next = number.saturating_add(1);
                    end = at + header.frame_len();
                }
                ScannedPiece::Invalid(range) if next > self.last => leave(range),
                // What is missing here shows at the next number, or at the end.
                ScannedPiece::Invalid(_) => {}
                ScannedPiece::NewerVersion(version) => {
                    return Err(RecoveryError::NewerVersion(version.into()));
                }
            }
        }
        missing.extend((next <= self.last).then_some(MissingFrames {
            first: next,
            last: self.last,
            bytes: end..bytes.len(),
        }));
        for missing in missing {
            self.note_missing(missing, recovered, check);
        }
        if let Some((at, bytes)) = leftover {
            check.findings.push(StoreFinding::Leftover {
                segment: self.number,
                at: at as u64,
                bytes: bytes as u64,
            });
        }
        Ok(())
    }

    /// Notes frames that are not there, but for those that recovery has missed too: of the others the index said what they held.
    fn note_missing(&self, missing: MissingFrames, recovered: &Recovered, check: &mut StoreCheck) {
        let MissingFrames {
            mut first,
            mut last,
            bytes,
        } = missing;
        for known in &recovered.damages {
            if known.first <= first && known.last >= first {
                first = known.last.saturating_add(1);
            }
            if known.first <= last && known.last >= last {
                last = known.first.saturating_sub(1);
            }
        }
        if first > last {
            return;
        }
        let pending = recovered.state.pending.iter();
        let here = pending.filter(|message| {
            message.place.segment == self.number
                && bytes.contains(&(message.place.frame_at as usize))
        });
        let messages: Vec<u64> = here.map(|message| message.key).collect();
        check.messages = check.messages.saturating_sub(messages.len());
        check.findings.push(StoreFinding::Unreadable {
            damage: Damage {
                segment: self.number,
                first,
                last,
            },
            messages,
        });
    }
}

fn is_index(body: &[u8]) -> bool {
    let first = Records::new(body).next();
    matches!(first.map(|it| it.record), Some(LogRecord::Index { .. }))
}
