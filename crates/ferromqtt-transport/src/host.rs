//! A host in the form that each layer needs.
//!
//! The resolver, TLS, HTTP and a proxy do not take the same spelling of one host:
//!
//! | Host | [Resolver](Host::resolver_name) | [TLS and HTTP](Host::name) | [Proxy](Host::destination) |
//! | --- | --- | --- | --- |
//! | `bücher.example` | `xn--bcher-kva.example` | `xn--bcher-kva.example` | the same name |
//! | `broker.example.` | `broker.example.` | `broker.example` | `broker.example.` |
//! | `fe80::1%eth0` | `fe80::1%eth0` | `fe80::1` | refused |
//! | `127.1` | `127.0.0.1` | `127.0.0.1` | the address |
//!
//! - A name beyond ASCII becomes A-labels (IDNA) everywhere, so that the certificate is verified for the name that was
//!   resolved. The rules are those of browsers: UTS 46, non-transitional. It takes the feature `idna`.
//! - A dot at the end tells resolvers not to append search domains. TLS forbids it (RFC 6066, section 3), and the `Host`
//!   header has the name of the certificate, since servers compare the two. A proxy resolves, so it gets the dot.
//! - The interface behind an address has a meaning on this machine alone.
//! - An address is never sent as a TLS server name (RFC 6066, section 3): ask [`Host::address`].
//!
//! ```
//! use ferromqtt_transport::Host;
//!
//! let host = Host::parse("broker.example.")?;
//! assert_eq!((host.resolver_name(), host.name()), ("broker.example.", "broker.example"));
//! # Ok::<_, ferromqtt_transport::HostError>(())
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::proxy::Destination;

/// Why a host cannot be used. No text repeats the host.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HostError {
    /// There is none.
    #[error("the host is empty")]
    Empty,
    /// An empty label, or letters that no host name has.
    #[error(
        "the host is no valid name: an empty label, or characters that no host name has (spaces, slashes, control characters, those that IDNA forbids)"
    )]
    Name,
    /// A URL.
    #[error("the host is a URL: give the host name alone, without scheme, port and path")]
    Url,
    /// A port behind the name.
    #[error("the host has a port behind it: give host name and port apart")]
    Port,
    /// Brackets around an IPv6 address.
    #[error("the host has brackets: give an IPv6 address without them")]
    Brackets,
    /// Longer than names in DNS: a label of more than 63 bytes, or more than 253 in all.
    #[error("the host name is too long: at most 63 characters between dots, and 253 in all")]
    TooLong,
    /// A name beyond ASCII, in a build without the feature `idna`.
    #[error(
        "the host has letters beyond ASCII: enable the feature `idna`, or write it in A-labels (xn--...)"
    )]
    NeedsIdna,
    /// An address behind an interface, for a proxy.
    #[error(
        "the host names an interface of this machine, which a proxy cannot use: leave out % and what follows"
    )]
    Interface,
}

/// The most that a name has in DNS, and each of its labels (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// No longer name in UTF-8 fits into the 253 bytes of a name in DNS: what is longer is not worth the work.
#[cfg(feature = "idna")]
const MAX_UNICODE_NAME: usize = 4 * MAX_NAME;

/// A host: a name, or an IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    resolver_name: String,
    name: String,
    address: Option<IpAddr>,
}

impl Host {
    /// Reads a name or a literal address; an IPv6 address without brackets, and perhaps with an interface behind `%`.
    ///
    /// A name in ASCII is taken as it is, whether DNS would allow it or not (`my_service`): the system's resolver has the last
    /// word.
    ///
    /// # Errors
    ///
    /// [`HostError`] when there is no name, one that no resolver could find (a URL, a name with a port, with a space or a
    /// control character, or one longer than DNS allows), or one beyond ASCII that IDNA does not allow.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        match text.is_ascii() {
            true => Self::from_ascii(text),
            // It may be an address by now: there are digits and dots beyond ASCII.
            false if text.contains("://") => Err(HostError::Url),
            false => Self::from_ascii(&to_ascii(text)?),
        }
    }

    fn from_ascii(text: &str) -> Result<Self, HostError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(address.into());
        }
        if let Some((address, interface)) = text.split_once('%')
            && let Ok(address) = address.parse::<Ipv6Addr>()
            && !interface.is_empty()
        {
            return Ok(Self {
                resolver_name: text.to_owned(),
                name: address.to_string(),
                address: Some(address.into()),
            });
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        check_name(name)?;
        if let Some(address) = short_ipv4(name) {
            return Ok(IpAddr::V4(address).into());
        }
        Ok(Self {
            resolver_name: text.to_owned(),
            name: name.to_owned(),
            address: None,
        })
    }

    /// What the system's resolver is asked for: with the interface of an address, and with the dot of an absolute name.
    #[must_use]
    pub fn resolver_name(&self) -> &str {
        &self.resolver_name
    }

    /// The name that a certificate is verified for, and that HTTP names (an IPv6 address there in brackets): without an
    /// interface, and without a dot at the end.
    ///
    /// It is the server name of TLS (SNI) too, unless it is an [address](Self::address): those are not sent.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address, if the host is one.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// What a proxy is asked for: the address, or the name, which the proxy resolves.
    ///
    /// # Errors
    ///
    /// [`HostError::Interface`] for an address behind an interface.
    pub fn destination(&self) -> Result<Destination, HostError> {
        match self.address {
            Some(_) if self.resolver_name.contains('%') => Err(HostError::Interface),
            Some(address) => Ok(Destination::Address(address)),
            None => Ok(Destination::Name(self.resolver_name.clone())),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        Self {
            resolver_name: address.to_string(),
            name: address.to_string(),
            address: Some(address),
        }
    }
}

