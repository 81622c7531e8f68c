//! Code of the application's may call the client wherever the client runs it. Wakers and log subscribers have tests of their
//! own.

use std::fmt::{self, Write};
use std::future::IntoFuture;
use std::sync::{Mutex as StdMutex, PoisonError};
use std::task::{Context, Waker};

use bytes::Bytes;
use ferromqtt_proto::packet::ConnAck;

use super::*;
use crate::{
    Authenticator, AuthenticatorError, Client, Properties, ReAuthenticateError, ReasonCode,
};

/// Where an authenticator finds the client.
type Slot = Arc<StdMutex<Option<Client>>>;

/// Calls the client at each opportunity.
struct Calls(Slot);

impl Calls {
    fn call(&self) {
        let client = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(client) = client else {
            return;
        };
        let _ = client.stats();
        let _ = client.publish("t", "by the authenticator").try_enqueue();
        // Once: the exchange that this begins, and drops, finds no client.
        let mut context = Context::from_waker(Waker::noop());
        let _ = std::pin::pin!(client.re_authenticate()).poll(&mut context);
        *self.0.lock().unwrap() = Some(client);
    }
}

impl Authenticator for Calls {
    fn begin(&mut self) -> Result<Option<Bytes>, AuthenticatorError> {
        Ok(None)
    }

    fn answer(&mut self, _: Option<Bytes>) -> Result<Option<Bytes>, AuthenticatorError> {
        self.call();
        Ok(None)
    }

    fn accepted(&mut self, _: Option<Bytes>) -> Result<(), AuthenticatorError> {
        self.call();
        Ok(())
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.call();
    }
}

async fn authenticated(slot: &Slot) -> (Connection, Server<DuplexStream>, Attempts) {
    let (attempts, script) = Attempts::new();
    let stream = attempts.succeeds(4096);
    let slot = Arc::clone(slot);
    let options = options().authenticator("CALLS", move || Calls(Arc::clone(&slot)));
    let serve = async {
        let mut server = Server::new(stream);
        server.connect().await;
        let properties = Properties {
            authentication_method: Some("CALLS".try_into().unwrap()),
            ..Properties::default()
        };
        let accepted = ConnAck {
            session_present: false,
            reason: ReasonCode::Success,
            properties,
        };
        server.send(&Packet::ConnAck(Box::new(accepted))).await;
        server
    };
    let (connection, server) = tokio::join!(Connection::open_over(options, script), serve);
    (connection.unwrap(), server, attempts)
}

#[test]
fn an_authenticator_may_call_the_client_when_it_is_dropped_because_another_one_is_under_way() {
    without_deadlock(|| {
        paused_runtime().block_on(async {
            let slot = Slot::default();
            let (connection, _server, _attempts) = authenticated(&slot).await;
            let client = connection.client();
            let mut context = Context::from_waker(Waker::noop());
            let first = client.re_authenticate();
            let mut first = Box::pin(first.into_future());
            assert!(first.as_mut().poll(&mut context).is_pending());
            *slot.lock().unwrap() = Some(client.clone());
            let second = in_time(client.re_authenticate()).await;
            assert!(
                matches!(second, Err(ReAuthenticateError::Invalid(_))),
                "{second:?}"
            );
            *slot.lock().unwrap() = None;
        });
    });
}

/// Calls the client whenever something is written.
struct Writes(Client);

impl Write for Writes {
    fn write_str(&mut self, _: &str) -> fmt::Result {
        let _ = self.0.stats();
        Ok(())
    }
}

#[test]
fn a_client_may_be_shown_to_a_writer_that_calls_it() {
    without_deadlock(|| {
        paused_runtime().block_on(async {
            let (connection, _server, _attempts) = connected(options(), 4096).await;
            let client = connection.client();
            write!(Writes(client.clone()), "{client:?} {connection:?}").unwrap();
        });
    });
}
