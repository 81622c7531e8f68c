//! Whether a message in flight may be the reason that a server ends one connection after another
//! (`docs/design/0020-messages-that-end-connections.md`).

/// After so many ends in a row messages are sent one at a time (5.0).
const ENDS_BEFORE_ISOLATION: u32 = 2;

/// After so many closes in a row a person is warned (before 5.0, where a close gives no reason).
const CLOSES_BEFORE_WARNING: u32 = 3;

/// How far the search for the message is that makes the server end connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suspicion {
    /// Messages are sent as the window allows. So many connections in a row ended with a PUBLISH in flight, and the
    /// server acknowledged none in between.
    Counting { ends: u32 },
    /// Messages are sent one at a time, until so many of them are acknowledged: those that were in flight at the last
    /// end. One that is alone in flight when the server ends the connection again is the reason.
    OneAtATime { ends: u32, suspects: usize },
}

impl Default for Suspicion {
    fn default() -> Self {
        Self::Counting { ends: 0 }
    }
}

impl Suspicion {
    pub(crate) const fn is_one_at_a_time(&self) -> bool {
        matches!(self, Self::OneAtATime { .. })
    }

    /// How many ends were counted.
    pub(crate) const fn ends(&self) -> u32 {
        match self {
            Self::Counting { ends } | Self::OneAtATime { ends, .. } => *ends,
        }
    }

    /// PUBACK or PUBREC came.
    pub(crate) const fn acknowledged(&mut self) {
        match self {
            Self::OneAtATime { suspects, .. } if *suspects > 1 => *suspects -= 1,
            _ => *self = Self::Counting { ends: 0 },
        }
    }

    /// The server's DISCONNECT ended a connection with `in_flight` messages unacknowledged. Returns whether messages are
    /// sent one at a time from now on, and were not before.
    pub(crate) const fn disconnected(&mut self, in_flight: usize) -> bool {
        let ends = self.ends().saturating_add(1);
        let isolates = ends >= ENDS_BEFORE_ISOLATION;
        let begins = isolates && !self.is_one_at_a_time();
        *self = if isolates {
            Self::OneAtATime {
                ends,
                suspects: in_flight,
            }
        } else {
            Self::Counting { ends }
        };
        begins
    }

    /// The message that was the reason is gone. The others are suspected no more once the server acknowledges one of them.
    pub(crate) const fn found(&mut self) {
        if let Self::OneAtATime { suspects, .. } = self {
            *suspects = 0;
        }
    }

    /// The server closed a connection without a reason while messages were in flight. Returns whether it is time to warn,
    /// once until the next acknowledgement.
    pub(crate) const fn closed(&mut self) -> bool {
        let ends = self.ends().saturating_add(1);
        *self = Self::Counting { ends };
        ends == CLOSES_BEFORE_WARNING
    }

    /// The session is lost, and `anew` of its messages are sent again as new ones. They stay suspected. Without any, nothing is
    /// left to suspect.
    pub(crate) const fn session_lost(&mut self, anew: usize) {
        match self {
            _ if anew == 0 => *self = Self::Counting { ends: 0 },
            Self::OneAtATime { suspects, .. } => *suspects = anew,
            Self::Counting { .. } => {}
        }
    }
}
