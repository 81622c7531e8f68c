//! The transport: what to do with it, and the bytes that go over it.

use std::num::NonZeroU32;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::{ConnectionError, Progress, ServerChoice, TransportError, TransportRequest};

use crate::{Engine, Standing, Tokens};

/// The name of one transport, from the request to open it to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId(NonZeroU32);

/// What the connector is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkRequest {
    /// Open a transport, then call [`Engine::opened`], or [`Engine::closed`] when that failed.
    Open {
        /// Its name.
        link: LinkId,
        /// To which server.
        server: ServerChoice,
        /// 0 for the first attempt; grows with each that failed.
        attempt: u32,
    },
    /// Write all that was handed over, then end this side of the transport, then call [`Engine::finished`]. What comes in is
    /// still to be [received](Engine::receive).
    HalfClose(LinkId),
    /// Close it in order, if it was opened, without waiting for anything to be read, then call [`Engine::closed`].
    Close(LinkId),
    /// Drop it at once, if it was opened, with all that is not written yet, then call [`Engine::closed`].
    Abort(LinkId),
}

/// How much of the transport's input is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputDemand {
    /// Whatever comes.
    All,
    /// A few bytes, as a sign of life.
    Little,
    /// None: a queue has no capacity.
    Nothing,
}

/// What came of bytes that were received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intake {
    /// How many bytes are missing, at least, to go on.
    pub missing: usize,
    /// How many messages have come.
    pub messages: usize,
}

impl<T: Tokens> Engine<T> {
    /// What to do with the transport. Ask when [`transmit`](Self::transmit) gives nothing: the request to half-close comes
    /// behind the last bytes.
    pub fn next_request(&mut self) -> Option<LinkRequest> {
        if *self.standing() == Standing::Ended(ConnectionError::DriverGone) {
            return None; // nobody is there to do it
        }
        let request = self.core.poll_transport()?;
        if let Some(recording) = &mut self.recording
            && !matches!(request, TransportRequest::Open { .. })
        {
            recording.leaves();
        }
        Some(match request {
            TransportRequest::Open { server, attempt } => LinkRequest::Open {
                link: self.next_link(),
                server,
                attempt,
            },
            TransportRequest::Finish => LinkRequest::HalfClose(self.present_link()),
            TransportRequest::Close => LinkRequest::Close(self.present_link()),
            TransportRequest::Abort => LinkRequest::Abort(self.present_link()),
        })
    }

    /// The present transport. The core may give up one before anybody was asked to open it: that has a name too, by which
    /// its end is reported.
    fn present_link(&mut self) -> LinkId {
        match self.link {
            Some(link) => link,
            None => self.next_link(),
        }
    }

    fn next_link(&mut self) -> LinkId {
        self.last_link = self.last_link.checked_add(1).unwrap_or(NonZeroU32::MIN);
        let link = LinkId(self.last_link);
        self.link = Some(link);
        link
    }

    fn is_current(&self, link: LinkId) -> bool {
        self.link == Some(link)
    }

    /// The transport is open. Returns whether it is the present one; else it is to be closed.
    pub fn opened(&mut self, now: Instant, link: LinkId) -> bool {
        let is_current = self.is_current(link);
        if is_current {
            self.attempts.opened = true;
            if let Some(recording) = &mut self.recording {
                recording.opened(now);
            }
            self.core.transport_opened(now);
        }
        is_current
    }

    /// This side of the transport has ended, as was requested.
    pub fn finished(&mut self, now: Instant, link: LinkId) {
        if self.is_current(link) {
            self.core.transport_finished(now);
        }
    }

    /// The transport has ended, or could not be opened. Its name is worth nothing any more.
    pub fn closed(&mut self, now: Instant, link: LinkId, cause: TransportError) {
        if self.is_current(link) {
            self.link = None;
            if let Some(recording) = &mut self.recording {
                recording.closed(now);
                self.report_recording();
            }
            self.core.transport_closed(now, cause);
        }
    }

    /// Takes whole packets from the front of what was read. Of an earlier transport nothing is taken.
    pub fn receive(&mut self, now: Instant, link: LinkId, input: &mut BytesMut) -> Intake {
        if !self.is_current(link) {
            return Intake {
                missing: 1,
                messages: 0,
            };
        }
        let before = self.core.stats().received;
        if let Some(recording) = &mut self.recording {
            recording.received(now, input);
        }
        self.core.handle_input(now, input);
        if let Some(recording) = &mut self.recording {
            recording.left(input);
            self.report_recording();
        }
        let messages = self.core.stats().received - before;
        Intake {
            missing: self.core.input_hint(input),
            messages: usize::try_from(messages).unwrap_or(usize::MAX),
        }
    }

    /// The next bytes to be written. Nothing while an [`Ask`](crate::Ask) waits for its reply. When there is nothing, all is
    /// [settled](Self::settle).
    #[inline]
    pub fn transmit(&mut self, now: Instant, link: LinkId) -> Option<Bytes> {
        self.transmit_up_to(now, link, usize::MAX)
    }

    /// As [`transmit`](Self::transmit), in chunks of at most `limit` bytes: for a transport that keeps what it is given,
    /// however much that is.
    pub fn transmit_up_to(&mut self, now: Instant, link: LinkId, limit: usize) -> Option<Bytes> {
        let is_current = self.is_current(link);
        loop {
            let may_write = is_current && !(self.options.authenticates && self.is_asking());
            if may_write && let Some(chunk) = self.core.poll_transmit_up_to(now, limit) {
                if let Some(recording) = &mut self.recording {
                    recording.sent(now, &chunk);
                }
                return Some(chunk);
            }
            if !self.settle(now) || !may_write {
                return None;
            }
        }
    }

    fn is_asking(&mut self) -> bool {
        self.take_events();
        self.awaits_reply || !self.asks.is_empty()
    }

    /// Reports how far the output has come, if the core wants to know: `progress` is called only then.
    pub fn progress(
        &mut self,
        now: Instant,
        link: LinkId,
        unwritten: u64,
        progress: impl FnOnce() -> Progress,
    ) {
        if self.is_current(link) && self.core.wants_progress(now, unwritten) {
            self.core.transport_progress(now, progress());
        }
    }

    /// How much of the transport's input is to be read.
    pub fn input_demand(&self) -> InputDemand {
        match () {
            () if self.core.input_paused() => InputDemand::Nothing,
            () if self.core.input_throttled() => InputDemand::Little,
            () => InputDemand::All,
        }
    }
}
