//! The sans-IO core of ferromqtt: everything MQTT knows, and nothing of sockets, clocks or futures.
//!
//! # Sans-IO
//!
//! A [`Client`] is a state machine. It opens no socket, reads no clock, and draws no random number but from the seed it is
//! given: bytes, time and the end of a transport come in as arguments, and it is *asked* what it wants. So every scenario,
//! a reconnect after an hour included, runs in a test within microseconds and always the same way, and one core serves tokio,
//! asyncio, and whatever comes next.
//!
//! What it does know is MQTT 3.1, 3.1.1 and 5.0: packets, the session with its unacknowledged messages, the server's limits,
//! Keep Alive, subscriptions, queues of received messages, and when to connect again.
//!
//! # The loop of a driver
//!
//! A *driver* owns the transport and the clock. After anything has gone in, it drains four outputs. There are four, because
//! there are four parties, and none may hold up another:
//!
//! | Ask | For whom | Until |
//! | --- | --- | --- |
//! | [`Client::poll_transmit`] | the socket: bytes to write, while it takes any | `None` |
//! | [`Client::poll_transport`] | the connector: open or close a transport | `None` |
//! | [`Client::poll_event`] | the application: what happened | `None` |
//! | [`Client::poll_timeout`] | the clock: when to call [`Client::handle_timeout`] | asked each time |
//!
//! What goes in: [`Client::transport_opened`], [`Client::transport_finished`] and [`Client::transport_closed`] answer the
//! connector's requests,
//! [`Client::handle_input`] takes bytes, [`Client::handle_timeout`] says that time has passed, and the application calls
//! [`Client::connect`], [`Client::publish`], [`Client::subscribe`], [`Client::unsubscribe`], [`Client::acknowledge`],
//! [`Client::leave`] and [`Client::disconnect`]. Each accepted operation has an [`OpId`], and ends with exactly one [`Event::Completed`].
//!
//! While [`Client::input_paused`] says so, a driver reads nothing, so that the server waits for a slow reader. (It does so
//! for queues under [`Overflow::Wait`], the default of those that are opened.)
//!
//! A driver with a store for the session drains a fifth output before it writes to the socket, [`Client::poll_journal`], and
//! says with [`Client::journal_written`] what is on record.
//!
//! Here is all of it, against a server of a few lines in memory:
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use bytes::{Bytes, BytesMut};
//! use ferromqtt_proto::packet::{Ack, ConnAck, Disconnect, Packet, decode, whole_packets};
//! use ferromqtt_proto::{
//!     Client, Event, Options, Properties, ProtocolVersion, Publish, QoS, ReasonCode, Session,
//!     TopicName, TransportRequest,
//! };
//!
//! const VERSION: ProtocolVersion = ProtocolVersion::V5;
//!
//! /// The server: accepts every connection and acknowledges every message.
//! fn serve(packet: Packet) -> Option<Packet> {
//!     match packet {
//!         Packet::Connect(_) => Some(Packet::ConnAck(Box::new(ConnAck {
//!             session_present: false,
//!             reason: ReasonCode::Success,
//!             properties: Properties::default(),
//!         }))),
//!         Packet::Publish(publish) => Some(Packet::PubAck(Ack::success(publish.packet_id?))),
//!         Packet::PingReq => Some(Packet::PingResp),
//!         _ => None,
//!     }
//! }
//!
//! /// The transport: what the client writes, the server answers into `input`.
//! fn exchange(written: &mut BytesMut, input: &mut BytesMut) {
//!     let whole = whole_packets(written, usize::MAX).unwrap();
//!     let source = written.split_to(whole.bytes).freeze();
//!     let mut at = 0;
//!     while at < source.len() {
//!         if let Some(answer) = serve(decode(&source, &mut at, VERSION).unwrap()) {
//!             answer.encode(VERSION, input);
//!         }
//!     }
//! }
//!
//! let mut options = Options::default();
//! options.protocol = VERSION;
//! options.keep_alive = 60;
//! let mut client = Client::new(options, Session::default(), 7)?;
//! let mut now = Instant::now(); // the only time that is read; from here on it is virtual
//! let mut written = BytesMut::new();
//! let mut input = BytesMut::new();
//! let mut log = Vec::new();
//!
//! client.connect(now);
//! for _turn in 0..100 {
//!     // The socket.
//!     while let Some(chunk) = client.poll_transmit(now) {
//!         written.extend_from_slice(&chunk);
//!     }
//!     // The connector.
//!     if let Some(request) = client.poll_transport() {
//!         match request {
//!             TransportRequest::Open { .. } => client.transport_opened(now),
//!             TransportRequest::Finish => client.transport_finished(now), // all is written, and this side has ended
//!             _ => client.transport_closed(now, ferromqtt_proto::TransportError::EndOfStream),
//!         }
//!         continue; // there may be more to write now
//!     }
//!     // The application.
//!     while let Some(event) = client.poll_event() {
//!         match event {
//!             Event::Connected(_) => {
//!                 let mut publish = Publish::new(TopicName::new("greeting")?, Bytes::from("hello"));
//!                 publish.qos = QoS::AtLeastOnce;
//!                 client.publish(now, publish)?;
//!                 log.push("connected");
//!             }
//!             Event::Completed { .. } => log.push("acknowledged"),
//!             Event::Disconnected { .. } => log.push("disconnected"),
//!             _ => {}
//!         }
//!     }
//!     // The server reads and answers; then the client reads.
//!     exchange(&mut written, &mut input);
//!     if !input.is_empty() {
//!         client.handle_input(now, &mut input);
//!         continue;
//!     }
//!     if client.pending_transmit() > 0 || log.last() == Some(&"connected") {
//!         continue; // the publish has still to be written
//!     }
//!     // The clock: nothing is left to do now, so sleep until something is due. After a minute and a PINGREQ, leave.
//!     match client.poll_timeout() {
//!         Some(due) if log.last() == Some(&"acknowledged") && due > now => {
//!             assert_eq!(due - now, Duration::from_secs(60));
//!             now = due;
//!             client.handle_timeout(now);
//!             log.push("woken");
//!         }
//!         _ if client.is_connected() => client.disconnect(now, Disconnect::normal()),
//!         // The server has read DISCONNECT, and closes its side.
//!         _ if !client.is_idle() => {
//!             client.transport_closed(now, ferromqtt_proto::TransportError::EndOfStream);
//!         }
//!         _ => break,
//!     }
//! }
//! assert_eq!(log, ["connected", "acknowledged", "woken", "disconnected"]);
//! assert!(client.is_idle());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Map of modules
//!
//! | Module | What it holds |
//! | --- | --- |
//! | `client` | the state machine: `outgoing` and `incoming` (the two exchanges), `deliver` (messages to queues), `subscribe` and `filter_request`, `input` and `output` (bytes), `lifecycle` (begin, end, time), `leaving` and `closing` |
//! | `session` | what outlives a connection: unacknowledged messages, Packet Identifiers, subscriptions, queues |
//! | `connection` | what does not: the server's limits, Keep Alive, Topic Aliases, bytes to be written |
//! | [`packet`] | a type for each packet, one for all versions |
//! | [`codec`] | the fixed header, and the data types below it |
//! | `options`, `event`, `error`, `filter_refusal` | what goes in once, and what comes out |
//! | `profile` | what services and servers take that do not announce it: a table, and the checks by it |
//! | `slips` | rules broken by the server that [`Options::strict`] refuses, and that are tolerated otherwise |
//! | `reconnect`, `servers`, `versions` | back-off, and which ends are final; which server is next; which version each speaks |
//! | [`shown`] | what `Debug`, errors and logs show of payloads, of what authenticates, and of a peer's text |
//! | `repeats` | which of many log lines that say the same a driver writes |
//! | `topic`, `text` | Topic Names and Filters, and the strings they are made of |
//! | `topic_template`, `topic_templates` | Topic Filters whose wildcards have names; those of one subscription |
//! | `topic_tree` | many filters or names, and which of them match |

