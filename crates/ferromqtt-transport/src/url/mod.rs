//! Where the server is, and where a proxy is, as URLs.
//!
//! ```
//! use ferromqtt_transport::{Endpoint, ServerUrl};
//!
//! let url: ServerUrl = "wss://reader:s%40fe@example.org/mqtt?site=7".parse()?;
//! assert_eq!(url.user_name.as_deref(), Some("reader"));
//! assert_eq!(url.password.as_deref(), Some(&b"s@fe"[..]));
//! let Endpoint::WebSocket { host, port, tls, path } = &url.place else { unreachable!() };
//! assert_eq!((host.as_str(), *port, *tls, path.as_str()), ("example.org", 443, true, "/mqtt?site=7"));
//! assert_eq!(url.to_string(), "wss://reader:***@example.org:443/mqtt?***");
//! # Ok::<_, ferromqtt_transport::UrlError>(())
//! ```

mod endpoint;
mod query;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use thiserror::Error;

use crate::host::{Host, HostError};
use crate::proxy::ProxyKind;

pub use endpoint::{Endpoint, EndpointError};
pub use query::{ClientQuery, QueryProtocol};

/// The path of a WebSocket server that names none.
pub const DEFAULT_WEBSOCKET_PATH: &str = "/mqtt";

/// What stands for itself in a user name.
const IN_USER_NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// The scheme that is meant by one of other clients, or of the web. A proxy has schemes of its own.
fn meant(found: &str, known: &str) -> &'static str {
    if !known.starts_with("mqtt") {
        return "";
    }
    match found {
        "tcp" | "mqtt+tcp" => " (did you mean mqtt://?)",
        "ssl" | "tls" | "mqtt+ssl" | "mqtt+tls" | "secure-mqtt" => " (did you mean mqtts://?)",
        "unix" => " (did you mean mqtt+unix://?)",
        "http" => " (did you mean ws://?)",
        "https" => " (did you mean wss://?)",
        _ => "",
    }
}

/// What is wrong with a URL. Nothing of the URL but its scheme is repeated, since any other part may hold a password
/// that was not percent-encoded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UrlError {
    /// A scheme that is not one of these.
    #[error(
        "the URL begins with {found}://; it must be one of {known}{}",
        meant(found, known)
    )]
    Scheme {
        /// The scheme that was found.
        found: String,
        /// The schemes that there are.
        known: &'static str,
    },
    /// There is no scheme.
    #[error("the URL has no scheme; it must be one of {known}, followed by ://")]
    NoScheme {
        /// The schemes that there are.
        known: &'static str,
    },
    /// No host, or one that cannot be read.
    #[error("the URL has no valid host; write scheme://host:port, an IPv6 address in brackets")]
    Host,
    /// A host that no layer could use.
    #[error("the URL's host is not usable: {0}")]
    HostName(HostError),
    /// The port is no number from 1 to 65,535.
    #[error(
        "the port is not a number from 1 to 65535 (in a password, write / as %2F, ? as %3F, # as %23 and : as %3A)"
    )]
    Port,
    /// Something stands behind host and port.
    #[error("the URL has a path, query or fragment, which has no meaning there")]
    Path,
    /// The query holds something else than options of the client, or one of them twice.
    #[error(
        "the query of the URL may hold client_id, keep_alive and protocol, each once, as in ?client_id=station-7&protocol=5 (in a password, write ? as %3F, and @ anywhere as %40)"
    )]
    Query,
    /// An option in the query has a value that it cannot take.
    #[error("{key} in the query of the URL must be {expected}")]
    QueryValue {
        /// Which option.
        key: &'static str,
        /// What it takes.
        expected: &'static str,
    },
    /// A WebSocket path with a fragment, a space, a control character or an `@`.
    #[error(
        "the path holds a character that must be percent-encoded: #, @, a space, or none of ASCII"
    )]
    PathCharacter,
    /// A URL of a Unix socket names a host, or no path.
    #[error(
        "write mqtt+unix:///path/of/socket: three slashes, or credentials and @ behind the second"
    )]
    SocketPath,
    /// A percent sign without two hexadecimal digits, or text that is not UTF-8.
    #[error("the {part} is not percent-encoded UTF-8")]
    Encoding {
        /// Which part.
        part: &'static str,
    },
}

