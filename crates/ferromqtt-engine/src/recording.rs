//! Records what goes by the client's transport.

use std::time::Instant;

use bytes::BytesMut;
use ferromqtt_recording::{ClosedBy, RecordedLink, Recorder};

use crate::{Engine, Fact, Tokens, Woken};

/// A recorder, and the transport that it records.
#[derive(Debug)]
pub(crate) struct LinkRecording {
    recorder: Recorder,
    link: Option<RecordedLink>,
    /// How many bytes at the front of the input are recorded, and wait for the end of their packet.
    seen: usize,
    /// This side ends the transport.
    leaves: bool,
    /// That the sink has failed was reported.
    reported: bool,
}

impl LinkRecording {
    pub(crate) fn opened(&mut self, now: Instant) {
        self.link = Some(self.recorder.open(now));
        self.seen = 0;
        self.leaves = false;
    }

    pub(crate) const fn leaves(&mut self) {
        self.leaves = true;
    }

    pub(crate) fn closed(&mut self, now: Instant) {
        let by = match self.leaves {
            true => ClosedBy::Client,
            false => ClosedBy::Server,
        };
        if let Some(link) = self.link.take() {
            link.close(now, by);
        }
    }

    /// What was read, before the core takes it.
    pub(crate) fn received(&mut self, now: Instant, input: &BytesMut) {
        if let Some(link) = &mut self.link {
            link.to_client(now, input.get(self.seen..).unwrap_or_default());
        }
    }

    /// What the core has left of it.
    pub(crate) fn left(&mut self, input: &BytesMut) {
        self.seen = input.len();
    }

    pub(crate) fn sent(&mut self, now: Instant, chunk: &[u8]) {
        if let Some(link) = &mut self.link {
            link.to_server(now, chunk);
        }
    }
}

impl<T: Tokens> Engine<T> {
    /// Records each transport that is opened from now on: its packets, both ways. Default: none, which costs a branch a call.
    ///
    /// When the sink fails, [`Fact::RecordingFailed`] says so, and the client goes on.
    pub fn record(&mut self, recorder: Recorder) {
        self.recording = Some(Box::new(LinkRecording {
            recorder,
            link: None,
            seen: 0,
            leaves: false,
            reported: false,
        }));
    }

    /// Reports the error of the sink, once.
    pub(crate) fn report_recording(&mut self) {
        let Some(recording) = &mut self.recording else {
            return;
        };
        if recording.reported {
            return;
        }
        if let Some(error) = recording.recorder.error() {
            recording.reported = true;
            let why = error.into();
            self.woken
                .push_back(Woken::Fact(Fact::RecordingFailed { why }));
        }
    }
}
