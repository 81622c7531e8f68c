//! Every Rust text of docs/errors.md is provoked, and reads as the page says.
#![cfg(all(
    feature = "tls",
    feature = "websocket",
    feature = "proxy",
    feature = "testing",
    feature = "blocking",
    feature = "outbox",
    unix
))]

mod addresses;
mod blocking;
mod calls;
#[path = "../scenarios/certificates.rs"]
mod certificates;
mod clock;
mod connecting;
mod memory_store;
mod once;
mod options;
mod outbox;
mod page;
mod properties;
mod replies;
#[path = "../scenarios/server.rs"]
mod server;
mod subscriptions;
mod test_broker;
#[path = "../scenarios/tls_front.rs"]
#[allow(dead_code, reason = "of the other test program")]
mod tls_front;
