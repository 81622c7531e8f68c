//! Who may connect, and what may be published and subscribed to.

use std::fmt;

use ferromqtt_proto::TopicFilter;
use ferromqtt_proto::packet::{Connect, ReasonCode};

use crate::options::BrokerOptions;

/// A User Name and its Password. `Debug` does not show the Password.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    name: String,
    password: Vec<u8>,
}

impl User {
    /// Lets `name` in with `password`.
    pub fn new(name: impl Into<String>, password: impl Into<Vec<u8>>) -> Self {
        let (name, password) = (name.into(), password.into());
        Self { name, password }
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl BrokerOptions {
    /// Why a client may not connect, if so.
    pub(crate) fn login_refusal(&self, connect: &Connect) -> Option<ReasonCode> {
        let will = connect.will.as_ref();
        if self.users.is_empty() || self.users.iter().any(|user| is_login_of(connect, user)) {
            return will
                .filter(|will| self.denies_publish(&will.topic))
                .map(|_| ReasonCode::NotAuthorized);
        }
        Some(match connect.user_name {
            Some(_) => ReasonCode::BadUserNameOrPassword,
            None => ReasonCode::NotAuthorized,
        })
    }

    pub(crate) fn denies_publish(&self, topic: &str) -> bool {
        self.deny_publish.iter().any(|denied| denied.matches(topic))
    }

    pub(crate) fn denies_subscribe(&self, filter: &TopicFilter) -> bool {
        let inner = match filter.strip_prefix("$share/") {
            Some(shared) => shared.split_once('/').map_or("", |(_, inner)| inner),
            None => filter,
        };
        self.deny_subscribe
            .iter()
            .any(|denied| covers(denied, inner))
    }
}

fn is_login_of(connect: &Connect, user: &User) -> bool {
    connect
        .user_name
        .as_ref()
        .is_some_and(|it| *it == *user.name)
        && connect.password.as_deref() == Some(&*user.password)
}

/// Whether `wide` matches every topic that `narrow` does.
fn covers(wide: &str, narrow: &str) -> bool {
    let mut narrow = narrow.split('/');
    for level in wide.split('/') {
        match narrow.next() {
            _ if level == "#" => return true,
            Some(it) if it == level || level == "+" && it != "#" => {}
            _ => return false,
        }
    }
    narrow.next().is_none()
}
