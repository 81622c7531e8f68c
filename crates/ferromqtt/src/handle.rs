//! A client that an operation borrows, or owns.

use std::fmt;
use std::ops::Deref;

use crate::Client;

/// Borrowed where it can be: one more owner of a client, and one less, are a tenth of what a small QoS 0 publish costs.
#[derive(Clone)]
pub(crate) enum Handle<'a> {
    Borrowed(&'a Client),
    Owned(Client),
}

impl Handle<'_> {
    pub(crate) fn into_owned(self) -> Handle<'static> {
        Handle::Owned(match self {
            Self::Borrowed(client) => client.clone(),
            Self::Owned(client) => client,
        })
    }
}

impl Deref for Handle<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        match self {
            Self::Borrowed(client) => client,
            Self::Owned(client) => client,
        }
    }
}

impl fmt::Debug for Handle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
