//! What a server's URL says of the client, behind the question mark.

use super::{UrlError, text};

/// The options of a client that stand in the query of a server's URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientQuery {
    /// `client_id`: the Client Identifier, percent-decoded.
    pub client_identifier: Option<String>,
    /// `keep_alive`: the Keep Alive in seconds; 0 turns it off.
    pub keep_alive: Option<u16>,
    /// `protocol`: the version of MQTT.
    pub protocol: Option<QueryProtocol>,
}

/// Which version of MQTT a server's URL asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryProtocol {
    /// MQTT 3.1.
    V31,
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.0.
    V5,
    /// 5.0 with a server that speaks it, 3.1.1 with others.
    Auto,
}

impl ClientQuery {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads what stands behind the question mark.
    pub(super) fn parse(query: &str) -> Result<Self, UrlError> {
        let mut found = Self::default();
        // An @ more likely ends a password that was not encoded.
        if query.contains('@') {
            return Err(UrlError::Query);
        }
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').ok_or(UrlError::Query)?;
            let is_new = match key {
                "client_id" => {
                    let value = text(value, "client_id of the query")?;
                    found.client_identifier.replace(value).is_none()
                }
                "keep_alive" => found.keep_alive.replace(seconds(value)?).is_none(),
                "protocol" => found.protocol.replace(protocol(value)?).is_none(),
                _ => false,
            };
            if !is_new {
                return Err(UrlError::Query);
            }
        }
        Ok(found)
    }
}

fn seconds(value: &str) -> Result<u16, UrlError> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit()); // "+1" is a number too, for `parse`
    let seconds = value.parse().ok().filter(|_| digits);
    seconds.ok_or(UrlError::QueryValue {
        key: "keep_alive",
        expected: "a number of seconds from 0 to 65535",
    })
}

fn protocol(value: &str) -> Result<QueryProtocol, UrlError> {
    match value {
        "3" | "3.1" => Ok(QueryProtocol::V31),
        "4" | "3.1.1" => Ok(QueryProtocol::V311),
        "5" | "5.0" => Ok(QueryProtocol::V5),
        "auto" => Ok(QueryProtocol::Auto),
        _ => Err(UrlError::QueryValue {
            key: "protocol",
            expected: "3.1, 3.1.1, 5 (or 3, 4, 5, the numbers that are sent) or auto",
        }),
    }
}
