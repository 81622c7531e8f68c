//! Enhanced authentication (section 4.12): AUTH before CONNACK, and authenticating again on an accepted connection.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::closing::Ending;
use super::{Client, ClientPhase};
use crate::connection::AuthExchange;
use crate::error::{AuthError, ConnectionError, DecodeError};
use crate::event::Event;
use crate::packet::{
    Auth, Disconnect, Packet, PacketType, PropertyPlace, ReasonCode, check_binary,
};
use crate::text::Utf8String;

impl Client {
    /// Answers [`Event::Auth`] with Continue authentication, or starts to authenticate again with Re-authenticate
    /// (MQTT-4.12.1-1). The Authentication Method is that of CONNECT, and is added when it is absent (MQTT-4.12.0-5).
    ///
    /// To give up instead, [disconnect](Client::disconnect).
    ///
    /// # Errors
    /// Each [`AuthError`] says what the standard forbids; nothing has been sent then.
    pub fn authenticate(&mut self, _now: Instant, mut auth: Auth) -> Result<(), AuthError> {
        let method = (auth.properties.authentication_method)
            .take()
            .or_else(|| self.authentication_method().cloned());
        if self.authentication_method().is_none() || method.as_ref() != self.authentication_method()
        {
            return Err(AuthError::Method); // MQTT-4.12.0-7
        }
        auth.properties.authentication_method = method;
        auth.properties.check(PropertyPlace::of(PacketType::Auth))?;
        self.check_authenticate(auth.reason)?;
        let version = self.options.protocol;
        let Some(connection) = &mut self.connection else {
            return Err(AuthError::NotConnected);
        };
        let data = auth.properties.authentication_data.clone();
        let limit = connection.limits.maximum_packet_size();
        let transmit = &mut connection.transmit;
        let packet = Packet::Auth(Box::new(auth.clone()));
        if transmit.push_within(limit, &packet, version).is_err() {
            // MQTT-3.15.2-2, MQTT-3.15.2-3: what only explains is left out.
            auth.properties.reason_string = None;
            auth.properties.user_properties.clear();
            let packet = Packet::Auth(Box::new(auth));
            transmit
                .push_within(limit, &packet, version)
                .map_err(|bytes| AuthError::TooLarge { bytes, limit })?;
        }
        connection.authentication = AuthExchange::ServerAnswers;
        if let Some(data) = data {
            connection.echoes.answer(data);
        }
        Ok(())
    }

    /// Whether an AUTH with this Reason Code may be sent now: what [`authenticate`](Self::authenticate) would say of it.
    ///
    /// # Errors
    /// As there.
    pub fn check_authenticate(&self, reason: ReasonCode) -> Result<(), AuthError> {
        if self.authentication_method().is_none() {
            return Err(AuthError::Method);
        }
        let in_phase = matches!(
            self.phase,
            ClientPhase::Handshake { .. } | ClientPhase::Connected
        );
        let Some(connection) = self.connection.as_ref().filter(|_| in_phase) else {
            return Err(AuthError::NotConnected);
        };
        let allowed = match reason {
            ReasonCode::ContinueAuthentication => {
                connection.authentication == AuthExchange::ClientAnswers
            }
            ReasonCode::ReAuthenticate => {
                self.is_connected() && connection.authentication == AuthExchange::Over
            }
            _ => false, // Success is the server's (MQTT-3.15.2-1)
        };
        match allowed {
            true => Ok(()),
            false => Err(AuthError::NotNow(reason)),
        }
    }

    /// The Authentication Data of the next CONNECT: each exchange has its own beginning.
    ///
    /// # Errors
    /// [`AuthError::Method`] without an Authentication Method; [`AuthError::Property`] for more than 65,535 bytes.
    pub fn set_authentication_data(&mut self, data: Option<Bytes>) -> Result<(), AuthError> {
        if self.authentication_method().is_none() {
            return Err(AuthError::Method);
        }
        check_binary(data.as_ref()).map_err(|problem| {
            PropertyPlace::of(PacketType::Connect).refuses("authentication_data", problem)
        })?;
        self.options.properties.authentication_data = data;
        Ok(())
    }

    /// Gives an exchange up, for a reason of the application's: the connection, or the attempt to make one, ends as
    /// [`ConnectionError::AuthenticationFailed`]. After CONNACK a DISCONNECT tells the server (MQTT-4.12.1-2).
    pub fn fail_authentication(&mut self, now: Instant, why: Arc<str>) {
        let cause = ConnectionError::AuthenticationFailed(why);
        match self.phase {
            ClientPhase::Connected => {
                self.send_disconnect(Disconnect::because(ReasonCode::UnspecifiedError));
                self.end_connection(now, cause, self.by_answering(now));
            }
            ClientPhase::Opening { .. } | ClientPhase::Handshake { .. } => {
                self.end_connection(now, cause, Ending::Abort);
            }
            ClientPhase::Idle | ClientPhase::Closing { .. } | ClientPhase::Waiting { .. } => {}
        }
    }

    /// The Authentication Method that CONNECT names.
    pub(super) const fn authentication_method(&self) -> Option<&Utf8String> {
        self.options.properties.authentication_method.as_ref()
    }

    /// Whether AUTH or CONNACK names the method of CONNECT, or neither names one (MQTT-4.12.0-5, MQTT-4.12.0-6).
    pub(super) fn check_method(&self, method: Option<&Utf8String>) -> Result<(), DecodeError> {
        if method != self.authentication_method() {
            return Err(DecodeError::protocol(
                "the server's Authentication Method is not that of CONNECT",
            ));
        }
        Ok(())
    }

    pub(super) fn on_auth(&mut self, mut auth: Auth) -> Result<(), DecodeError> {
        if self.authentication_method().is_none() {
            return Err(DecodeError::protocol(
                "AUTH came, but no Authentication Method was agreed",
            ));
        }
        self.check_method(auth.properties.authentication_method.as_ref())?;
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        if connection.authentication != AuthExchange::ServerAnswers {
            return Err(DecodeError::protocol("AUTH came out of turn"));
        }
        connection.authentication = match auth.reason {
            ReasonCode::ContinueAuthentication => AuthExchange::ClientAnswers,
            ReasonCode::Success if matches!(self.phase, ClientPhase::Connected) => {
                AuthExchange::Over
            }
            _ => {
                return Err(DecodeError::protocol(
                    "AUTH has a Reason Code that the server must not send now", // MQTT-4.12.0-2
                ));
            }
        };
        if let Some(data) = &mut auth.properties.authentication_data {
            *data = Bytes::copy_from_slice(data); // not to keep the read buffer alive
        }
        self.events.push_back(Event::Auth(Box::new(auth)));
        Ok(())
    }
}
