//! What can be set on a broker.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use ferromqtt_proto::packet::{ProtocolVersion, QoS, ReasonCode};
use ferromqtt_proto::{StringError, Utf8String};
use thiserror::Error;

use crate::access::User;
use crate::authentication::Authentication;
use crate::denied::Denied;

/// Makes the struct of the rows of [`broker_options`].
macro_rules! options {
    ($($(#[$meta:meta])* $name:ident: $type:ty = $default:expr $(, $unit:literal, $help:literal)?;)+) => {
        /// Limits of a [`Broker`](crate::Broker), in numbers and in bytes. Start from `BrokerOptions::default()` and set what a
        /// test needs.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct BrokerOptions {
            $($(#[$meta])* pub $name: $type,)+
            /// What is refused with a Reason Code: see [`BrokerOptions::deny_publish`] and its sisters.
            pub(crate) denied: Denied,
        }

        impl Default for BrokerOptions {
            fn default() -> Self {
                Self {
                    $($name: $default,)+
                    denied: Denied::default(),
                }
            }
        }
    };
}

broker_options!(options);

/// Fixed header and Remaining Length at their largest.
const LARGEST_PACKET: NonZeroU32 = NonZeroU32::MIN.saturating_add(268_435_455 + 4);

/// A value that a broker cannot be started with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BrokerOptionsError {
    /// The standard does not list this Reason Code for the answer.
    #[error(
        "a refused {request} cannot be answered {reason}: give a code of 0x80 or above that section {section} of MQTT 5.0 lists"
    )]
    ReasonCode {
        /// What would be refused.
        request: &'static str,
        /// The code.
        reason: ReasonCode,
        /// Where the codes for it are.
        section: &'static str,
    },
    /// More than a packet can hold.
    #[error("{what} is {bytes} bytes long: MQTT carries at most 65535")]
    TooLong {
        /// Which value.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// Not an MQTT string.
    #[error("{what}: {error}")]
    Text {
        /// Which value.
        what: &'static str,
        /// Why.
        error: StringError,
    },
}

impl BrokerOptions {
    /// Maximum Packet Size, if it restricts anything.
    pub(crate) fn restricted_packet_size(&self) -> Option<NonZeroU32> {
        Some(self.maximum_packet_size).filter(|&size| size < LARGEST_PACKET)
    }
}
