//! A property or an option that a packet cannot have: which one, and why.

use thiserror::Error;

use crate::error::TopicError;

/// A property, or an option of a packet, that was refused before anything was sent. The caller's.
///
/// Its text names both: ``message_expiry_interval of PUBLISH exists in MQTT 5.0 only: leave it out, or use that version``.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{property} of {place} {problem}")]
#[non_exhaustive]
pub struct PropertyError {
    /// Where it was given: the name of a packet type, such as `CONNECT`; `the will`; or `the options`.
    pub place: &'static str,
    /// The name of the field, as in [`Properties`](crate::Properties), [`SubscriptionOptions`](crate::SubscriptionOptions) or
    /// [`Options`](crate::Options).
    pub property: &'static str,
    /// What is wrong with it.
    pub problem: PropertyProblem,
}

/// Why a property was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PropertyProblem {
    /// Versions before 5.0 do not have it.
    #[error("exists in MQTT 5.0 only: leave it out, or use that version")]
    NotInThisVersion,
    /// A client's packet of this type does not have it.
    #[error("does not exist there: leave it out")]
    NotInThisPacket,
    /// The client sets it itself.
    #[error("is set by the client itself: leave it out")]
    SetByClient,
    /// Binary data of more than 65,535 bytes (section 1.5.6).
    #[error("is {bytes} bytes long, and MQTT allows 65535: shorten it")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A number that the wire cannot carry.
    #[error("must be from {minimum} to {maximum}")]
    OutOfRange {
        /// The smallest value allowed.
        minimum: u32,
        /// The largest value allowed.
        maximum: u32,
    },
    /// More values than one.
    #[error("may be given once only")]
    Several,
    /// A topic that nothing can be published to.
    #[error("cannot be published to: {0}")]
    Topic(TopicError),
    /// A Response Topic that begins with `$share/`, so that other clients would get some of the responses.
    #[error(
        "begins with $share/, which shares the responses with other clients: give a topic of this client's own"
    )]
    SharedTopic,
    /// It would have no effect when the client falls back to 3.1.1, which anybody can bring
    /// about who can change what is on the wire.
    #[error(
        "has no effect where the client falls back to MQTT 3.1.1: leave it out, or use version 5.0 alone"
    )]
    NotWithFallback,
    /// It means nothing without another one.
    #[error("needs {0} beside it")]
    Needs(&'static str),
}

impl PropertyError {
    /// An error for `property` of `place`.
    pub const fn new(
        place: &'static str,
        property: &'static str,
        problem: PropertyProblem,
    ) -> Self {
        Self {
            place,
            property,
            problem,
        }
    }
}
