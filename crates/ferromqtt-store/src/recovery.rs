//! From the files of a log to its state: which frames count, and what they say.
//!
//! The frames of a log are numbered without gaps, so the log ends where a number is missing, unless some later frame knows that
//! the missing one was on the disk: then it was damaged since, and the log goes on behind it.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use crate::disk::{Disk, DiskError, DiskOperation};
use crate::entries::RecordPlace;
use crate::frame::{FRAME_HEADER, FrameAt, FrameHeader};
use crate::record::Records;
use crate::state::StoreState;
use crate::survey::{FrameHolds, FrameRange, SegmentEnd, SegmentSurvey, StatedFloor, SurveyError};

/// How many bytes of segments are held between the two readings of them, at most.
const HELD: u64 = 16 << 20;

/// Frames that were on the disk and are no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment that has, or had, them.
    pub segment: u32,
    /// The first frame that is lost.
    pub first: u64,
    /// The last frame that is lost.
    pub last: u64,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            segment,
            first,
            last,
        } = self;
        write!(
            f,
            "frames {first} to {last} of segment {segment} are lost: messages that were accepted in them are gone, and messages \
             that ended in them may be sent again"
        )
    }
}

/// Why a log cannot be opened. Damage is no reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The folder or a file cannot be read.
    Disk(DiskError),
    /// A later version of this library has written the log; this is the version of its format.
    NewerVersion(char),
}

/// A segment that belongs to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentMeta {
    pub(crate) first_frame: u64,
    pub(crate) length: u64,
}

impl From<SurveyError> for RecoveryError {
    fn from(error: SurveyError) -> Self {
        match error {
            SurveyError::Disk(error) => Self::Disk(error),
            SurveyError::NewerVersion(version) => Self::NewerVersion(version.into()),
        }
    }
}

/// What was found.
pub(crate) struct Recovered {
    pub(crate) state: StoreState,
    pub(crate) segments: BTreeMap<u32, SegmentMeta>,
    /// Where the log ends.
    pub(crate) tail: SegmentEnd,
    /// Where the last frame ends that was known to be on the disk.
    pub(crate) synced_tail: SegmentEnd,
    /// The frames behind it.
    pub(crate) unsynced: Vec<Bytes>,
    pub(crate) next_segment: u32,
    pub(crate) next_frame: u64,
    /// All frames up to this one were on the disk.
    pub(crate) synced: u64,
    /// Files that belong to the log no longer.
    pub(crate) void: Vec<u32>,
    /// All damage, in the order of the frames.
    pub(crate) damages: Vec<Damage>,
    /// Damage that is not on record yet.
    pub(crate) new_damages: Vec<Damage>,
}

/// Reads a log.
pub(crate) fn recover(disk: &mut impl Disk) -> Result<Recovered, RecoveryError> {
    let mut files = disk
        .segments()
        .map_err(|error| RecoveryError::Disk(DiskError::new(DiskOperation::List, None, &error)))?;
    files.sort_by_key(|file| file.number);
    let last_number = files.last().map_or(0, |file| file.number);
    let mut surveys = Vec::new();
    let mut void = Vec::new();
    let mut end: Option<SegmentEnd> = None;
    let mut held = 0;
    for file in files.into_iter().rev() {
        if end.is_some_and(|end| end.segment < file.number) {
            void.push(file.number); // between a segment and the one before it
            continue;
        }
        let last = (end.filter(|end| end.segment == file.number)).map(|end| end.frame);
        let mut survey = SegmentSurvey::new(disk, file, last)?;
        // Mostly there is one segment without an index. Many of them are read twice rather than held.
        if held + file.length > HELD {
            survey.bytes = None;
        }
        held += survey.bytes.as_ref().map_or(0, |it| it.len() as u64);
        end = survey.predecessor.or(end);
        surveys.push(survey);
    }
    surveys.reverse();
    let synced = surveys.iter().map(SegmentSurvey::synced).max();
    let synced = synced.unwrap_or(0);
    for survey in &mut surveys {
        survey.settle(disk, synced)?;
    }
    let walk = walk(&surveys, synced);
    let mut recovered = Recovered {
        state: StoreState::default(),
        segments: BTreeMap::new(),
        tail: SegmentEnd::default(),
        synced_tail: SegmentEnd::default(),
        unsynced: Vec::new(),
        next_segment: last_number.saturating_add(1),
        next_frame: walk.next_frame,
        synced: walk.synced,
        void,
        damages: Vec::new(),
        new_damages: Vec::new(),
    };
    recovered.apply(disk, &surveys, walk)?;
    let has_part = |survey: &&SegmentSurvey| !recovered.segments.contains_key(&survey.number);
    let parts: Vec<_> = surveys
        .iter()
        .filter(has_part)
        .map(|it| it.number)
        .collect();
    recovered.void.extend(parts);
    Ok(recovered)
}

/// A step of reading: frames, or damage that hides some.
enum WalkStep {
    Read { survey: usize, range: FrameRange },
    Pass(Damage),
}

struct Walk {
    steps: Vec<WalkStep>,
    next_frame: u64,
    synced: u64,
}