/// What the system's resolver could only fail with, or would read only the beginning of.
fn check_name(name: &str) -> Result<(), HostError> {
    if name.contains("://") {
        return Err(HostError::Url);
    }
    if name.starts_with('[') {
        return Err(HostError::Brackets);
    }
    if let Some((host, port)) = name.split_once(':')
        && !host.is_empty()
        && !port.is_empty()
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(HostError::Port);
    }
    let forbidden = |byte: u8| byte <= b' ' || byte == 0x7f || b":/?#@[]\\".contains(&byte);
    if name.split('.').any(str::is_empty) || name.bytes().any(forbidden) {
        return Err(HostError::Name);
    }
    if name.len() > MAX_NAME || name.split('.').any(|label| label.len() > MAX_LABEL) {
        return Err(HostError::TooLong);
    }
    Ok(())
}

#[cfg(feature = "idna")]
fn to_ascii(name: &str) -> Result<String, HostError> {
    use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

    if name.len() > MAX_UNICODE_NAME {
        return Err(HostError::Name);
    }
    let ascii = Uts46::new().to_ascii(
        name.as_bytes(),
        AsciiDenyList::URL,
        Hyphens::Allow,
        DnsLength::VerifyAllowRootDot,
    );
    ascii.map(Into::into).map_err(|_| HostError::Name)
}

#[cfg(not(feature = "idna"))]
const fn to_ascii(_name: &str) -> Result<String, HostError> {
    Err(HostError::NeedsIdna)
}

/// An IPv4 address as resolvers take it too: of one to four numbers, of which the last fills what is left, in decimal,
/// octal (`0`) or hexadecimal (`0x`).
fn short_ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut parts: Vec<&str> = text.splitn(5, '.').collect();
    let last = number(parts.pop()?)?;
    if parts.len() > 3 || last >= 1 << (8 * (4 - parts.len())) {
        return None;
    }
    let mut address = last;
    for (place, part) in parts.into_iter().enumerate() {
        let byte = number(part).filter(|&byte| byte < 256)?;
        address |= byte << (8 * (3 - place));
    }
    u32::try_from(address).ok().map(Ipv4Addr::from)
}

fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    let formed = digits.bytes().all(|byte| byte.is_ascii_alphanumeric()); // "+1" is a number too, for `from_str_radix`
    formed.then(|| u64::from_str_radix(digits, radix).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn forms(text: &str) -> (String, String) {
        let host = host(text);
        assert_eq!(host.address(), None, "{text}");
        let destination = Destination::Name(host.resolver_name().to_owned());
        assert_eq!(host.destination(), Ok(destination), "{text}");
        (host.resolver_name().to_owned(), host.name().to_owned())
    }

    fn same(text: &str) -> (String, String) {
        (text.to_owned(), text.to_owned())
    }

    #[test]
    fn a_name_in_ascii_stays_as_it_is() {
        for name in [
            "localhost",
            "Broker.Example",
            "my_service",
            "a-.b",
            "xn--x",
            "1.2.3.4.5",
            "0x",
            "1.b",
        ] {
            assert_eq!(forms(name), same(name));
        }
    }

    #[test]
    fn the_dot_of_an_absolute_name_is_for_resolvers_alone() {
        let (resolver_name, name) = forms("broker.example.");
        assert_eq!(
            (&*resolver_name, &*name),
            ("broker.example.", "broker.example")
        );
    }

    #[test]
    fn an_interface_is_for_the_resolver_alone() {
        let host = host("fe80::1%eth0");
        assert_eq!(
            (host.resolver_name(), host.name()),
            ("fe80::1%eth0", "fe80::1")
        );
        assert_eq!(host.address(), Some("fe80::1".parse().unwrap()));
        assert_eq!(host.destination(), Err(HostError::Interface));
    }

    #[test]
    fn an_address_is_known_in_every_form_that_resolvers_take() {
        for (text, address) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1.", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("0x7f.0.0.1", "127.0.0.1"),
            ("0177.0.01", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("10.258", "10.0.1.2"),
            ("0", "0.0.0.0"),
            ("::1", "::1"),
            ("2001:DB8:0::1", "2001:db8::1"),
        ] {
            let (host, address) = (host(text), address.parse().unwrap());
            assert_eq!(host.address(), Some(address), "{text}");
            assert_eq!(
                host.destination(),
                Ok(Destination::Address(address)),
                "{text}"
            );
            assert_eq!(host.name(), address.to_string(), "{text}");
        }
        for text in [
            "256.1",
            "1.2.3.256",
            "4294967296",
            "1.2.3.4.5",
            "08",
            "0xg",
            "+1",
            "0x+1",
            "1.256.1",
        ] {
            assert_eq!(host(text).address(), None, "{text}");
        }
    }

    #[cfg(feature = "idna")]
    #[test]
    fn a_name_beyond_ascii_is_written_in_a_labels() {
        assert_eq!(forms("bücher.example"), same("xn--bcher-kva.example"));
        assert_eq!(forms("BÜCHER.Example"), same("xn--bcher-kva.example"));
        // Not "strasse", which was another name's owner before 2010's IDNA.
        assert_eq!(forms("straße.example"), same("xn--strae-oqa.example"));
        assert_eq!(forms("例え。テスト"), same("xn--r8jz45g.xn--zckzah"));
        let (resolver_name, name) = forms("bücher.example.");
        assert_eq!(resolver_name, "xn--bcher-kva.example.");
        assert_eq!(name, "xn--bcher-kva.example");
        assert_eq!(host("１２７.0.0.1").address(), Some([127, 0, 0, 1].into()));
        for wrong in [
            "ü b",
            "ü..b",
            ".ü",
            "ü/b",
            "ü:1",
            "a\u{200d}ü",
            &"ü".repeat(64),
            &"ü.".repeat(400),
        ] {
            assert_eq!(Host::parse(wrong), Err(HostError::Name), "{wrong}");
        }
    }

    #[cfg(not(feature = "idna"))]
    #[test]
    fn a_name_beyond_ascii_needs_the_feature() {
        assert_eq!(Host::parse("bücher.example"), Err(HostError::NeedsIdna));
    }

    #[test]
    fn what_no_resolver_could_find_is_named() {
        let long = "a".repeat(64);
        let longer = ["a"; 128].join(".");
        for (wrong, error) in [
            ("mqtt://h", HostError::Url),
            ("mqtts://h:8883/x", HostError::Url),
            ("h:1883", HostError::Port),
            ("127.0.0.1:1883", HostError::Port),
            ("[::1]", HostError::Brackets),
            ("[::1]:1883", HostError::Brackets),
            ("broker\0.example", HostError::Name),
            ("a b", HostError::Name),
            ("h/mqtt", HostError::Name),
            ("user@h", HostError::Name),
            (&long, HostError::TooLong),
            (&longer, HostError::TooLong),
        ] {
            assert_eq!(Host::parse(wrong), Err(error), "{wrong}");
        }
        assert!(Host::parse(&"a".repeat(63)).is_ok());
        assert!(Host::parse(&["a"; 127].join(".")).is_ok());
    }

    #[test]
    fn no_name_is_no_host() {
        assert_eq!(Host::parse(""), Err(HostError::Empty));
        for wrong in [".", "..", "a..", "a..b", ".a"] {
            assert_eq!(Host::parse(wrong), Err(HostError::Name), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_ascii_for_tls_and_http(text in "\\PC{0,20}") {
            if let Ok(host) = Host::parse(&text) {
                prop_assert!(host.name().is_ascii() && host.resolver_name().is_ascii());
                prop_assert!(!host.name().is_empty() && !host.name().ends_with('.'));
                // What it has become stands for itself.
                let again = Host::parse(host.resolver_name());
                prop_assert_eq!(again, Ok(host));
            }
        }
    }
}