/// Where an MQTT server is, and who asks.
///
/// `mqtt`, `mqtts`, `ws` and `wss` name a host, with the usual ports 1883, 8883, 80 and 443; `mqtt+unix` the path of a
/// socket. `tcp` means `mqtt`, and so does a missing scheme. Behind a question mark stand options of the client
/// ([`ClientQuery`]): `mqtt://host?client_id=station-7&keep_alive=30&protocol=5`. With WebSocket the query is a part of the
/// request instead, and is sent as it is. Neither `Debug` nor `Display` tells the password or a query, since some servers take
/// a token there.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl {
    /// What to connect to.
    pub place: Endpoint,
    /// The User Name, percent-decoded.
    pub user_name: Option<String>,
    /// The Password, percent-decoded. It may be any bytes.
    pub password: Option<Bytes>,
    /// The options of the client in the query.
    pub query: ClientQuery,
}

impl ServerUrl {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// What is wrong with it. The text never holds a part of the URL behind the scheme.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        const SCHEMES: &str = "mqtt, mqtts, ws, wss, mqtt+unix";
        let (scheme, rest) = match split_scheme(url) {
            Some(parts) => parts,
            None if url.contains("://") => return Err(UrlError::NoScheme { known: SCHEMES }),
            None => ("mqtt".to_owned(), url),
        };
        let mut parts = UrlParts::split(rest)?;
        if !matches!(scheme.as_str(), "ws" | "wss") {
            parts.split_query();
        }
        let port = |usual: u16| parts.port(usual);
        let place = match scheme.as_str() {
            "mqtt" | "tcp" => Endpoint::Tcp {
                host: parts.host()?,
                port: port(1883)?,
                tls: false,
            },
            "mqtts" => Endpoint::Tcp {
                host: parts.host()?,
                port: port(8883)?,
                tls: true,
            },
            "ws" | "wss" => {
                let tls = scheme == "wss";
                let port = port(if tls { 443 } else { 80 })?;
                Endpoint::WebSocket {
                    host: parts.host()?,
                    port,
                    tls,
                    path: parts.websocket_path()?,
                }
            }
            "mqtt+unix" => Endpoint::Unix {
                path: parts.socket_path()?,
            },
            _ => {
                return Err(UrlError::Scheme {
                    found: scheme,
                    known: SCHEMES,
                });
            }
        };
        let query = match place {
            Endpoint::WebSocket { .. } => ClientQuery::default(),
            Endpoint::Tcp { .. } => {
                parts.no_path()?;
                parts.client_query()?
            }
            Endpoint::Unix { .. } => parts.client_query()?,
        };
        Ok(Self {
            place,
            user_name: parts.user_name()?,
            password: parts.password()?,
            query,
        })
    }

    /// Whether it says nothing of the client, but only where the server is: each of several servers may have such a URL.
    pub fn is_place_alone(&self) -> bool {
        self.user_name.is_none() && self.password.is_none() && self.query.is_empty()
    }
}

impl FromStr for ServerUrl {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        Self::parse(url)
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = Who(self.user_name.as_deref(), self.password.is_some());
        match &self.place {
            Endpoint::Tcp { host, port, tls } => {
                let scheme = if *tls { "mqtts" } else { "mqtt" };
                write!(f, "{scheme}://{who}{}:{port}", Bracketed(host))
            }
            Endpoint::WebSocket {
                host,
                port,
                tls,
                path,
            } => {
                let scheme = if *tls { "wss" } else { "ws" };
                let (path, query) = match path.split_once('?') {
                    Some((path, _)) => (path, "?***"),
                    None => (path.as_str(), ""),
                };
                write!(f, "{scheme}://{who}{}:{port}{path}{query}", Bracketed(host))
            }
            Endpoint::Unix { path } => write!(f, "mqtt+unix://{who}{path}"),
        }
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerUrl({self})")
    }
}

/// Where a proxy is, and who asks.
///
/// `socks4` and `socks5` want an address of the server, which their user has resolved; `socks4a`, `socks5h` and `http`
/// resolve its name themselves. The usual ports are 1080, and 8080 for `http`. Neither `Debug` nor `Display` tells the
/// password.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl {
    /// How the proxy is spoken to.
    pub kind: ProxyKind,
    /// Whether the proxy, and not its user, resolves the server's name.
    pub remote_names: bool,
    /// The proxy's name or literal address, without brackets.
    pub host: String,
    /// The proxy's port.
    pub port: u16,
    /// The user name, percent-decoded.
    pub user_name: Option<String>,
    /// The password, percent-decoded.
    pub password: Option<Bytes>,
}

