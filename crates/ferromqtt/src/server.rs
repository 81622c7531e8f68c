//! Where a server is, and how it is reached.

use std::fmt;
use std::str::FromStr;

use ferromqtt_transport::{ClientQuery, Endpoint, ServerUrl};

use crate::options_error::AddressError;

/// Where a server is, and how it is reached.
///
/// Made from host and port ([`Server::new`]), from the path of a Unix socket ([`Server::unix`]), or from a URL:
///
/// | URL | what | port unless given |
/// | --- | --- | --- |
/// | `mqtt://host:port`, or `tcp://`, or no scheme | MQTT over TCP | 1883 |
/// | `mqtts://host:port` | over TLS; feature `tls` | 8883 |
/// | `ws://host:port/path` | over WebSocket, path `/mqtt` unless given; feature `websocket` | 80 |
/// | `wss://host:port/path` | over WebSocket and TLS; both features | 443 |
/// | `mqtt+unix:///path/of/socket` | over a Unix socket | |
///
/// [`Options::from_url`](crate::Options::from_url) also takes a user name, a password and options of the client from it.
///
/// An IPv6 address stands in brackets, perhaps with an interface: `mqtt://[fe80::1%25eth0]`. A name may end in a dot, which
/// makes it absolute, and with the feature `idna` have letters beyond ASCII (`mqtt://bücher.example`). The resolver gets all
/// that; TLS and WebSocket name the host without interface and final dot, and in A-labels (`xn--bcher-kva.example`).
/// `Display` and `Debug` show such a URL, but not the query behind a WebSocket's path,
/// since some servers take a token there.
///
/// ```
/// use ferromqtt::Server;
///
/// let server: Server = "mqtts://broker.example".parse()?;
/// assert_eq!((server.host(), server.port()), (Some("broker.example"), Some(8883)));
/// assert_eq!(server.to_string(), "mqtts://broker.example:8883");
/// # Ok::<_, ferromqtt::AddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    pub(crate) place: Endpoint,
}

impl Server {
    /// MQTT over TCP, to a host name or an IP address (without brackets). One that is neither is
    /// [`OptionsError::Host`](crate::OptionsError::Host) when the connection is opened.
    pub fn new(host: impl ToString, port: u16) -> Self {
        Self::at(Endpoint::Tcp {
            host: host.to_string(),
            port,
            tls: false,
        })
    }

    /// MQTT over the Unix socket at this path.
    pub fn unix(path: impl Into<String>) -> Self {
        Self::at(Endpoint::Unix { path: path.into() })
    }

    /// Reads a URL.
    ///
    /// # Errors
    /// [`AddressError::Url`] says what is wrong with it. [`AddressError::Credentials`] if it has a user name or password, and
    /// [`AddressError::Query`] if it has a query that is no WebSocket's: those belong to the client, not to one of its servers.
    pub fn from_url(url: &str) -> Result<Self, AddressError> {
        let place = Endpoint::from_url(url).map_err(AddressError::of_endpoint)?;
        Ok(Self::at(place))
    }

    pub(crate) const fn at(place: Endpoint) -> Self {
        Self { place }
    }

    /// The host name or IP address; none for a Unix socket.
    pub const fn host(&self) -> Option<&str> {
        self.place.host()
    }

    /// The port; none for a Unix socket.
    pub const fn port(&self) -> Option<u16> {
        self.place.port()
    }

    /// Path and query of a WebSocket, or the path of a Unix socket.
    pub const fn path(&self) -> Option<&str> {
        self.place.path()
    }

    /// Whether TLS is spoken with it.
    pub const fn is_tls(&self) -> bool {
        self.place.is_tls()
    }

    #[cfg(feature = "websocket")]
    pub(crate) const fn is_websocket(&self) -> bool {
        matches!(self.place, Endpoint::WebSocket { .. })
    }

    pub(crate) fn address(&self) -> String {
        self.place.address()
    }

    #[cfg(feature = "tls")]
    pub(crate) fn secured(self) -> Self {
        Self::at(self.place.secured())
    }

    pub(crate) fn referred(&self, reference: &str) -> Result<Self, AddressError> {
        let place = (self.place.referred(reference)).map_err(AddressError::of_endpoint)?;
        Ok(Self::at(place))
    }
}

impl FromStr for Server {
    type Err = AddressError;

    fn from_str(url: &str) -> Result<Self, AddressError> {
        Self::from_url(url)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut place = self.place.clone();
        if let Endpoint::Tcp { host, .. } | Endpoint::WebSocket { host, .. } = &mut place
            && host.contains('@')
        {
            // No host has that: it is a URL, which may hold a password.
            "***".clone_into(host);
        }
        let url = ServerUrl {
            place,
            user_name: None,
            password: None,
            query: ClientQuery::default(),
        };
        url.fmt(f)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_with_credentials_is_refused_without_repeating_them() {
        let error = Server::from_url("mqtt://user:geheim@a").unwrap_err();
        assert_eq!(error, AddressError::Credentials);
        assert!(!error.to_string().contains("geheim"));
    }

    #[test]
    fn a_url_of_one_server_has_no_options_of_the_client() {
        let error = Server::from_url("mqtt://a?client_id=b").unwrap_err();
        assert_eq!(error, AddressError::Query);
    }

    #[test]
    fn options_of_the_client_are_read_from_the_query() {
        let url = "mqtts://u:geheim@a?client_id=b%20c&keep_alive=7&protocol=3.1.1";
        let options = crate::Options::from_url(url).unwrap();
        let core = options.to_core().unwrap();
        assert_eq!(core.client_identifier.as_str(), "b c");
        assert_eq!(core.keep_alive, 7);
        assert_eq!(core.protocol, crate::ProtocolVersion::V311);
        assert!(!format!("{options:?}").contains("geheim"));
    }

    #[test]
    fn a_url_may_leave_the_version_to_the_server() {
        for (version, protocol, falls_back) in [
            ("auto", crate::ProtocolVersion::V5, true),
            ("5", crate::ProtocolVersion::V5, false),
            ("3.1", crate::ProtocolVersion::V31, false),
        ] {
            let url = format!("mqtt://a?client_id=b&protocol={version}");
            let core = crate::Options::from_url(&url).unwrap().to_core().unwrap();
            assert_eq!((core.protocol, core.fall_back), (protocol, falls_back));
        }
    }

    #[test]
    fn a_token_in_the_query_is_sent_and_not_shown() {
        let server = Server::from_url("wss://a/mqtt?token=geheim").unwrap();
        assert_eq!(server.path(), Some("/mqtt?token=geheim"));
        assert_eq!(server.to_string(), "wss://a:443/mqtt?***");
        assert!(!format!("{server:?}").contains("geheim"));
    }
}
