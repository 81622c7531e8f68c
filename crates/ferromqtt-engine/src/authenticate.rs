//! Enhanced authentication (5.0, section 4.12): what the application is asked, and what it answers.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ferromqtt_proto::packet::Auth;
use ferromqtt_proto::shown::Masked;
use ferromqtt_proto::{AuthError, Properties, ReasonCode};

use crate::{CallEnd, Engine, Tokens, Woken};

/// What the server says in an exchange, for the application to hear. While one waits for its [`Reply`], nothing is sent:
/// the server may not be the right one.
#[derive(Clone, PartialEq, Eq)]
pub enum Ask {
    /// A challenge, which is to be answered by [`Reply::Data`].
    Continue(Option<Bytes>),
    /// The server has accepted, by CONNACK or by AUTH after it. [`Reply::Accepted`] is the answer.
    Accepted(Option<Bytes>),
}

/// What the application answers.
#[derive(Clone, PartialEq, Eq)]
pub enum Reply {
    /// Authentication Data for the server.
    Data(Option<Bytes>),
    /// The server is the right one.
    Accepted,
    /// The exchange fails on this side, for this reason: the connection ends.
    Failed(Arc<str>),
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, data) = match self {
            Self::Continue(data) => ("Continue", data),
            Self::Accepted(data) => ("Accepted", data),
        };
        f.debug_tuple(name)
            .field(&data.as_ref().map(|_| Masked))
            .finish()
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(data) => f
                .debug_tuple("Data")
                .field(&data.as_ref().map(|_| Masked))
                .finish(),
            Self::Accepted => f.write_str("Accepted"),
            Self::Failed(why) => f.debug_tuple("Failed").field(why).finish(),
        }
    }
}

impl<T: Tokens> Engine<T> {
    /// The next question to the application's authenticator. Only with
    /// [`EngineOptions::authenticates`](crate::EngineOptions::authenticates). Ask after each call from the driver, before
    /// [`transmit`](Self::transmit); answer with [`reply`](Self::reply), before the next one.
    pub fn next_ask(&mut self) -> Option<Ask> {
        if !self.options.authenticates {
            return None;
        }
        self.take_events();
        if self.awaits_reply {
            return None;
        }
        let ask = self.asks.pop_front();
        self.awaits_reply = ask.is_some();
        ask
    }

    /// The application's answer to the question that was asked last.
    ///
    /// # Errors
    /// Why the data cannot be sent. The connection ends for that reason.
    pub fn reply(&mut self, now: Instant, reply: Reply) -> Result<(), AuthError> {
        self.awaits_reply = false;
        match reply {
            Reply::Data(data) => {
                let auth = auth(ReasonCode::ContinueAuthentication, data);
                let sent = self.core.authenticate(now, auth);
                if let Err(error) = &sent {
                    self.core.fail_authentication(now, error.to_string().into());
                }
                return sent;
            }
            Reply::Accepted => {
                let end = |token| Woken::Call(token, CallEnd::ReAuthenticated(Ok(())));
                self.woken
                    .extend(self.re_authenticating.pop_front().map(end));
            }
            Reply::Failed(why) => self.core.fail_authentication(now, why),
        }
        Ok(())
    }

    /// The data that a new connection's exchange begins with, or why there is none. Call it before
    /// [`opened`](Self::opened). `false` when the attempt has failed: it is not opened then.
    pub fn begin_authentication(
        &mut self,
        now: Instant,
        beginning: Result<Option<Bytes>, Arc<str>>,
    ) -> bool {
        let begun = beginning.and_then(|data| {
            (self.core.set_authentication_data(data)).map_err(|error| error.to_string().into())
        });
        match begun {
            Ok(()) => true,
            Err(why) => {
                self.core.fail_authentication(now, why);
                false
            }
        }
    }

    /// Authenticates again on the present connection. The token is given back with [`CallEnd::ReAuthenticated`].
    ///
    /// # Errors
    /// Why nothing was sent, and the token. [`AuthError::NotNow`] also while the application has not heard all that the server
    /// said in the exchange before: its [`Reply`] would end this one.
    pub fn re_authenticate(
        &mut self,
        now: Instant,
        data: Option<Bytes>,
        token: T::Call,
    ) -> Result<(), (T::Call, AuthError)> {
        self.take_events();
        if let Err(error) = self.check_re_authenticate() {
            return Err((token, error));
        }
        match (self.core).authenticate(now, auth(ReasonCode::ReAuthenticate, data)) {
            Ok(()) => {
                self.re_authenticating.push_back(token);
                Ok(())
            }
            Err(error) => Err((token, error)),
        }
    }

    /// Whether [`re_authenticate`](Self::re_authenticate) would be accepted now: to be asked before the application's
    /// authenticator begins.
    ///
    /// # Errors
    /// As there.
    pub fn check_re_authenticate(&self) -> Result<(), AuthError> {
        if self.has_ended() {
            return Err(AuthError::NotConnected); // the core does not know it when the driver has gone
        }
        let reason = ReasonCode::ReAuthenticate;
        if self.awaits_reply || !self.asks.is_empty() {
            return Err(AuthError::NotNow(reason));
        }
        self.core.check_authenticate(reason)
    }

    /// An AUTH packet of the server.
    pub(crate) fn on_auth(&mut self, auth: Auth) {
        let data = auth.properties.authentication_data;
        self.ask(match auth.reason {
            ReasonCode::ContinueAuthentication => Ask::Continue(data),
            _ => Ask::Accepted(data),
        });
    }

    pub(crate) fn ask(&mut self, ask: Ask) {
        if self.options.authenticates {
            self.asks.push_back(ask);
        }
    }

    /// The connection has ended, and with it its exchange.
    pub(crate) fn end_authentication(&mut self, end: &CallEnd) {
        self.asks.clear();
        self.awaits_reply = false;
        for token in self.re_authenticating.drain(..) {
            self.woken.push_back(Woken::Call(token, end.clone()));
        }
    }
}

fn auth(reason: ReasonCode, data: Option<Bytes>) -> Auth {
    let properties = Properties {
        authentication_data: data,
        ..Properties::default()
    };
    Auth { reason, properties }
}
