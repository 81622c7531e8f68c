//! One Network Connection: built when its transport is open, dropped with it.

mod keep_alive;
mod limits;
mod topic_alias;
mod transmit;

pub(crate) use keep_alive::{Due, KeepAlive};
pub(crate) use limits::{LARGEST_PACKET, Limits};
pub(crate) use topic_alias::IncomingAliases;
pub use transmit::CHUNK;
pub(crate) use transmit::Transmit;

use std::time::Instant;

use crate::options::Options;
use crate::packet::Properties;

#[derive(Debug)]
pub(crate) struct Connection {
    /// Number of this connection within its client: which one took a slot of the Receive Maximum.
    pub(crate) number: u64,
    /// Whether CONNECT asked for a fresh session.
    pub(crate) clean_start: bool,
    /// Largest packet that the server may send.
    pub(crate) maximum_packet_size: usize,
    /// How many QoS 2 messages the server may have under way: the Receive Maximum announced. Those of QoS 1 are
    /// acknowledged at once.
    pub(crate) receive_maximum: usize,
    pub(crate) keep_alive: KeepAlive,
    pub(crate) aliases: IncomingAliases,
    pub(crate) limits: Limits,
    pub(crate) transmit: Transmit,
    pub(crate) accepted_at: Option<Instant>,
}

impl Connection {
    pub(crate) fn new(now: Instant, number: u64, clean_start: bool, options: &Options) -> Self {
        let own = &options.properties;
        Self {
            number,
            clean_start,
            maximum_packet_size: own
                .maximum_packet_size
                .map_or(LARGEST_PACKET, |limit| limit.get() as usize),
            receive_maximum: own
                .receive_maximum
                .map_or(u16::MAX, |limit| limit.get())
                .into(),
            keep_alive: KeepAlive::new(now, 0), // starts with CONNACK
            aliases: IncomingAliases::new(own.topic_alias_maximum.unwrap_or(0)),
            limits: Limits::new(&Properties::default(), options),
            transmit: Transmit::default(),
            accepted_at: None,
        }
    }
}