impl ProxyUrl {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// What is wrong with it. The text never holds a part of the URL behind the scheme.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        const SCHEMES: &str = "socks4, socks4a, socks5, socks5h, http";
        let (scheme, rest) = split_scheme(url).ok_or(UrlError::NoScheme { known: SCHEMES })?;
        let (kind, remote_names, usual_port) = match scheme.as_str() {
            "socks4" => (ProxyKind::Socks4, false, 1080),
            "socks4a" => (ProxyKind::Socks4a, true, 1080),
            "socks5" => (ProxyKind::Socks5, false, 1080),
            "socks5h" => (ProxyKind::Socks5, true, 1080),
            "http" => (ProxyKind::Http, true, 8080),
            _ => {
                return Err(UrlError::Scheme {
                    found: scheme,
                    known: SCHEMES,
                });
            }
        };
        let parts = UrlParts::split(rest)?;
        parts.no_path()?;
        Ok(Self {
            kind,
            remote_names,
            host: parts.host()?,
            port: parts.port(usual_port)?,
            user_name: parts.user_name()?,
            password: parts.password()?,
        })
    }
}

impl FromStr for ProxyUrl {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        Self::parse(url)
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.kind, self.remote_names) {
            (ProxyKind::Socks4, _) => "socks4",
            (ProxyKind::Socks4a, _) => "socks4a",
            (ProxyKind::Socks5, false) => "socks5",
            (ProxyKind::Socks5, true) => "socks5h",
            (ProxyKind::Http, _) => "http",
        };
        let who = Who(self.user_name.as_deref(), self.password.is_some());
        write!(f, "{scheme}://{who}{}:{}", Bracketed(&self.host), self.port)
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({self})")
    }
}

/// A host as URLs and HTTP show it: an IPv6 address in brackets, in a URL perhaps with an interface (RFC 6874).
pub(crate) struct Bracketed<'a>(pub(crate) &'a str);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.split_once('%') {
            _ if !self.0.contains(':') => f.write_str(self.0),
            Some((address, interface)) => write!(f, "[{address}%25{interface}]"),
            None => write!(f, "[{}]", self.0),
        }
    }
}

/// The user information, with three stars for a password.
struct Who<'a>(Option<&'a str>, bool);

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = utf8_percent_encode(self.0.unwrap_or_default(), IN_USER_NAME);
        match (self.0, self.1) {
            (None, false) => Ok(()),
            (Some(_), false) => write!(f, "{name}@"),
            (_, true) => write!(f, "{name}:***@"),
        }
    }
}

/// Splits a well-formed scheme off, in small letters.
fn split_scheme(url: &str) -> Option<(String, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let begins = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
    let formed = scheme
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    (begins && formed).then(|| (scheme.to_ascii_lowercase(), rest))
}

/// What stands behind `scheme://`.
struct UrlParts<'a> {
    user_info: Option<&'a str>,
    host: &'a str,
    port: Option<&'a str>,
    /// From the first `/`, `?` or `#` on, up to the query if that is [split off](Self::split_query).
    rest: &'a str,
    query: Option<&'a str>,
}

impl<'a> UrlParts<'a> {
    fn split(text: &'a str) -> Result<Self, UrlError> {
        let (authority, rest) = text.split_at(text.find(['/', '?', '#']).unwrap_or(text.len()));
        let (user_info, server) = match authority.rsplit_once('@') {
            Some((user_info, server)) => (Some(user_info), server),
            None => (None, authority),
        };
        let (host, behind) = match server.strip_prefix('[') {
            Some(bracketed) => {
                let (host, behind) = bracketed.split_once(']').ok_or(UrlError::Host)?;
                // Only an address stands in brackets; what follows % names an interface.
                let address = host.split('%').next().unwrap_or_default();
                address
                    .parse::<std::net::Ipv6Addr>()
                    .map_err(|_| UrlError::Host)?;
                (host, behind)
            }
            None => server.split_at(server.find(':').unwrap_or(server.len())),
        };
        let port = match behind.strip_prefix(':') {
            None if behind.is_empty() => None,
            None => return Err(UrlError::Host),
            port => port,
        };
        Ok(Self {
            user_info,
            host,
            port,
            rest,
            query: None,
        })
    }