mod client;
pub mod codec;
mod connection;
mod error;
mod event;
mod filter_refusal;
mod options;
pub mod packet;
mod packet_trace;
mod profile;
mod property_error;
mod reconnect;
mod repeats;
mod servers;
mod session;
pub mod shown;
mod slips;
#[cfg(test)]
mod tests_support;
mod text;
mod topic;
mod topic_template;
mod topic_templates;
mod topic_tree;
mod versions;

pub use client::{AckLatency, Client, ConnectResult, Contest, Stats, Subscribe, Unsubscribe};
pub use connection::{CHUNK, LARGE_PAYLOAD, Progress, ServerLimits, TcpProgress};
pub use error::{
    AcknowledgeError, AuthError, ConnectionError, DecodeError, DisconnectError, InvalidOptions,
    InvalidPublish, InvalidSubscribe, InvalidTopic, StringError, TopicError, TransportError,
};
pub use event::{Connected, Delivery, Event, OpId, Outcome, QuarantineReason, TransportRequest};
pub use filter_refusal::FilterRefusal;
pub use options::{CleanStart, OnSessionLost, Options, OutgoingLimits, OutgoingPolicy};
pub use packet::{
    PacketId, Properties, ProtocolVersion, QoS, ReasonCode, RetainHandling, SubscriptionOptions,
    UserProperties, Will,
};
pub use packet_trace::{Direction, PacketRecord, PublishRecord};
pub use profile::{
    KeepAliveBounds, PortProtocol, ProfileConflict, ProfileEvidence, ProfileFigure, ProfilePorts,
    ProfileRow, ProfileSource, ServerProfile, ServerReach, TopicLimit, UncountedLevels,
    UnknownProfile,
};
pub use property_error::{PropertyError, PropertyProblem};
pub use reconnect::Reconnect;
pub use repeats::{Repeat, Repeats, Unreported};
pub use servers::ServerChoice;
pub use session::{
    Acknowledge, DeliveryId, JournalEntry, Message, Overflow, Publish, QueueId, QueueOptions,
    Session, SessionChange, Unacknowledged,
};
#[doc(hidden)] // for the drivers and the test broker of this workspace
pub use session::{IdHasher, InOrder};
pub use slips::Slip;
pub use text::Utf8String;
pub use topic::{TopicFilter, TopicName};
#[doc(hidden)] // for the clients of this workspace that have another type of filters
pub use topic::{has_misplaced_wildcard, matches_by_level};
pub use topic_template::{TemplateError, TemplateProblem, TopicParams, TopicTemplate};
pub use topic_templates::TopicTemplates;
pub use topic_tree::{FilterTree, NameTree};
