//! The operations of a client, without a runtime: what lies between the core ([`ferromqtt_proto`]) and a client for one
//! language or runtime (a *face*).
//!
//! The core knows MQTT. A face knows sockets, timers, futures and locks. The engine holds what is neither: which caller waits
//! for which operation and until when, who waits for capacity in the outgoing queue, who reads which queue of received
//! messages, how a connection is drained and left, and what is reported to the application. It does no I/O, reads no clock,
//! takes no lock and starts no task: each method takes `&mut self`, and the time as an argument. So every face behaves alike.
//!
//! # Completion tokens
//! A face waits with whatever its runtime has: a oneshot channel and a waker, a future, a parked thread. The engine keeps such
//! values as opaque [tokens](Tokens). It gives each token back exactly once, either as the result of the method that ends the
//! wait ([`Engine::give_up`], [`Engine::stop_waiting`]) or from [`Engine::next_woken`]. It never wakes, clones or drops one,
//! so no code of the application runs inside the engine, where the face's lock is held.
//!
//! # The loop around it
//! - *Connector*: [`next_request`](Engine::next_request) says what to do with the transport; [`opened`](Engine::opened),
//!   [`finished`](Engine::finished) and [`closed`](Engine::closed) report what became of it. A [`LinkId`] names the transport,
//!   and what is reported of an earlier one is ignored.
//! - *Socket*: [`receive`](Engine::receive) takes bytes, [`transmit`](Engine::transmit) gives some.
//! - *Clock*: [`deadline`](Engine::deadline) says when to call [`on_time`](Engine::on_time).
//! - *Application*: after each call from the driver, [`settle`](Engine::settle); then [`next_ask`](Engine::next_ask) and
//!   [`next_woken`](Engine::next_woken), until they return `None`. Take one, release the lock, act.
//! - *Store*, if there is one: [`poll_journal`](Engine::poll_journal) before [`transmit`](Engine::transmit) and before
//!   [`next_woken`](Engine::next_woken), and [`journal_written`](Engine::journal_written). One that cannot write says so by
//!   [`journal_failed`](Engine::journal_failed), and begins again by [`begin_record`](Engine::begin_record).
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use bytes::BytesMut;
//! use ferromqtt_engine::{CallEnd, Engine, EngineOptions, LinkRequest, Purpose, Tokens, Woken};
//! use ferromqtt_proto::{Options, Outcome, Publish, QoS, Session, TopicName};
//!
//! /// A face that waits with numbers.
//! struct Numbers;
//!
//! impl Tokens for Numbers {
//!     const RESERVES: bool = false;
//!     type Call = u32;
//!     type Reader = u32;
//! }
//!
//! let now = Instant::now();
//! let options = EngineOptions {
//!     disconnect_timeout: Duration::from_secs(5),
//!     ends_session: true,
//!     authenticates: false,
//!     restarts: false,
//! };
//! let mut engine = Engine::<Numbers>::new(Options::default(), Session::default(), 7, options)?;
//! engine.start(now);
//! let Some(LinkRequest::Open { link, .. }) = engine.next_request() else {
//!     panic!("the connector is to open a transport");
//! };
//! engine.opened(now, link);
//! let connect = engine.transmit(now, link).expect("CONNECT");
//! engine.receive(now, link, &mut BytesMut::from(&b"\x20\x03\x00\x00\x00"[..])); // CONNACK
//! engine.settle(now);
//! assert!(engine.is_connected());
//!
//! let mut hello = Publish::new(TopicName::new("greeting")?, "hello");
//! hello.qos = QoS::AtLeastOnce;
//! let deadline = now + Duration::from_secs(10);
//! let submitted = engine.publish(now, Purpose::Message, &hello, Some(deadline), 42);
//! assert!(submitted.is_ok());
//! let publish = engine.transmit(now, link).expect("PUBLISH");
//! engine.receive(now, link, &mut BytesMut::from(&b"\x40\x02\x00\x01"[..])); // PUBACK
//! engine.settle(now);
//! let mut ended = Vec::new();
//! while let Some(woken) = engine.next_woken() {
//!     match woken {
//!         Woken::Call(token, CallEnd::Completed(Outcome::Acknowledged { .. })) => ended.push(token),
//!         Woken::Call(token, end) => panic!("{token} ended as {end:?}"),
//!         Woken::Reader(token) => panic!("{token} waits for nothing"),
//!         Woken::Fact(fact) => println!("{fact:?}"), // a line for the log
//!     }
//! }
//! assert_eq!(ended, [42]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Two methods are fast paths, and make no token, event or allocation of their own:
//! [`publish_now`](Engine::publish_now) and [`take`](Engine::take).
//!
//! `docs/design/0034-engine.md` says why the cut is here.

mod acknowledge;
mod attempts;
mod authenticate;
mod call_result;
mod calls;
mod capacity;
mod declared;
mod distant;
mod drain;
mod engine;
mod events;
mod expiries;
mod fact;
mod failure;
mod filter_result;
mod held;
mod identifier_ledgers;
mod lasting;
mod lasting_end;
mod leaving;
mod line;
mod lines;
mod outgoing_queue;
mod publish;
mod publish_error;
mod queue_accept;
mod queue_tokens;
mod queued;
mod readers;
mod recording;
mod refusal;
mod request_error;
mod responding;
mod stored;
mod subscribe;
mod subscribe_error;
mod window;
mod wire;
mod woken;

pub use authenticate::{Ask, Reply};
pub use call_result::{FilterAnswer, Published};
pub use calls::CallId;
pub use capacity::{Purpose, Submission};
pub use declared::DeclaredQueue;
pub use drain::Undone;
pub use engine::{Engine, EngineOptions, Standing};
pub use events::{ConnectionEvent, EventReaderId};
pub use fact::Fact;
pub use failure::{Awaited, OptionNames, end_text};
pub use filter_result::FilterResult;
pub use identifier_ledgers::{IdentifierDoubt, IdentifierLedgers, PendingChanges};
pub use lasting::QueueEnd;
pub use leaving::Goodbye;
pub use line::{Line, LineLevel, LineValue};
pub use lines::Lines;
pub use outgoing_queue::{OutgoingQueueOptions, StoredMessage};
pub use publish::{GivenUp, at_once};
pub use publish_error::PublishError;
pub use queue_accept::{MessageTerms, QueueSubmission};
pub use readers::ReaderId;
pub use refusal::{PublishRefusal, SubscribeRefusal};
pub use request_error::RequestError;
pub use responding::{asks_for_response, check_responder};
pub use subscribe_error::SubscribeError;
pub use window::DistantMessage;
pub use wire::{InputDemand, Intake, LinkId, LinkRequest};
pub use woken::{CallEnd, Woken};

/// What a face waits with. The engine keeps these values, and gives each back exactly once.
pub trait Tokens {
    /// Whether the reader that is woken for a message has it reserved until it takes it or gives it up. Then readers of one
    /// queue get its messages first come, first served, which needs readers that always take or give up what they were
    /// woken for. Otherwise all readers of a queue are woken, and the first to ask gets the message.
    const RESERVES: bool;

    /// Waits for the [`CallEnd`] of a call.
    type Call;

    /// Waits for a message or an event.
    type Reader;

    /// Whether nobody will learn how this call ends, as its caller has gone. Such a message is counted when the end of the
    /// last connection leaves it without an outcome ([`Fact::Unawaited`]). By default every caller waits.
    fn is_gone(_call: &Self::Call) -> bool {
        false
    }
}