    /// Splits the query off. What has a fragment stays as it is, and is refused.
    fn split_query(&mut self) {
        if let Some((rest, query)) = self.rest.split_once('?')
            && !self.rest.contains('#')
        {
            (self.rest, self.query) = (rest, Some(query));
        }
    }

    fn client_query(&self) -> Result<ClientQuery, UrlError> {
        (self.query).map_or_else(|| Ok(ClientQuery::default()), ClientQuery::parse)
    }

    fn host(&self) -> Result<String, UrlError> {
        let odd = |c: char| c.is_whitespace() || c.is_control() || "\"<>\\^`{|}/?#@[]".contains(c);
        // Only an address in brackets has colons.
        let is_address = self.host.contains(':');
        let text = match is_address {
            true => with_interface(self.host)?,
            false => text(self.host, "host")?,
        };
        let percent_signs = text.matches('%').count();
        if text.is_empty()
            || text.contains(odd)
            || percent_signs > usize::from(is_address)
            || is_address != text.contains(':')
        {
            return Err(UrlError::Host);
        }
        match Host::parse(&text) {
            Ok(host) if is_address && host.address().is_none() => Err(UrlError::Host),
            Err(_) if is_address => Err(UrlError::Host),
            Err(error) => Err(UrlError::HostName(error)),
            Ok(_) => Ok(text),
        }
    }

    fn port(&self, usual: u16) -> Result<u16, UrlError> {
        let Some(text) = self.port else {
            return Ok(usual);
        };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit()); // "+1" is a number too, for `parse`
        let port: Option<u16> = text.parse().ok();
        port.filter(|&port| digits && port > 0)
            .ok_or(UrlError::Port)
    }

    fn no_path(&self) -> Result<(), UrlError> {
        match self.rest {
            "" | "/" => Ok(()),
            _ => Err(UrlError::Path),
        }
    }

    fn websocket_path(&self) -> Result<String, UrlError> {
        // An @ is legal there, but is more likely to end a password that was not encoded, and would be sent.
        if self.rest.contains(['#', '@']) || !self.rest.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(UrlError::PathCharacter);
        }
        Ok(match self.rest {
            "" => DEFAULT_WEBSOCKET_PATH.to_owned(),
            query if query.starts_with('?') => format!("{DEFAULT_WEBSOCKET_PATH}{query}"),
            path => path.to_owned(),
        })
    }

    fn socket_path(&self) -> Result<String, UrlError> {
        let named = self.rest.len() > 1 && self.rest.starts_with('/');
        if !self.host.is_empty() || self.port.is_some() || !named {
            return Err(UrlError::SocketPath);
        }
        if self.rest.contains(['?', '#', '@']) {
            return Err(UrlError::PathCharacter);
        }
        let path = text(self.rest, "path of the socket")?;
        if path.contains('\0') {
            return Err(UrlError::PathCharacter);
        }
        Ok(path)
    }

    fn user_name(&self) -> Result<Option<String>, UrlError> {
        let name = self
            .user_info
            .map(|info| info.split_once(':').map_or(info, |(name, _)| name));
        // ":password@" has no name at all.
        let name = name.filter(|name| !name.is_empty() || self.user_info == Some(""));
        name.map(|name| text(name, "user name")).transpose()
    }

    fn password(&self) -> Result<Option<Bytes>, UrlError> {
        let password = self
            .user_info
            .and_then(|info| info.split_once(':'))
            .map(|(_, password)| password);
        password
            .map(|password| decoded(password, "password"))
            .transpose()
    }
}

/// An address whose interface stands behind `%25` (RFC 6874), or behind `%` alone, as people write it.
fn with_interface(host: &str) -> Result<String, UrlError> {
    match host.split_once("%25") {
        Some((address, interface)) if !interface.is_empty() => {
            Ok(format!("{address}%{}", text(interface, "interface")?))
        }
        _ => Ok(host.to_owned()),
    }
}

fn text(encoded: &str, part: &'static str) -> Result<String, UrlError> {
    String::from_utf8(decoded(encoded, part)?.into()).map_err(|_| UrlError::Encoding { part })
}

fn decoded(encoded: &str, part: &'static str) -> Result<Bytes, UrlError> {
    let well_formed = encoded.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if !well_formed {
        return Err(UrlError::Encoding { part });
    }
    Ok(Bytes::from(
        percent_decode_str(encoded).collect::<Vec<u8>>(),
    ))
}
