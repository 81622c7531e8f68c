//! What an accepted CONNECT came to, kept for the application to look at.

use crate::connection::ServerLimits;
use crate::options::Options;
use crate::packet::Properties;
use crate::text::Utf8String;

/// What the CONNACK of a connection that the server accepted has settled (section 3.2). Each value is the one that holds:
/// where the server said nothing, that is the default of the standard, or what the client asked for.
///
/// From [`Client::connack`](crate::Client::connack). It is that of the latest connection, also when that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectResult {
    /// Session Present: the server resumed the session.
    pub session_present: bool,
    /// The Client Identifier in use: the one of the options, or the one that the server assigned (section 3.2.2.3.7).
    pub client_identifier: Utf8String,
    /// What the server allows.
    pub limits: ServerLimits,
    /// The Keep Alive in use, in seconds; 0 turns it off: the Server Keep Alive (section 3.2.2.3.14), else the one of the
    /// options.
    pub server_keep_alive: u16,
    /// The Session Expiry Interval in use (section 3.2.2.3.2), in seconds: 0 ends the session with the connection, and
    /// 4,294,967,295 keeps it forever. Before 5.0 it is one of these two, by the Clean Session that was sent.
    pub session_expiry_interval: u32,
    /// The properties as they came (5.0), without the Authentication Data: those are for the authenticator alone.
    pub properties: Properties,
}

impl ConnectResult {
    pub(super) fn new(
        session_present: bool,
        connack: &Properties,
        options: &Options,
        client_identifier: &Utf8String,
        clean_start: bool,
    ) -> Self {
        let mut properties = connack.clone();
        properties.authentication_data = None;
        properties.detach(); // it is kept for as long as the client
        let asked = match options.protocol.is_v5() {
            true => options.properties.session_expiry_interval.unwrap_or(0),
            false if clean_start => 0,
            false => u32::MAX,
        };
        Self {
            session_present,
            client_identifier: client_identifier.clone(),
            limits: ServerLimits::new(connack, options),
            server_keep_alive: connack.server_keep_alive.unwrap_or(options.keep_alive),
            session_expiry_interval: connack.session_expiry_interval.unwrap_or(asked),
            properties,
        }
    }
}
