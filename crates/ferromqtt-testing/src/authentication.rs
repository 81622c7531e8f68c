//! Enhanced authentication (section 4.12): a fixed list of challenges, each with the answer that is right.

use std::fmt;
use std::time::Instant;

use bytes::Bytes;
use ferromqtt_proto::packet::{Auth, Connect, Disconnect, Packet, Properties, ReasonCode};
use ferromqtt_proto::{DecodeError, Utf8String};

use crate::broker::Broker;
use crate::connection::{ConnectionId, ConnectionPhase};
use crate::options::BrokerOptionsError;

/// An Authentication Method that asks its challenges in order and wants the one right answer to each. Without any it lets
/// everybody in who names the method. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Authentication {
    method: Utf8String,
    steps: Vec<(Bytes, Bytes)>,
}

impl Authentication {
    /// A method with its `(challenge, answer)` pairs, which go into Authentication Data.
    ///
    /// # Errors
    /// When `method` is no MQTT string, or a challenge or answer is longer than 65,535 bytes.
    pub fn new<C: Into<Bytes>, A: Into<Bytes>>(
        method: &str,
        steps: impl IntoIterator<Item = (C, A)>,
    ) -> Result<Self, BrokerOptionsError> {
        let method = Utf8String::try_from(method).map_err(|error| BrokerOptionsError::Text {
            what: "the Authentication Method",
            error,
        })?;
        let steps: Vec<(Bytes, Bytes)> = (steps.into_iter())
            .map(|(challenge, answer)| (challenge.into(), answer.into()))
            .collect();
        for (challenge, answer) in &steps {
            for (what, data) in [("a challenge", challenge), ("an answer", answer)] {
                if data.len() > usize::from(u16::MAX) {
                    let bytes = data.len();
                    return Err(BrokerOptionsError::TooLong { what, bytes });
                }
            }
        }
        Ok(Self { method, steps })
    }

    fn auth(&self, reason: ReasonCode, data: Option<Bytes>) -> Packet {
        Packet::Auth(Box::new(Auth {
            reason,
            properties: Properties {
                authentication_method: Some(self.method.clone()),
                authentication_data: data,
                ..Properties::default()
            },
        }))
    }

    /// The AUTH that asks challenge number `step`, if there are so many.
    fn challenge(&self, step: usize) -> Option<Packet> {
        let (challenge, _) = self.steps.get(step)?;
        let data = Some(challenge.clone());
        Some(self.auth(ReasonCode::ContinueAuthentication, data))
    }

    fn is_right(&self, step: usize, data: Option<&Bytes>) -> bool {
        let expected = self.steps.get(step).map(|(_, answer)| &answer[..]);
        expected == Some(data.map_or(&b""[..], |data| data))
    }

    /// The method stays the same in every AUTH (MQTT-4.12.0-5, MQTT-4.12.1-1).
    fn check_method(&self, auth: &Auth) -> Result<(), DecodeError> {
        if auth.properties.authentication_method.as_ref() == Some(&self.method) {
            return Ok(());
        }
        Err(DecodeError::protocol(
            "AUTH does not name the Authentication Method of CONNECT",
        ))
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authentication")
            .field("method", &self.method)
            .field("steps", &self.steps.len())
            .finish()
    }
}

/// What an AUTH packet leads to.
enum AuthProgress {
    Asked(Packet, usize),
    Passed,
    Failed,
}

impl Broker {
    /// Whether CONNECT names a method that this broker does not have (MQTT-4.12.0-1).
    pub(crate) fn is_unknown_method(&self, connect: &Connect) -> bool {
        let method = &connect.properties.authentication_method;
        let known = self.options.authentication.as_ref().map(|it| &it.method);
        method.is_some() && method.as_ref() != known
    }

    /// What a client is asked before CONNACK, if anything.
    pub(crate) fn first_challenge(&self, connect: &Connect) -> Option<Packet> {
        connect.properties.authentication_method.as_ref()?;
        self.options.authentication.as_ref()?.challenge(0)
    }

    /// AUTH between CONNECT and CONNACK.
    pub(crate) fn handle_early_auth(
        &mut self,
        now: Instant,
        id: ConnectionId,
        auth: &Auth,
    ) -> Result<(), DecodeError> {
        let Some(asked) = (self.connections.get(&id)).and_then(|it| it.challenge()) else {
            return Err(DecodeError::protocol("AUTH came before CONNECT"));
        };
        match self.progress(auth, Some(asked))? {
            AuthProgress::Asked(challenge, next) => {
                if let Some(connection) = self.connections.get_mut(&id)
                    && let ConnectionPhase::Connecting { challenge, .. } = &mut connection.phase
                {
                    *challenge = next;
                }
                self.send(now, id, &challenge);
            }
            AuthProgress::Passed => self.accept(now, id),
            AuthProgress::Failed => self.refuse(now, id, ReasonCode::NotAuthorized),
        }
        Ok(())
    }

    /// AUTH on a connection that stands: re-authentication (section 4.12.1).
    pub(crate) fn handle_auth(
        &mut self,
        now: Instant,
        id: ConnectionId,
        auth: &Auth,
    ) -> Result<(), DecodeError> {
        let Some(connected) = (self.connections.get(&id)).and_then(|it| it.connected()) else {
            return Ok(());
        };
        if !connected.authenticated {
            return Err(DecodeError::protocol(
                "AUTH came without an Authentication Method",
            ));
        }
        let (asked, answer) = match self.progress(auth, connected.challenge)? {
            AuthProgress::Asked(challenge, next) => (Some(next), challenge),
            AuthProgress::Passed => {
                let passed = (self.options.authentication.as_ref())
                    .map(|authentication| authentication.auth(ReasonCode::Success, None));
                let Some(passed) = passed else { return Ok(()) };
                (None, passed)
            }
            AuthProgress::Failed => {
                let refused = Disconnect::because(ReasonCode::NotAuthorized);
                self.end_connection(now, id, Some(refused), true); // MQTT-4.12.1-2
                return Ok(());
            }
        };
        if let Some(connected) = (self.connections.get_mut(&id)).and_then(|it| it.connected_mut()) {
            connected.challenge = asked;
        }
        self.send(now, id, &answer);
        Ok(())
    }

    /// Looks at an AUTH; `asked` is the challenge that it must answer, and none begins a new exchange.
    fn progress(&self, auth: &Auth, asked: Option<usize>) -> Result<AuthProgress, DecodeError> {
        let Some(authentication) = &self.options.authentication else {
            return Ok(AuthProgress::Failed);
        };
        authentication.check_method(auth)?;
        let next = match (auth.reason, asked) {
            (ReasonCode::ReAuthenticate, None) => 0,
            (ReasonCode::ContinueAuthentication, Some(step)) => {
                let data = auth.properties.authentication_data.as_ref();
                if !authentication.is_right(step, data) {
                    return Ok(AuthProgress::Failed);
                }
                step + 1
            }
            _ => {
                return Err(DecodeError::protocol(
                    "AUTH has a Reason Code that does not fit into the exchange",
                ));
            }
        };
        Ok(match authentication.challenge(next) {
            Some(challenge) => AuthProgress::Asked(challenge, next),
            None => AuthProgress::Passed,
        })
    }
}
