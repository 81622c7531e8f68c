//! What `TestBroker::idle` sees of clients: messages that the broker knows nothing of yet.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Lets [`TestBroker::idle`](crate::TestBroker::idle) wait for messages that a client still has to send, for example when it is
/// about to connect again. `Options::test` of the crate `ferromqtt` does so for its clients; call [`watch`](Self::watch) for one
/// of another library.
///
/// It may outlive the broker, and does nothing then.
#[derive(Clone)]
pub struct ClientWatch(pub(crate) Weak<WatchedClients>);

impl fmt::Debug for ClientWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientWatch").finish_non_exhaustive()
    }
}

impl ClientWatch {
    /// Watches a client: `outgoing` returns how many messages it has accepted that are not sent and acknowledged to the end, or
    /// `None` once it has ended or is gone, after which it is not called again.
    ///
    /// It is called whenever somebody asks whether the broker is idle, without a lock of the broker. It must not call
    /// [`TestBroker::idle`](crate::TestBroker::idle), [`is_idle`](crate::TestBroker::is_idle) or this method.
    pub fn watch(&self, outgoing: impl Fn() -> Option<usize> + Send + 'static) {
        if let Some(clients) = self.0.upgrade() {
            let mut clients = clients.0.lock().unwrap_or_else(PoisonError::into_inner);
            clients.push(Box::new(outgoing));
        }
    }
}

type OutgoingCount = Box<dyn Fn() -> Option<usize> + Send>;

/// The clients of one broker that are watched.
#[derive(Default)]
pub(crate) struct WatchedClients(Mutex<Vec<OutgoingCount>>);

impl fmt::Debug for WatchedClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedClients").finish_non_exhaustive()
    }
}

impl WatchedClients {
    pub(crate) fn watch(self: &Arc<Self>) -> ClientWatch {
        ClientWatch(Arc::downgrade(self))
    }

    /// Whether one of them has messages to send. Those that have ended are forgotten.
    pub(crate) fn have_outgoing(&self) -> bool {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = false;
        clients.retain(|outgoing| {
            let outgoing = outgoing();
            found |= outgoing.is_some_and(|count| count > 0);
            outgoing.is_some()
        });
        found
    }
}
