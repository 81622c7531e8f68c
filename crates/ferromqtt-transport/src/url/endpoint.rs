//! Where a server is, and the server that it refers to.

use std::fmt;

use super::{ClientQuery, ServerUrl, UrlError};
use crate::attempt::authority;

/// What to connect to, and how. `Debug` does not show the query behind a WebSocket's path, which may hold a token.
#[derive(Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// MQTT over TCP, or over TLS.
    Tcp {
        /// A name, or a literal address without brackets, as [`Host::parse`](crate::Host::parse) takes it.
        host: String,
        /// The port.
        port: u16,
        /// Whether TLS lies between.
        tls: bool,
    },
    /// MQTT over WebSocket.
    WebSocket {
        /// A name, or a literal address without brackets, as [`Host::parse`](crate::Host::parse) takes it.
        host: String,
        /// The port.
        port: u16,
        /// Whether TLS lies between.
        tls: bool,
        /// Path and query, as they are sent.
        path: String,
    },
    /// MQTT over a Unix socket.
    Unix {
        /// The path of the socket.
        path: String,
    },
}

/// Why a text names no server, or none that may be connected to. The faces have the words for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointError {
    /// It is no URL.
    Url(UrlError),
    /// It has a user name or a password, which belong to the client.
    Credentials,
    /// It has a query with options of the client.
    Query,
    /// A server refers to one that is reached in a less secure way, or on this machine.
    LessSecure,
}

impl Endpoint {
    /// Reads a URL that says where a server is and nothing else.
    ///
    /// # Errors
    /// All but [`EndpointError::LessSecure`].
    pub fn from_url(url: &str) -> Result<Self, EndpointError> {
        let url = ServerUrl::parse(url).map_err(EndpointError::Url)?;
        if url.user_name.is_some() || url.password.is_some() {
            return Err(EndpointError::Credentials);
        }
        if !url.query.is_empty() {
            return Err(EndpointError::Query);
        }
        Ok(url.place)
    }

    /// The host name or IP address; none for a Unix socket.
    pub const fn host(&self) -> Option<&str> {
        match self {
            Self::Tcp { host, .. } | Self::WebSocket { host, .. } => Some(host.as_str()),
            Self::Unix { .. } => None,
        }
    }

    /// The port; none for a Unix socket.
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp { port, .. } | Self::WebSocket { port, .. } => Some(*port),
            Self::Unix { .. } => None,
        }
    }

    /// Path and query of a WebSocket, or the path of a Unix socket.
    pub const fn path(&self) -> Option<&str> {
        match self {
            Self::Tcp { .. } => None,
            Self::WebSocket { path, .. } | Self::Unix { path } => Some(path.as_str()),
        }
    }

    /// Whether TLS lies between.
    pub const fn is_tls(&self) -> bool {
        match self {
            Self::Tcp { tls, .. } | Self::WebSocket { tls, .. } => *tls,
            Self::Unix { .. } => false,
        }
    }

    /// Host and port, or the path of a Unix socket: what logs show. The path of a WebSocket request may hold a token.
    pub fn address(&self) -> String {
        match self {
            Self::Tcp { host, port, .. } | Self::WebSocket { host, port, .. } => {
                authority(host, *port)
            }
            Self::Unix { path } => path.clone(),
        }
    }

    /// The same, with TLS. A Unix socket stays as it is: it does not leave the machine.
    #[must_use]
    pub fn secured(mut self) -> Self {
        match &mut self {
            Self::Tcp { tls, .. } | Self::WebSocket { tls, .. } => *tls = true,
            Self::Unix { .. } => {}
        }
        self
    }

    /// The server that this one refers to: a host, a host and a port (5.0, section 3.2.2.3.16), or a URL. It is reached in the
    /// same way, and never in a less secure one.
    ///
    /// # Errors
    /// All of [`EndpointError`].
    pub fn referred(&self, reference: &str) -> Result<Self, EndpointError> {
        if reference.contains("://") {
            let server = Self::from_url(reference)?;
            let weaker = self.is_tls() && !server.is_tls();
            if weaker || matches!(server, Self::Unix { .. }) {
                return Err(EndpointError::LessSecure);
            }
            return Ok(server);
        }
        let scheme = match (self, self.is_tls()) {
            (Self::WebSocket { .. }, true) => "wss",
            (Self::WebSocket { .. }, false) => "ws",
            (_, true) => "mqtts",
            (_, false) => "mqtt",
        };
        let mut server = Self::from_url(&format!("{scheme}://{reference}"))?;
        if let (Self::WebSocket { path, .. }, Self::WebSocket { path: same, .. }) =
            (&mut server, self)
        {
            path.clone_from(same);
        }
        Ok(server)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = ServerUrl {
            place: self.clone(),
            user_name: None,
            password: None,
            query: ClientQuery::default(),
        };
        write!(f, "Endpoint({url})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn referred(from: &str, to: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::from_url(from).unwrap().referred(to)
    }

    #[test]
    fn a_referred_server_is_reached_like_the_one_that_refers_to_it() {
        for (from, to, found) in [
            ("mqtt://a", "b", "mqtt://b:1883"),
            ("mqtt://a:7", "b:9", "mqtt://b:9"),
            ("mqtts://a", "[::1]", "mqtts://[::1]:8883"),
            ("wss://a/x", "b", "wss://b:443/x"),
            ("mqtt://a", "mqtts://b", "mqtts://b:8883"),
        ] {
            assert_eq!(referred(from, to), Endpoint::from_url(found), "{from} {to}");
        }
    }

    #[test]
    fn a_reference_leads_to_no_weaker_transport_and_to_no_local_file() {
        for (from, to) in [
            ("mqtts://a", "mqtt://b"),
            ("wss://a", "ws://b"),
            ("mqtt://a", "mqtt+unix:///run/other"),
        ] {
            let found = referred(from, to);
            assert_eq!(found, Err(EndpointError::LessSecure), "{from} {to}");
        }
        let credentials = referred("mqtt://a:1", "user:geheim@b");
        assert_eq!(credentials, Err(EndpointError::Credentials));
        assert!(referred("mqtt://a:1", "").is_err());
    }

    #[test]
    fn a_socket_on_this_machine_has_no_host_and_needs_no_tls() {
        let socket = Endpoint::from_url("mqtt+unix:///run/mqtt").unwrap();
        assert_eq!((socket.host(), socket.port()), (None, None));
        assert_eq!(socket.path(), Some("/run/mqtt"));
        assert_eq!(socket.address(), "/run/mqtt");
        assert!(!socket.secured().is_tls());
    }
}
