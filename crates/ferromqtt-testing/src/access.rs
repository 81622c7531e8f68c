//! Who may connect: User Names and Passwords.

use ferromqtt_proto::debug_fields;
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

    fn logs_in_with(&self, connect: &Connect) -> bool {
        let name = connect.user_name.as_ref();
        name.is_some_and(|name| *name == *self.name)
            && connect.password.as_deref() == Some(&*self.password)
    }
}

debug_fields!(User {
    name,
    password: hidden
});

impl BrokerOptions {
    /// Why a client may not connect with its User Name and Password, if so. One that names an Authentication Method is
    /// asked by that instead.
    pub(crate) fn login_refusal(&self, connect: &Connect) -> Option<ReasonCode> {
        let open_to_all = self.users.is_empty() && self.authentication.is_none();
        let authenticates = connect.properties.authentication_method.is_some();
        if open_to_all || authenticates || self.users.iter().any(|it| it.logs_in_with(connect)) {
            return None;
        }
        Some(match connect.user_name {
            Some(_) => ReasonCode::BadUserNameOrPassword,
            None => ReasonCode::NotAuthorized,
        })
    }
}
