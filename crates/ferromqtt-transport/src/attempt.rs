//! What failed when a connection was opened: the phase, the reason, and what to do about it.
//!
//! Both clients put their texts together here, so that the same failure reads the same in both:
//!
//! ```
//! use ferromqtt_transport::{Failure, Hint, AttemptPhase};
//!
//! let refused = Failure::new("localhost:1883", AttemptPhase::Tcp)
//!     .reason("::1: connection refused; 127.0.0.1: connection refused")
//!     .hint(Hint::NobodyListens);
//! assert_eq!(
//!     refused.to_string(),
//!     "localhost:1883: TCP: ::1: connection refused; 127.0.0.1: connection refused (is the broker running there, and \
//!      is this its port?)"
//! );
//! ```

use std::fmt::{self, Display, Formatter};

/// What a client does, one after the other, until a server has accepted its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptPhase {
    /// Finding the addresses of the host.
    Resolve,
    /// Connecting to one of the addresses.
    Tcp,
    /// Connecting to a Unix socket.
    Unix,
    /// The exchange with a proxy.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// The WebSocket handshake.
    WebSocket,
    /// CONNECT is sent, and CONNACK awaited.
    Connect,
}

impl Display for AttemptPhase {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "name resolution",
            Self::Tcp => "TCP",
            Self::Unix => "Unix socket",
            Self::Proxy => "proxy",
            Self::Tls => "TLS handshake",
            Self::WebSocket => "WebSocket handshake",
            Self::Connect => "CONNECT",
        })
    }
}

/// What to do about a failure whose symptom is known. An `option` is named as the language of the client spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hint {
    /// The resolver does not know the name.
    UnknownName,
    /// The resolver could not ask anybody.
    ResolverUnreachable,
    /// The address refuses connections on this port.
    NobodyListens,
    /// There is no route to the address.
    NoRoute,
    /// There is no Unix socket at this path.
    NoSocket,
    /// The Unix socket is not this user's to connect to.
    SocketPermission,
    /// The local port is in use.
    LocalPortInUse {
        /// The option for the local port.
        option: &'static str,
    },
    /// The local port is below 1024, and only for privileged users.
    LocalPortReserved {
        /// The option for the local port.
        option: &'static str,
    },
    /// The local address is not one of this machine, or not of the kind of the server's.
    LocalAddress {
        /// The option for the local address.
        option: &'static str,
    },
    /// In the TLS handshake, the port answered in something else, or closed.
    SpeaksNoTls {
        /// Whether the port is to speak WebSocket, which has other usual ports.
        websocket: bool,
    },
    /// The port reset the connection in the WebSocket handshake.
    NoWebSocket,
    /// The port reset the connection while it was asked as a proxy.
    NoProxy,
    /// The port closed before CONNACK.
    Unanswered,
    /// The server's certificate is for other names.
    CertificateName {
        /// The option for the name to verify.
        option: &'static str,
    },
    /// The server's certificate is of an authority that is not trusted.
    CertificateIssuer {
        /// The option for the authorities to trust.
        option: &'static str,
    },
    /// The server's certificate is out of date, or not valid yet.
    CertificateTime,
    /// The server wants a client certificate, or another one.
    ClientCertificate {
        /// The option for the client's certificate.
        option: &'static str,
    },
    /// The two sides have no version of TLS, or no cipher, in common.
    NoCommonTls,
}

impl Display for Hint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownName => f.write_str("check the spelling of the host name"),
            Self::ResolverUnreachable => f.write_str("check this machine's network and DNS"),
            Self::NobodyListens => f.write_str("is the broker running there, and is this its port?"),
            Self::NoRoute => f.write_str("check the address and this machine's network"),
            Self::NoSocket => f.write_str("is the broker running, and is this the path of its socket?"),
            Self::SocketPermission => f.write_str("this user may not connect to the socket: check its permissions"),
            Self::LocalPortInUse { option } => {
                write!(f, "the local port is in use: give {option} another one, or 0 for any")
            }
            Self::LocalPortReserved { option } => {
                write!(f, "this user may not use the local port: give {option} one from 1024 on, or 0 for any")
            }
            Self::LocalAddress { option } => {
                write!(f, "{option} must be an address of this machine, of the same kind as the server's")
            }
            Self::SpeaksNoTls { websocket: false } => {
                f.write_str("does the port speak TLS? 8883 is the usual one with TLS, 1883 without")
            }
            Self::SpeaksNoTls { websocket: true } => {
                f.write_str("does the port speak TLS? 443 is the usual one for WebSocket with TLS, 80 without")
            }
            Self::NoWebSocket => {
                f.write_str("is there a WebSocket server on this port? does it expect TLS?")
            }
            Self::NoProxy => f.write_str("is it a proxy of this kind?"),
            Self::Unanswered => f.write_str(
                "does the port expect TLS or WebSocket? some brokers also close without a word on a Client Identifier, \
                 user or version of MQTT that they do not accept",
            ),
            Self::CertificateName { option } => write!(
                f,
                "connect to a name that the certificate holds, or give that name with {option}"
            ),
            Self::CertificateIssuer { option } => {
                write!(f, "give the certificate of the authority that issued it with {option}")
            }
            Self::CertificateTime => f.write_str("renew the server's certificate, or set this machine's clock"),
            Self::ClientCertificate { option } => write!(
                f,
                "give a client certificate that an authority which the server trusts has issued, with {option}"
            ),
            Self::NoCommonTls => {
                f.write_str("client and server have no TLS version or cipher in common: check the settings of both")
            }
        }
    }
}

/// One failed attempt to connect, as a text: `address: phase: reason (hint)`.
///
/// Lower case, and no full stop at the end, so that it can stand behind what was attempted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which server: host and port, a URL without secrets, or the path of a socket; empty when that is said elsewhere.
    pub address: String,
    /// What failed.
    pub phase: AttemptPhase,
    /// Why, as the system, TLS, or the peer says; empty when that is said elsewhere.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<Hint>,
}

impl Failure {
    /// A failure of which nothing more is known.
    #[must_use]
    pub fn new(address: impl Display, phase: AttemptPhase) -> Self {
        Self {
            address: address.to_string(),
            phase,
            reason: String::new(),
            hint: None,
        }
    }

    /// With the reason.
    #[must_use]
    pub fn reason(mut self, reason: impl Display) -> Self {
        self.reason = reason.to_string();
        self
    }

    /// With what to do, where that is known.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Option<Hint>>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            address,
            phase,
            reason,
            hint,
        } = self;
        if !address.is_empty() {
            write!(f, "{address}: ")?;
        }
        match reason.is_empty() {
            true => write!(f, "{phase} failed")?,
            false => write!(f, "{phase}: {reason}")?,
        }
        match hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// Host and port as an address for people: an IPv6 address in brackets.
#[must_use]
pub fn authority(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_where_what_why_and_what_to_do() {
        let failure = Failure::new(authority("::1", 8883), AttemptPhase::Tls);
        assert_eq!(failure.to_string(), "[::1]:8883: TLS handshake failed");
        let failure = failure
            .reason("certificate has expired")
            .hint(Hint::CertificateTime);
        assert_eq!(
            failure.to_string(),
            "[::1]:8883: TLS handshake: certificate has expired (renew the server's certificate, or set this machine's \
             clock)"
        );
    }

    #[test]
    fn a_hint_names_the_option_of_its_language() {
        for option in ["tls_server_hostname", "TlsOptions::server_name"] {
            let text = Hint::CertificateName { option }.to_string();
            assert!(text.ends_with(option), "{text}");
        }
    }
}