/// Finds out which frames count.
fn walk(surveys: &[SegmentSurvey], synced: u64) -> Walk {
    let mut floors: Vec<_> = surveys.iter().flat_map(|it| &it.floors).collect();
    floors.sort_by_key(|floor| std::cmp::Reverse(floor.segment));
    floors.dedup_by_key(|floor| floor.segment);
    // A floor counts if the log reaches the frame that states it. Otherwise nothing was removed for it yet.
    for &floor in floors {
        let walk = walk_from(surveys, Some(floor), synced);
        let reaches = |step: &WalkStep| match step {
            WalkStep::Read { survey, .. } => surveys.get(*survey).is_some_and(|survey| {
                (survey.floors.iter())
                    .any(|it| it.segment >= floor.segment && it.stated_in < walk.next_frame)
            }),
            WalkStep::Pass(_) => false,
        };
        if walk.steps.iter().any(reaches) {
            return walk;
        }
    }
    walk_from(surveys, None, synced)
}

fn walk_from(surveys: &[SegmentSurvey], floor: Option<StatedFloor>, synced: u64) -> Walk {
    let first_segment = floor.map_or(0, |floor| floor.segment);
    // What a floor states is no reason to leave out frames behind it.
    let mut first_frames = (surveys.iter().filter(|it| it.number >= first_segment))
        .filter_map(|survey| survey.ranges.first());
    let first_there = first_frames.next().map_or(u64::MAX, |it| it.first);
    let mut expected = floor.map_or(1, |floor| floor.frame.min(first_there));
    let mut steps = Vec::new();
    let mut last_survey: Option<usize> = None;
    let parts = surveys.iter().enumerate();
    let parts = parts.filter(|(_, survey)| survey.number >= first_segment);
    let ranges = parts.flat_map(|(at, survey)| survey.ranges.iter().map(move |range| (at, range)));
    for (survey, &range) in ranges {
        if range.last < expected {
            continue; // stale
        }
        if range.first > expected {
            let segment = damaged_segment(surveys, last_survey, survey);
            let lost = |last| {
                WalkStep::Pass(Damage {
                    segment,
                    first: expected,
                    last,
                })
            };
            // One that was never known to be on the disk ends the log, whatever follows.
            if range.first - 1 > synced {
                if expected <= synced {
                    steps.push(lost(synced));
                    expected = synced + 1;
                }
                break;
            }
            steps.push(lost(range.first - 1));
        }
        steps.push(WalkStep::Read { survey, range });
        last_survey = Some(survey);
        expected = range.last.saturating_add(1);
    }
    Walk {
        steps,
        next_frame: expected,
        synced,
    }
}

/// Which segment has the damage between two frames.
fn damaged_segment(surveys: &[SegmentSurvey], before: Option<usize>, after: usize) -> u32 {
    let between = surveys.get(before.unwrap_or(0)..=after).unwrap_or_default();
    let damaged = between
        .iter()
        .find(|it| it.has_invalid)
        .or_else(|| between.last());
    damaged.map_or(0, |it| it.number)
}

impl Recovered {
    /// Reads the frames that count.
    fn apply(
        &mut self,
        disk: &mut impl Disk,
        surveys: &[SegmentSurvey],
        walk: Walk,
    ) -> Result<(), RecoveryError> {
        let mut whole: Option<(u32, Bytes)> = None;
        for step in walk.steps {
            let (survey, range) = match step {
                WalkStep::Read { survey, range } => (surveys.get(survey), range),
                WalkStep::Pass(damage) => {
                    self.state.pass_damage();
                    self.damages.push(damage);
                    continue;
                }
            };
            let Some(survey) = survey else { continue };
            self.segments.entry(survey.number).or_insert(SegmentMeta {
                first_frame: range.first,
                length: survey.length,
            });
            let end = match range.holds {
                FrameHolds::Changes => range.at.saturating_add(range.len),
                FrameHolds::Index => range.at,
            };
            self.tail = SegmentEnd {
                segment: survey.number,
                frame: range.last,
                end,
            };
            if range.last <= self.synced {
                self.synced_tail = self.tail;
            }
            let frame = match range.holds {
                FrameHolds::Index => read(disk, survey.number, range.at, range.len as usize)?,
                FrameHolds::Changes => {
                    let bytes = match (&survey.bytes, &whole) {
                        (Some(bytes), _) => bytes.clone(),
                        (None, Some((number, bytes))) if *number == survey.number => bytes.clone(),
                        (None, _) => {
                            let length = usize::try_from(survey.length).unwrap_or(usize::MAX);
                            let bytes = read(disk, survey.number, 0, length)?;
                            whole = Some((survey.number, bytes.clone()));
                            bytes
                        }
                    };
                    let end = (range.at as usize).saturating_add(range.len as usize);
                    let end = end.min(bytes.len());
                    bytes.slice((range.at as usize).min(end)..end)
                }
            };
            if let FrameAt::Valid(_, body) = FrameHeader::read(survey.number, &frame) {
                self.apply_body(survey.number, range, body);
                if range.last > self.synced {
                    self.unsynced.push(frame);
                }
            }
        }
        let is_new = |damage: &&Damage| !self.state.noted.contains_key(&damage.first);
        self.new_damages = self.damages.iter().filter(is_new).copied().collect();
        Ok(())
    }

    fn apply_body(&mut self, segment: u32, range: FrameRange, body: &[u8]) {
        for record in Records::new(body) {
            let place = RecordPlace {
                segment,
                frame_at: range.at,
                record_at: u32::try_from(FRAME_HEADER + record.at).unwrap_or(u32::MAX),
            };
            self.state.apply(record.record, place, record.size);
        }
    }
}

fn read(
    disk: &mut impl Disk,
    segment: u32,
    at: u32,
    length: usize,
) -> Result<Bytes, RecoveryError> {
    (disk.read(segment, at.into(), length)).map_err(|error| {
        RecoveryError::Disk(DiskError::new(DiskOperation::Read, Some(segment), &error))
    })
}
