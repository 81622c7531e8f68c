//! A broker for tests and first steps.
//!
//! [`Broker`] is the server role of MQTT 3.1, 3.1.1 and 5.0 over the codec that the client uses: sans-IO, in memory, and
//! with time as an argument, so that a test plays hours in no time and without a socket. With the feature `tokio`,
//! `TestBroker` serves clients in the same process over connections in memory, in tokio's time, and others on sockets: TCP
//! and Unix, and with the features `tls` and `websocket` those below MQTT too.
//!
//! Its memory is bounded, in messages and bytes: [`Broker`] says by what.
//!
//! It is **not a production broker**: nothing is written to disk, passwords are held in the clear, and all of it runs on one
//! thread at a time. Use Mosquitto or a cluster there.
//!
//! # The loop of a host
//! 1. A transport was opened: [`Broker::open`]. It delivered bytes: [`Broker::handle_input`]. It ended: [`Broker::closed`].
//!    The deadline is over: [`Broker::handle_timeout`].
//! 2. After each of them: write what [`Broker::poll_transmit`] gives for each connection that [`Broker::poll_writable`]
//!    names, close those that [`Broker::poll_close`] names, and sleep until [`Broker::poll_timeout`] at the latest.
//!
//! ```
//! use std::time::Instant;
//! use bytes::BytesMut;
//! use ferromqtt_testing::{Broker, BrokerOptions};
//!
//! let mut broker = Broker::new(BrokerOptions::default());
//! let now = Instant::now();
//! let connection = broker.open(now);
//! let mut input = BytesMut::from(&b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a"[..]);
//! broker.handle_input(now, connection, &mut input);
//! assert_eq!(broker.poll_writable(), Some(connection));
//! assert_eq!(&broker.poll_transmit(connection).unwrap()[..], b"\x20\x02\x00\x00");
//! ```
//!
//! # Map
//! | What | Where |
//! | --- | --- |
//! | the calls of a host | `broker.rs` |
//! | from CONNECT to CONNACK, taking over | `handshake.rs`, `authentication.rs` |
//! | the end of connections and sessions | `ending.rs` |
//! | PUBLISH and its acknowledgements, from clients and to them | `routing.rs` |
//! | SUBSCRIBE, UNSUBSCRIBE | `subscribing.rs` |
//! | User Names; what is refused by its name, and what can be refused | `access.rs`, `denied.rs`, `refusal.rs` |
//! | what can be set | `option_table.rs`, `options.rs` |
//! | limits that CONNACK tells | `limits.rs` |
//! | state of one Network Connection | `connection.rs`, `aliases.rs`, `output.rs` |
//! | state of one session | `session.rs`, `outbound.rs`, `packet_ids.rs` |
//! | what a test asks the host for: faults, links, what was published | `host_faults.rs`, `fault_handle.rs`, `expected.rs`, `fired.rs` |
//! | messages that clients still have to send | `watched_clients.rs` |
//! | the host for tokio, one connection of it, a connection in memory | `host.rs`, `link.rs`, `memory_stream.rs` |
//! | sockets, and what lies between them and MQTT | `listen.rs`, `tls.rs` with `authority.rs`, `served_websocket.rs` |
//! | faults on demand: rules as data, and what each comes to | `faults/` |
//! | what lies between the broker and its links: lanes, rules at work, verbs | `wire/` |
//! | what happened, and the chart of it | `journal/` |
//! | seeds: scripts of faults that are drawn, played, shrunk and printed | `chaos/` |
//! | recording, and what serves a recording again | `front.rs`, `replay/` |
//! | random numbers from a seed | `random.rs` |
//! | what is held, in bytes | `memory.rs` |
//! | state of all | `subscriptions.rs`, `shared.rs`, `retained.rs`, `timers.rs` |

mod access;
mod aliases;
mod authentication;
#[cfg(feature = "certificates")]
mod authority;
mod broker;
mod chaos;
mod connection;
mod denied;
mod ending;
#[cfg(feature = "tokio")]
mod expected;
#[cfg(feature = "tokio")]
mod fault_handle;
mod faults;
#[cfg(feature = "tokio")]
mod fired;
mod front;
mod handshake;
#[cfg(feature = "tokio")]
mod host;
#[cfg(feature = "tokio")]
mod host_faults;
#[cfg(feature = "tokio")]
mod host_recording;
mod journal;
mod limits;
#[cfg(feature = "tokio")]
mod link;
#[cfg(feature = "tokio")]
mod listen;
mod memory;
#[cfg(feature = "tokio")]
mod memory_stream;
mod message;
#[macro_use]
mod option_table;
mod options;
mod outbound;
mod output;
mod packet_ids;
mod random;
mod refusal;
mod replay;
mod retained;
mod routing;
#[cfg(feature = "websocket")]
mod served_websocket;
mod session;
mod shared;
mod subscribing;
mod subscriptions;
mod timers;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tokio")]
mod watched_clients;
mod wire;

/// The packets that a [`Broker`] can be told to send, and those of its [journal](BrokerJournal), with what they are made of.
#[doc(no_inline)]
pub use ferromqtt_proto::packet;
/// Which packets a [`FaultRule`] is for.
#[doc(no_inline)]
pub use ferromqtt_proto::packet::PacketType;
pub use ferromqtt_recording as recording;

pub use access::User;
pub use authentication::Authentication;
#[cfg(feature = "certificates")]
pub use authority::{CertificateError, TestAuthority, TestIdentity};
pub use broker::{Broker, BrokerStats};
pub use chaos::{
    BrokerEvent, BrokerVerb, EventTime, FaultScript, FaultScriptError, Faults, ListShrinker,
    ScriptEntry, ScriptShrinker,
};
#[cfg(feature = "seeds")]
pub use chaos::{Chaos, ChaosError, DrawnFaults, SeedOutcome, Seeds, seeds};
pub use connection::ConnectionId;
#[cfg(feature = "tokio")]
pub use expected::{ExpectedMessages, NotPublished};
#[cfg(feature = "tokio")]
pub use fault_handle::{FaultHandle, LinkHandle};
pub use faults::{
    CutPoint, FaultAction, FaultError, FaultId, FaultPlace, FaultRule, FaultTextError, FaultTimes,
    FaultTiming, parse_duration,
};
#[cfg(feature = "faults-file")]
pub use faults::{FaultFileError, FaultFileProblem};
#[cfg(feature = "tokio")]
pub use fired::UnusedFaults;
#[cfg(feature = "tokio")]
pub use host::{BrokerStopped, BrokerUnreachable, TestBroker};
pub use journal::{
    BrokerJournal, BrokerSide, JournalEvent, JournalLink, JournalMessage, JournalPacket,
    LinkChange, MessageFilter, PacketFilter,
};
#[cfg(feature = "tokio")]
pub use listen::{Listen, Listening};
#[cfg(feature = "tokio")]
pub use memory_stream::MemoryStream;
pub use options::{BrokerOptions, BrokerOptionsError};
pub use replay::{ReplayError, ReplayMismatch};
pub use session::SessionStats;
#[cfg(feature = "tokio")]
pub use watched_clients::ClientWatch;
pub use wire::RestartKeeps;
