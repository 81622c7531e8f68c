//! An MQTT client for tokio that tells what happened to every message.
//!
//! ```
//! use ferromqtt::{Error, Options, QoS};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! # let broker = ferromqtt_testing::TestBroker::start().await.unwrap();
//! # let (host, port) = (broker.host(), broker.port());
//! ferromqtt::scope(Options::new(host, port), async |client| {
//!     let mut readings = client.subscribe("temperature/#").await?;
//!     client.publish("temperature/outside", "28.4").qos(QoS::AtLeastOnce).await?;
//!     if let Some(message) = readings.next().await {
//!         assert_eq!(message.topic, "temperature/outside");
//!     }
//!     Ok(())
//! })
//! .await?;
//! # broker.stop().await;
//! # Ok::<_, Error>(()) }).unwrap();
//! ```
//!
//! # What is where
//! - [`scope`] connects, runs a program, and disconnects whether it succeeds or fails. [`Connection`] is the same without
//!   a block around it.
//! - [`Client`] is what a program works with: a cheap clone, for as many tasks as you like.
//! - [`Client::publish`] completes when the message has reached its Quality of Service; `.enqueue()` only waits until it is
//!   accepted, and gives a [`Receipt`] for the rest. `.timeout(limit)` withdraws it when it has not been sent by then;
//!   `.into_owned()` makes a publish that can be spawned.
//! - [`Client::subscribe`] gives [`Messages`], a stream; [`Client::subscribe_all`] one for several filters.
//! - [`Messages::typed`] decodes payloads by a codec, and [`Client::publish_encoded`] encodes them; with the feature `serde`
//!   [`Messages::json`] and [`Client::publish_json`] do so for JSON. Of a [`TopicTemplate`] [`Messages::params`] has the names.
//! - [`Options::subscription`] declares a subscription before there is a connection; [`Client::declared`] takes its stream.
//! - [`Client::request`] and [`Client::respond`] are the two sides of request and response (5.0).
//! - [`Client::events`] reports what happens to the connection; [`Client::connected`] and [`Client::closed`] wait for it.
//! - [`Connection::start`] does not wait for the connection; [`Connection::drain`] ends it when all is done.
//! - A [`Will`] is published by the server when the client is lost, and also when its end asks for it
//!   ([`Connection::disconnect_with_will`], [`Options::will_on_error`]).
//! - [`Options::credentials`] asks for credentials at each attempt to connect, where they expire.
//! - An [`Authenticator`] answers a server that asks (enhanced authentication, 5.0).
//! - [`Options`] are under the standard's names. MQTT 5.0 and reconnecting are the defaults.
//! - [`blocking::Client`] is for programs without an asynchronous runtime.
//!
//! # What it promises
//! - Messages go out in the order of the calls. When the outgoing queue is full a call waits for capacity; calls that wait are
//!   accepted in order too.
//! - With [`CleanStart::Never`] the session outlives the program: a stream that is dropped leaves its subscription in it
//!   ([`Messages::detach`]). What the server has kept meanwhile waits, unacknowledged, for the stream that subscribes to it
//!   again ([`Options::claim_within`]), or comes to one that is [declared in the options](Options::subscription). A message
//!   that a stream's queue has taken is acknowledged, and lost when the program ends before it is read: a program that
//!   must not miss any acknowledges by itself ([`Acknowledge::ByApplication`]).
//! - A stream that is read slowly holds back its server ([`Overflow::Wait`]). While a call waits for an answer everything is
//!   read, so a publish from inside a loop over messages does not wait for itself.
//! - After a lost connection the client connects again, with growing pauses, resumes the session or starts a new one, and
//!   resends what was unacknowledged (MQTT-4.4.0-1). Calls wait meanwhile.
//! - Every error says whose fault it was, and whether the message may have arrived all the same ([`Delivery`]).
//!
//! # When a future is dropped
//! Every `async` function has a section on it, *Cancel safety*. In short: what takes something from a stream
//! ([`Messages::next`], [`Events::next`]) takes it only when it completes, so `select!` and time limits lose nothing; a
//! message that was accepted is not taken back, unless a [time limit](Publish::timeout) ends before it is sent; a
//! subscription that was not answered yet is; [`scope`] and the end of a [`Connection`] go on in the background.
//!
//! # Values that you build
//! Operations, [`Options`], [`Will`], [`DeclaredSubscription`] and [`Credentials`] are built by methods. [`Properties`],
//! [`QueueOptions`], [`SubscriptionOptions`], [`OutgoingLimits`] and [`Reconnect`] have public fields: set those that matter,
//! and take the rest from a default (`..Reconnect::default()`), since a later version may add some. What the client gives
//! you, such as a [`Message`], may get more fields too; [`Message::new`] makes one for your tests.
//!
//! # Errors
//! One type for each operation, all convertible to [`Error`]:
//!
//! | Operation | Error | says |
//! | --- | --- | --- |
//! | [`scope`], [`Connection::open`], [`Connection::start`] | [`ConnectError`] | options that cannot be, or why there is no connection |
//! | publish, respond, receipts | [`PublishError`] | why, and with [`PublishError::delivery`] whether the message may have arrived |
//! | subscribe, unsubscribe | [`SubscribeError`] | the server's Reason Code for each filter, or why there is none |
//! | responder | [`SubscribeError`] | as for subscribe |
//! | [`Router::run`] | [`RouterError`] | a subscription that was refused, or why the connection ended |
//! | request | [`RequestError`] | why there is no response |
//! | readers of [`blocking`] | [`blocking::RecvError`] | why there is no message or event |
//! | re-authenticate | [`ReAuthenticateError`] | what is missing, or why the connection ended |
//! | [`Client::connected`], [`Client::closed`], [`Connection::disconnect`] | [`ConnectionError`] | the server's Reason Code, the transport's error, or what else ended the connection |
//!
//! # Transports
//! [`Server`] lists the URLs: `mqtt`, `mqtts`, `ws`, `wss` and `mqtt+unix`. Several addresses of a host are tried side by
//! side (RFC 8305); several servers, one after the other ([`Options::servers`]). [`Options::transport`] takes a transport of
//! your own: anything that reads and writes bytes.
//!
//! | Feature | what | default | crates a program gets (Linux) |
//! | --- | --- | --- | --- |
//! | | the client over TCP and Unix sockets | | 21, this one included |
//! | `tls` | TLS by rustls with ring: `Options::tls` | yes | 37 |
//! | `websocket` | MQTT over WebSocket | no | 35; 50 with `tls` |
//! | `proxy` | SOCKS 4, 4a, 5 and HTTP CONNECT: `Options::proxy` | no | no more |
//! | `blocking` | a client for programs without a runtime: [`blocking`] | no | no more |
//! | `serde` | JSON of serde's types: [`Messages::json`], [`Client::publish_json`] | no | 6 more |
//! | `testing` | a broker for your tests: `Options::test`; recordings are read, and not only written | no | 7 more, 1 with `serde` |
//! | `tracing` | connections made, lost and given up, messages lost, and packets, as `tracing` [events](#logs) | yes | 24; 39 with `tls` |
//!
//! That is 39 by default and 59 with everything but `idna`. rumqttc 0.25 counted in the same way: 27 without TLS, 52 by default, 90
//! with TLS and WebSocket.
//!
//! # How it is built
//! All of MQTT is in [`ferromqtt_proto`], which does no I/O. [`ferromqtt_engine`] on top of it knows which call waits for
//! what, and until when. Here is one task that moves bytes between that engine and a socket (`driver.rs`), and handles for
//! the application that call the engine directly, under a lock that is never held over an await.
//!
//! # Runtimes
//! Works on tokio's multi-thread and current-thread runtimes, which need their I/O and time drivers on. Every public
//! type is `Send` and `Sync`.
//!
//! Nothing blocks a thread of the runtime: files with certificates are read, and host names are looked up, on tokio's
//! threads for blocking work. Calls that are not `async`, such as [`Client::acknowledge`] and [`Client::stats`], take a
//! lock for as long as the core computes, and never wait for the network. A program that is not asynchronous uses
//! [`blocking::Client`], of the feature `blocking`.
//!
//! # Tests
//!
//! With the feature `testing` the crate has a broker for your tests ([`testing`]), and [`Options::test`] connects to it in
//! memory. No port is opened, and under `#[tokio::test(start_paused = true)]` client and broker wait in virtual time: an hour of
//! Keep Alive, a pause before reconnecting or an expiring session takes milliseconds. Put a `tokio::time::timeout` around what
//! may never come: with a connection, Keep Alive moves a paused clock on forever, and the test would not end. For programs that
//! want a socket there is `TestBroker::listen`.
//!
//! ```toml
//! [dev-dependencies]
//! ferromqtt = { version = "0.1", features = ["testing"] }
//! tokio = { version = "1", features = ["macros", "rt", "test-util"] }
//! ```
//!
//! ```
//! use ferromqtt::testing::TestBroker;
//! use ferromqtt::{Error, Options, QoS};
//!
//! # /*
//! #[tokio::test(start_paused = true)]
//! # */
//! async fn a_message_waits_for_a_client_that_is_away() -> Result<(), Error> {
//!     let broker = TestBroker::new();
//!     ferromqtt::scope(Options::test(&broker), async |client| {
//!         client.publish("site/7/level", "28.4").qos(QoS::AtLeastOnce).retain(true).await?;
//!         Ok::<_, Error>(())
//!     })
//!     .await?;
//!     ferromqtt::scope(Options::test(&broker), async |client| {
//!         let mut levels = client.subscribe("site/+/level").await?;
//!         let level = levels.next().await.expect("the retained message");
//!         assert_eq!(level.text()?, "28.4");
//!         Ok(())
//!     })
//!     .await
//! }
//! # let mut builder = tokio::runtime::Builder::new_current_thread();
//! # let runtime = builder.enable_time().start_paused(true).build().unwrap();
//! # runtime.block_on(a_message_waits_for_a_client_that_is_away()).unwrap();
//! ```
//!
//! Without the feature, a test of a program that makes its own [`Options`] replaces their connection:
//! `options.transport(broker.transport())`, with `TestBroker` of the crate `ferromqtt-testing`.
//!
//! # Logs
//!
//! With the feature `tracing` the client writes to the target `ferromqtt`: what is lost or goes wrong as warnings, handlers
//! of a [`Router`] that fail as errors, connections made and ended as information, and at DEBUG a line for each packet. Such a
//! line has the type, Packet Identifier, lengths, topic and Reason Code; no line of the client's own has a payload or what
//! authenticates. Whether packets are wanted is asked once for each attempt to connect. A subscriber that publishes the lines by this client must leave DEBUG out, since each publish makes a
//! line.
//!
//! Each line stands in a span named `connection` with `client_identifier`, `server` (host and port) and `attempt`, which counts
//! from 1 for each [`Connection`].
//!
//! # More
//! [A program for each task](https://github.com/ferromqtt/ferromqtt/tree/main/examples/rust), and pages for those who know
//! another client: [`migration`].

