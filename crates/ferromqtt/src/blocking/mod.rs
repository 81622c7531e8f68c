//! The client for programs without an asynchronous runtime: its calls wait on the thread that makes them.
//!
//! ```
//! use ferromqtt::blocking::Client;
//! use ferromqtt::{Error, Options, QoS};
//!
//! # fn main() -> Result<(), Error> {
//! # let broker = ferromqtt_testing::TestBroker::new();
//! # let options = Options::new("broker", 1883).transport(broker.transport());
//! # /*
//! let options = Options::new("localhost", 1883);
//! # */
//! let client = Client::connect(options)?;
//! let mut readings = client.subscribe("temperature/#").wait()?;
//! client.publish("temperature/outside", "28.4").qos(QoS::AtLeastOnce).wait()?;
//! for message in &mut readings {
//!     println!("{}: {}", message.topic, message.text()?);
//! #     assert_eq!(message.payload, "28.4");
//!     break;
//! }
//! client.disconnect()?;
//! # Ok(()) }
//! ```
//!
//! It is the asynchronous client behind a thread: [`Options`](crate::Options), errors, messages and what is promised about them
//! are the same. Where that one is awaited, this one has `wait()`:
//!
//! | [`crate::Client`] | [`blocking::Client`](Client) |
//! | --- | --- |
//! | `client.publish(topic, payload).qos(qos).await` | `client.publish(topic, payload).qos(qos).wait()` |
//! | `.enqueue().await`, then `receipt.await` | `.enqueue()`, then `receipt.wait()` |
//! | `client.subscribe(filter).await` | `client.subscribe(filter).wait()` |
//! | `while let Some(message) = messages.next().await` | `for message in &mut messages` |
//! | `tokio::time::timeout(limit, messages.next()).await` | `messages.recv_timeout(limit)` |
//! | `client.connected().await` | `client.wait_connected(limit)` |
//! | `Connection::open`, and dropping the `Connection` | [`Client::connect`], and dropping its last clone |
//!
//! # Threads
//! A [`Client`] is a cheap clone, and every type here is [`Send`] and [`Sync`]. Share one client among as many threads as you
//! like: each waits for its own calls alone. One more thread, named `ferromqtt`, belongs to the connection. It reads, writes,
//! keeps the connection alive and reconnects, whether your threads call the client or not, and ends with the connection.
//! [`Options::credentials`](crate::Options::credentials) and [`Options::authenticator`](crate::Options::authenticator) run on
//! it, and it writes most log lines: give `tracing` a global subscriber.
//!
//! # Inside a runtime
//! A call that waits would block a runtime's thread, and everything that runs there. Inside a tokio runtime such a call fails
//! with [`ConnectionError::InsideRuntime`](crate::ConnectionError::InsideRuntime), or as [`RecvError::Refused`], and sends
//! nothing; also on the threads of `spawn_blocking`, and inside the client's own callbacks. A QoS 0 message that needs no
//! waiting is sent all the same. Use [`crate::Client`] there, or a thread of [`std::thread`].
//!
//! # Forked processes
//! A child that is forked from the process that connected has the client's memory, and its socket's descriptor, but not its
//! thread. There the client neither writes to the socket nor shuts it down: the parent goes on with it. Calls fail with
//! [`ConnectionError::Forked`](crate::ConnectionError::Forked) as their cause, [`Client::stats`] and the like return their type's
//! default, and dropping a client or a reader does nothing. None of them waits for a lock, which a thread of the parent may have
//! held at the fork.
//!
//! To ask the system which process this is takes as long as publishing a small message. Each call that waits asks. Publishing at
//! QoS 0, and taking a message that is there, ask only when the client's thread has to be woken, and at one in 64 messages.
//! Before a call fails, a child may have taken copies of up to 63 messages that its parent had received, and up to 63 of its own
//! QoS 0 messages may seem to be sent. Both are lost with the child.
//!
//! To have a connection in the child, connect there. The parent's connection stays open for the server until the child too has
//! exited, or has called `exec`, which closes the descriptor.
//!
//! # Tests
//! [`Options::test`](crate::Options::test) works here too, in real time: the test broker's side of a connection runs on that
//! connection's own thread. A test in virtual time needs the asynchronous client.

mod call;
mod client;
mod park;
mod process;
mod receive;
mod requests;
#[cfg(test)]
mod tests;
mod thread;

pub use call::{Call, Receipt};
pub use client::Client;
pub(crate) use process::Process;
pub use receive::{Events, Messages, RecvError};
pub use requests::Requests;

/// Shows a type as the one of the asynchronous client behind it.
macro_rules! shown_as {
    ($($shown:ident: $($behind:tt).+;)*) => {
        $(impl std::fmt::Debug for $shown {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.$($behind).+.fmt(f)
            }
        })*
    };
}

shown_as! { Client: 0.client; Receipt: 0; Messages: messages; Events: 0; }

/// Publishing at QoS 0, and taking messages that are there, compare processes at one in so many.
pub(crate) const UNCHECKED: u32 = 64;
