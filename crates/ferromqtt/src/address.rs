//! Where the server is: `mqtt://host:port`, or host and port.

use std::fmt;

use crate::error::AddressError;

/// The port that is registered for MQTT.
const DEFAULT_PORT: u16 = 1883;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// Reads `mqtt://host`, `mqtt://host:port`, or either without `mqtt://`. An IPv6 address stands in brackets.
    pub(crate) fn parse(url: &str) -> Result<Self, AddressError> {
        let authority = match url.split_once("://") {
            Some(("mqtt" | "tcp", rest)) => rest,
            Some((scheme, _)) => return Err(AddressError::Scheme(scheme.to_owned())),
            None => url,
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        if authority.contains('@') {
            return Err(AddressError::Credentials);
        }
        if authority.contains(['/', '?', '#']) {
            return Err(AddressError::Path);
        }
        let (host, port) = split_port(authority)?;
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(AddressError::Host);
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => parse_port(port).ok_or_else(|| AddressError::Port(port.to_owned()))?,
        };
        let host = host.to_owned();
        Ok(Self { host, port })
    }
}

/// Splits `host:port`, `[::1]:port`, or either without a port.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), AddressError> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']').ok_or(AddressError::Host)?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err(AddressError::Host),
    }
}

fn parse_port(port: &str) -> Option<u16> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    (port.parse().ok()).filter(|&port| digits && port > 0)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (String, u16) {
        let Address { host, port } = Address::parse(url).unwrap();
        (host, port)
    }

    #[test]
    fn the_port_is_1883_unless_given() {
        assert_eq!(parsed("mqtt://example.org"), ("example.org".into(), 1883));
        assert_eq!(parsed("mqtt://example.org/"), ("example.org".into(), 1883));
        assert_eq!(parsed("mqtt://10.0.0.1:1884"), ("10.0.0.1".into(), 1884));
        assert_eq!(parsed("localhost:7"), ("localhost".into(), 7));
        assert_eq!(parsed("mqtt://[::1]:1884"), ("::1".into(), 1884));
        assert_eq!(parsed("mqtt://[fe80::1]"), ("fe80::1".into(), 1883));
    }

    #[test]
    fn each_mistake_is_named_and_a_password_is_not_repeated() {
        let error = |url: &str| Address::parse(url).unwrap_err();
        assert_eq!(error("https://a"), AddressError::Scheme("https".into()));
        for url in [
            "",
            "mqtt://",
            "mqtt://:1883",
            "mqtt://[::1",
            "mqtt://[::1]x",
            "a b",
        ] {
            assert_eq!(error(url), AddressError::Host, "{url}");
        }
        for port in ["", "0", "x", "+1", "65536", "1:2"] {
            let expected = AddressError::Port(port.into());
            assert_eq!(error(&format!("mqtt://a:{port}")), expected);
        }
        assert_eq!(error("mqtt://a/b"), AddressError::Path);
        let credentials = error("mqtt://user:geheim@a");
        assert_eq!(credentials, AddressError::Credentials);
        assert!(!credentials.to_string().contains("geheim"));
    }

    #[test]
    fn an_ipv6_address_is_shown_in_brackets() {
        let shown = Address::parse("[::1]:1884").unwrap().to_string();
        assert_eq!(shown, "[::1]:1884");
    }
}