mod authenticate;
mod authenticator;
#[cfg(feature = "blocking")]
pub mod blocking;
mod call;
mod client;
mod codec;
mod connect_error;
mod connection;
mod credentials;
mod credentials_source;
mod declared;
mod drain;
mod driver;
mod enqueue;
mod error;
mod events;
mod handle;
mod link;
mod log;
mod messages;
mod numbers;
mod once;
mod options;
mod options_error;
#[cfg(not(feature = "outbox"))]
#[path = "no_outbox.rs"]
mod outbox;
#[cfg(feature = "outbox")]
mod outbox;
mod payload;
mod publish;
mod publish_future;
mod request;
mod responder;
mod router;
mod server;
mod shared;
mod state;
mod subscribe;
mod subscription_filter;
mod terms;
#[cfg(test)]
mod tests;
mod transport;
mod typed_messages;
mod will;

pub use bytes::Bytes;

pub use authenticator::{Authenticator, AuthenticatorError, ReAuthenticateError};
pub use client::Client;
#[cfg(feature = "serde")]
pub use codec::Json;
pub use codec::{Decode, Encode, PayloadError};
pub use connect_error::ConnectError;
pub use connection::{Connection, scope, scope_with};
pub use credentials::{ConnectAttempt, Credentials, CredentialsError, CredentialsProvider};
pub use declared::DeclaredSubscription;
pub use drain::Drained;
pub use error::Error;
pub use events::Events;
pub use ferromqtt_engine::{
    Awaited, ConnectionEvent, FilterResult, PublishError, Published, RequestError, SubscribeError,
};
#[cfg(feature = "outbox")]
pub use ferromqtt_outbox::{Outbox, OutboxStats, StoreCounters, StoreError, StoreSync};
pub use ferromqtt_proto::AuthError;
pub use ferromqtt_proto::packet::{SubscriptionIdentifiers, TopicAlias};
pub use ferromqtt_proto::{
    AckLatency, Acknowledge, AcknowledgeError, CleanStart, ConnectResult, ConnectionError, Contest,
    DecodeError, Delivery, DeliveryId, FilterRefusal, InvalidOptions, InvalidPublish,
    InvalidSubscribe, InvalidTopic, KeepAliveBounds, Message, OnSessionLost, OutgoingLimits,
    OutgoingPolicy, Overflow, PacketId, PortProtocol, ProfileConflict, ProfileEvidence,
    ProfileFigure, ProfilePorts, ProfileRow, ProfileSource, Properties, PropertyError,
    PropertyProblem, ProtocolVersion, QoS, QuarantineReason, QueueOptions, ReasonCode, Reconnect,
    RetainHandling, ServerLimits, ServerProfile, Slip, Stats, StringError, SubscriptionOptions,
    TemplateError, TemplateProblem, TopicError, TopicFilter, TopicLimit, TopicName, TopicParams,
    TopicTemplate, TransportError, Unacknowledged, UncountedLevels, UnknownProfile, UserProperties,
    Utf8String,
};
/// Recordings of what goes by a connection: the crate `ferromqtt-recording`, for [`Options::record`]. To read them it needs the
/// feature `testing`, or the feature `read` of that crate.
pub use ferromqtt_recording as recording;

