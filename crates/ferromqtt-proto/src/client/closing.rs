//! Closing a transport so that what was written last arrives.
//!
//! A socket that is closed over unread input is reset: the operating system discards what it has not sent yet, and a server
//! that never reads the DISCONNECT publishes the will. So the transport is closed in steps, which are the same for every
//! driver: write everything; end this side, where the layer can; discard input until the server has ended its side, has been
//! silent for a second, or the time is over; close; abort what has not closed a second later. The reasons are in
//! `docs/design/0015-leaving.md`.

use std::time::{Duration, Instant};

use super::{Client, ClientPhase};
use crate::event::TransportRequest;
use crate::reconnect::later;
use crate::session::Session;

/// A server that sends nothing for this long, once its TCP has acknowledged everything (where the driver can tell), has nothing
/// on its way that would reset the connection.
const SILENCE: Duration = Duration::from_secs(1);

/// How long a driver may take to close a transport in order, and how long writing DISCONNECT may take at least.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// A silence that is noticed so late proves nothing: the process stood still, and what has come meanwhile is unread.
const LATE: Duration = Duration::from_millis(500);

/// What becomes of a transport, and of what is encoded for it, when a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// What is encoded is written first. `None` is no limit, and each limit gives way to [`GRACE`].
    Flush { until: Option<Instant> },
    /// The server has ended the connection, and reads no more: what is encoded is dropped.
    Close,
    /// The transport is of no use: what is encoded is dropped.
    Abort,
}

/// How far closing has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// The driver writes what is left, and ends this side.
    Writing { until: Option<Instant> },
    /// This side has ended. Input is discarded.
    Lingering { until: Instant, silent_at: Instant },
    /// The driver closes.
    Ending { abort_at: Instant },
    /// The driver aborts.
    Aborting,
}

impl Closing {
    pub(super) fn deadline(&self) -> Option<Instant> {
        match *self {
            Self::Writing { until } => until,
            Self::Lingering { until, silent_at } => Some(until.min(silent_at)),
            Self::Ending { abort_at } => Some(abort_at),
            Self::Aborting => None,
        }
    }

    /// Whether it matters now how much the server's TCP has acknowledged: one that has still to read is silent for good
    /// reason.
    pub(super) fn wants_progress(&self, now: Instant) -> bool {
        matches!(self, Self::Lingering { silent_at, .. } if *silent_at <= now)
    }
}

impl Client {
    /// Asks the driver to close the transport of a connection that has ended, and returns how far that has come.
    pub(super) fn begin_closing(&mut self, now: Instant, ending: Ending) -> Closing {
        let (closing, request) = match ending {
            Ending::Flush { until } => (Closing::Writing { until }, TransportRequest::Finish),
            Ending::Close => {
                let abort_at = later(now, GRACE);
                (Closing::Ending { abort_at }, TransportRequest::Close)
            }
            Ending::Abort => (Closing::Aborting, TransportRequest::Abort),
        };
        self.request_end(request);
        closing
    }

    /// Everything that the client handed over is written, and this side of the transport has ended where its layer can do
    /// that alone: the driver's answer to [`TransportRequest::Finish`]. Input is discarded from now on, and shows only
    /// whether the server is still there.
    pub fn transport_finished(&mut self, now: Instant) {
        let limit = self.options.closing_timeout;
        if let ClientPhase::Closing { closing, .. } = &mut self.phase
            && let Closing::Writing { until } = *closing
            && self.transport_requests.is_empty()
        {
            *closing = Closing::Lingering {
                until: until.unwrap_or_else(|| later(now, limit)),
                silent_at: later(now, SILENCE),
            };
        }
    }

    /// The server is still there: input came that nobody processes any more, or the server has not read everything yet.
    pub(super) fn still_linger(&mut self, now: Instant) {
        if let ClientPhase::Closing { closing, .. } = &mut self.phase
            && let Closing::Lingering { silent_at, .. } = closing
        {
            *silent_at = later(now, SILENCE);
        }
    }

    /// Goes one step further when one has lasted long enough.
    pub(super) fn check_closing(&mut self, now: Instant) {
        let ClientPhase::Closing { closing, .. } = &mut self.phase else {
            return;
        };
        if closing.deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        match *closing {
            Closing::Lingering { until, silent_at } if until > now && silent_at + LATE <= now => {
                let silent_at = later(now, SILENCE);
                *closing = Closing::Lingering { until, silent_at };
            }
            Closing::Lingering { .. } => {
                let abort_at = later(now, GRACE);
                *closing = Closing::Ending { abort_at };
                self.request_end(TransportRequest::Close);
            }
            Closing::Writing { .. } | Closing::Ending { .. } => {
                let reached = std::mem::replace(closing, Closing::Aborting);
                self.report_unwritten(reached);
                self.request_end(TransportRequest::Abort);
            }
            Closing::Aborting => {}
        }
    }

    /// Moves the limit of what is being closed: the application waits no longer than `until`.
    pub(super) fn close_within(&mut self, limit: Option<Instant>) {
        if let ClientPhase::Closing { closing, .. } = &mut self.phase
            && let Some(limit) = limit
        {
            match closing {
                Closing::Writing { until } => {
                    *until = Some(until.map_or(limit, |it| it.min(limit)))
                }
                Closing::Lingering { until, .. } => *until = limit.min(*until),
                Closing::Ending { .. } | Closing::Aborting => {}
            }
        }
    }

    fn request_end(&mut self, request: TransportRequest) {
        self.transport_requests.clear();
        self.transport_requests.push_back(request);
    }

    /// Drops what is encoded and will not be written, and returns how many QoS 0 publishes among it were reported as sent.
    /// What the connection has not handed over at QoS 1 and 2 was never sent.
    pub(super) fn drop_unwritten(&mut self) -> u64 {
        let Some(connection) = &mut self.connection else {
            return 0;
        };
        let transmit = std::mem::take(&mut connection.transmit);
        let Session { outbound, ids, .. } = &mut self.session;
        outbound.take_back(ids, connection.number, transmit.handed_over());
        transmit.unflushed()
    }

    /// As [`drop_unwritten`](Self::drop_unwritten), when closing ends that has come as far as `reached`: the end of the
    /// connection was reported before.
    pub(super) fn report_unwritten(&mut self, reached: Closing) {
        let Closing::Writing { .. } = reached else {
            return; // nothing is left
        };
        let messages = self.drop_unwritten();
        self.report_unflushed(messages);
    }
}