/// The test broker: the crate `ferromqtt-testing`, for [`Options::test`].
#[cfg(feature = "testing")]
pub use ferromqtt_testing as testing;
#[cfg(feature = "websocket")]
pub use ferromqtt_transport::WebSocketError;
pub use ferromqtt_transport::{HostError, UrlError};
pub use futures_core::Stream;
pub use messages::Messages;
pub use once::{DeadLetter, ExactlyOnce, InvalidExactlyOnce, OnFailure, OnceError, OnceStore};
pub use options::Options;
#[cfg(feature = "tls")]
pub use options_error::TlsError;
pub use options_error::{AddressError, OptionsError};
pub use payload::IntoPayload;
pub use publish::Publish;
pub use publish_future::{PublishFuture, Receipt};
pub use request::Request;
pub use responder::{RequestMessage, Requests, Responder};
pub use router::{HandlerError, Route, RoutedMessage, Router, RouterError};
pub use server::Server;
pub use subscribe::Subscribe;
pub use subscription_filter::SubscriptionFilter;
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;
#[cfg(feature = "proxy")]
pub use transport::Proxy;
#[cfg(feature = "tls")]
pub use transport::TlsOptions;
pub use transport::Transport;
pub use typed_messages::{TypedMessage, TypedMessages};
pub use will::Will;

/// For those who know another client.
#[cfg(all(
    any(doc, doctest),
    feature = "blocking",
    feature = "tls",
    feature = "websocket"
))]
pub mod migration {
    #[doc = include_str!("../docs/coming-from-paho-mqtt-rust.md")]
    pub mod from_paho_mqtt {}

    #[doc = include_str!("../docs/coming-from-rumqttc.md")]
    pub mod from_rumqttc {}
}

/// Pages whose programs are compiled and run, and that are no part of the documentation.
#[cfg(all(doctest, feature = "testing"))]
mod pages {
    #[doc = include_str!("../docs/faults.md")]
    mod faults {}
}
