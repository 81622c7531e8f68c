//! SOCKS 4, 4a and 5, the client's side.

use std::net::IpAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::proxy::{Destination, ExchangeStep, Fault, ProxyCredentials};

const CONNECT: u8 = 1;

/// SOCKS 4 and 4a: one request, one answer of eight bytes.
pub(crate) struct Socks4;

impl Socks4 {
    pub(crate) fn new(
        names: bool,
        credentials: &ProxyCredentials,
        destination: &Destination,
        port: u16,
    ) -> Result<(Self, Bytes), &'static str> {
        let user_id = credentials.user_name.as_deref().unwrap_or_default();
        if user_id.contains('\0') || user_id.len() > 255 {
            return Err("its user name must have at most 255 bytes, and no U+0000");
        }
        let (address, name) = match destination {
            Destination::Address(IpAddr::V4(address)) => (address.octets(), None),
            // 0.0.0.x means that a name follows.
            Destination::Name(name) if names => ([0, 0, 0, 1], Some(name)),
            Destination::Address(IpAddr::V6(_)) => {
                return Err(
                    "it knows no IPv6 address; use SOCKS5 or HTTP, or a server with an IPv4 address",
                );
            }
            Destination::Name(_) => {
                return Err(
                    "it knows no names; resolve the server's name first, or use SOCKS4a, SOCKS5 or HTTP",
                );
            }
        };
        let mut request = BytesMut::from(&[4, CONNECT][..]);
        request.put_u16(port);
        request.put_slice(&address);
        request.put_slice(user_id.as_bytes());
        request.put_u8(0);
        if let Some(name) = name {
            request.put_slice(name.as_bytes());
            request.put_u8(0);
        }
        Ok((Self, request.freeze()))
    }

    #[expect(
        clippy::needless_pass_by_ref_mut,
        reason = "as the other exchanges, which have a state"
    )]
    pub(crate) fn receive(&mut self, input: &mut BytesMut) -> Result<ExchangeStep, Fault> {
        if input.first().is_some_and(|&version| version != 0) {
            return Err(Fault::Malformed("its answer does not begin with 0"));
        }
        match input.get(1) {
            None | Some(90) => {}
            Some(91) => return Err(refused(91, "rejected, or the server cannot be reached")),
            Some(92) => {
                return Err(refused(
                    92,
                    "it cannot ask an identd on this machine who you are",
                ));
            }
            Some(93) => return Err(refused(93, "identd on this machine names another user")),
            Some(_) => return Err(Fault::Malformed("its answer has an unknown code")),
        }
        if input.len() < 8 {
            return Ok(ExchangeStep::NeedMore);
        }
        input.advance(8);
        Ok(ExchangeStep::Done)
    }
}

/// SOCKS 5: a choice of the authentication, the authentication if there is one, and the request.
pub(crate) struct Socks5 {
    state: SocksState,
    /// RFC 1929's request, if there are credentials.
    authentication: Option<Bytes>,
    request: Bytes,
}

#[derive(Clone, Copy)]
enum SocksState {
    Choosing,
    Authenticating,
    Requesting,
}

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xff;
const ADDRESS_V4: u8 = 1;
const ADDRESS_NAME: u8 = 3;
const ADDRESS_V6: u8 = 4;

impl Socks5 {
    pub(crate) fn new(
        credentials: &ProxyCredentials,
        destination: &Destination,
        port: u16,
    ) -> Result<(Self, Bytes), &'static str> {
        let authentication = authentication(credentials)?;
        let greeting: &[u8] = match authentication {
            None => &[VERSION, 1, NO_AUTHENTICATION],
            Some(_) => &[VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD],
        };
        let mut request = BytesMut::from(&[VERSION, CONNECT, 0][..]);
        match destination {
            Destination::Address(IpAddr::V4(address)) => {
                request.put_u8(ADDRESS_V4);
                request.put_slice(&address.octets());
            }
            Destination::Address(IpAddr::V6(address)) => {
                request.put_u8(ADDRESS_V6);
                request.put_slice(&address.octets());
            }
            Destination::Name(name) => {
                request.put_u8(ADDRESS_NAME);
                put_counted(&mut request, name.as_bytes())?;
            }
        }
        request.put_u16(port);
        let exchange = Self {
            state: SocksState::Choosing,
            authentication,
            request: request.freeze(),
        };
        Ok((exchange, Bytes::copy_from_slice(greeting)))
    }

    pub(crate) fn receive(&mut self, input: &mut BytesMut) -> Result<ExchangeStep, Fault> {
        match self.state {
            SocksState::Choosing => self.chosen(input),
            SocksState::Authenticating => self.authenticated(input),
            SocksState::Requesting => answered(input),
        }
    }

    fn chosen(&mut self, input: &mut BytesMut) -> Result<ExchangeStep, Fault> {
        check_version(input)?;
        let Some(&method) = input.get(1) else {
            return Ok(ExchangeStep::NeedMore);
        };
        input.advance(2);
        match (method, self.authentication.take()) {
            (NO_AUTHENTICATION, _) => {
                self.state = SocksState::Requesting;
                Ok(ExchangeStep::Send(self.request.clone()))
            }
            (USER_AND_PASSWORD, Some(authentication)) => {
                self.state = SocksState::Authenticating;
                Ok(ExchangeStep::Send(authentication))
            }
            (NONE_ACCEPTABLE, None) => Err(Fault::Refused(
                "it wants authentication; give it a user name and a password".to_owned(),
            )),
            (NONE_ACCEPTABLE, Some(_)) => Err(Fault::Refused(
                "it wants another authentication than user name and password".to_owned(),
            )),
            _ => Err(Fault::Malformed(
                "it chose an authentication that was not offered",
            )),
        }
    }

    fn authenticated(&mut self, input: &mut BytesMut) -> Result<ExchangeStep, Fault> {
        // The version of the negotiation, 1; some proxies say 5.
        if input
            .first()
            .is_some_and(|version| ![1, VERSION].contains(version))
        {
            return Err(Fault::Malformed(
                "its answer to user name and password has an unknown version",
            ));
        }
        let Some(&status) = input.get(1) else {
            return Ok(ExchangeStep::NeedMore);
        };
        if status != 0 {
            return Err(refused(status, "user name or password is wrong"));
        }
        input.advance(2);
        self.state = SocksState::Requesting;
        Ok(ExchangeStep::Send(self.request.clone()))
    }
}

fn answered(input: &mut BytesMut) -> Result<ExchangeStep, Fault> {
    check_version(input)?;
    // A refusal is reported without the rest of the answer, which some proxies leave out.
    let meaning = match input.get(1) {
        None | Some(0) => None,
        Some(1) => Some("general failure"),
        Some(2) => Some("connection not allowed by ruleset"),
        Some(3) => Some("network unreachable"),
        Some(4) => Some("host unreachable; is the server's name right?"),
        Some(5) => Some("connection refused by the server; is its port right?"),
        Some(6) => Some("the server did not answer in time"),
        Some(7) => Some("it cannot make connections"),
        Some(8) => Some("it does not know this type of address"),
        Some(_) => Some("unknown failure"),
    };
    if let (Some(meaning), Some(&code)) = (meaning, input.get(1)) {
        return Err(refused(code, meaning));
    }
    let bound_address = match input.get(3) {
        None => return Ok(ExchangeStep::NeedMore),
        Some(&ADDRESS_V4) => 4,
        Some(&ADDRESS_V6) => 16,
        Some(&ADDRESS_NAME) => match input.get(4) {
            None => return Ok(ExchangeStep::NeedMore),
            Some(&length) => 1 + usize::from(length),
        },
        Some(_) => {
            return Err(Fault::Malformed(
                "its answer has an unknown type of address",
            ));
        }
    };
    let length = 4 + bound_address + 2;
    if input.len() < length {
        return Ok(ExchangeStep::NeedMore);
    }
    input.advance(length);
    Ok(ExchangeStep::Done)
}

fn check_version(input: &BytesMut) -> Result<(), Fault> {
    match input.first() {
        None | Some(&VERSION) => Ok(()),
        Some(_) => Err(Fault::Malformed("its answer does not begin with 5")),
    }
}

fn authentication(credentials: &ProxyCredentials) -> Result<Option<Bytes>, &'static str> {
    let Some(user_name) = &credentials.user_name else {
        return Ok(None);
    };
    let mut request = BytesMut::from(&[1][..]);
    put_counted(&mut request, user_name.as_bytes())?;
    put_counted(
        &mut request,
        credentials.password.as_deref().unwrap_or_default(),
    )?;
    Ok(Some(request.freeze()))
}

fn put_counted(buffer: &mut BytesMut, bytes: &[u8]) -> Result<(), &'static str> {
    let length = u8::try_from(bytes.len())
        .map_err(|_| "a user name, password or host name has more than 255 bytes")?;
    buffer.put_u8(length);
    buffer.put_slice(bytes);
    Ok(())
}

fn refused(code: u8, meaning: &str) -> Fault {
    Fault::Refused(format!("{code}, {meaning}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::{ProxyError, ProxyHandshake, ProxyKind, ProxyProgress};

    fn name() -> Destination {
        Destination::Name("mqtt.example".to_owned())
    }

    fn address(text: &str) -> Destination {
        Destination::Address(text.parse().unwrap())
    }

    fn credentials(user_name: &str, password: &str) -> ProxyCredentials {
        ProxyCredentials {
            user_name: Some(user_name.to_owned()),
            password: Some(Bytes::copy_from_slice(password.as_bytes())),
        }
    }

    fn start(
        kind: ProxyKind,
        who: &ProxyCredentials,
        server: &Destination,
    ) -> (ProxyHandshake, Bytes) {
        let mut handshake = ProxyHandshake::new(kind, who, server, 1883).unwrap();
        let first = handshake.poll_transmit().unwrap();
        (handshake, first)
    }

    /// Gives an answer to a handshake; returns what it sends next.
    fn answer(handshake: &mut ProxyHandshake, bytes: &[u8]) -> Option<Bytes> {
        let progress = handshake.receive(&mut BytesMut::from(bytes)).unwrap();
        let transmit = handshake.poll_transmit();
        assert_eq!(progress == ProxyProgress::Done, transmit.is_none());
        transmit
    }

    fn error(handshake: &mut ProxyHandshake, bytes: &[u8]) -> String {
        let error = handshake.receive(&mut BytesMut::from(bytes)).unwrap_err();
        assert_eq!(handshake.poll_transmit(), None);
        error.to_string()
    }

    fn unsupported(kind: ProxyKind, who: &ProxyCredentials, server: &Destination) -> String {
        match ProxyHandshake::new(kind, who, server, 1883) {
            Err(error @ ProxyError::Unsupported { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn socks4_is_asked_for_an_ipv4_address() {
        let nobody = ProxyCredentials::default();
        let (mut handshake, request) = start(ProxyKind::Socks4, &nobody, &address("192.0.2.7"));
        assert_eq!(request, &b"\x04\x01\x07\x5b\xc0\x00\x02\x07\x00"[..]);
        assert_eq!(answer(&mut handshake, b"\x00\x5a\0\0\0\0\0\0"), None);

        let (_, request) = start(
            ProxyKind::Socks4,
            &credentials("me", "x"),
            &address("192.0.2.7"),
        );
        assert_eq!(request, &b"\x04\x01\x07\x5b\xc0\x00\x02\x07me\x00"[..]);
    }

    #[test]
    fn socks4a_is_asked_for_a_name_behind_an_address_that_there_is_not() {
        let nobody = ProxyCredentials::default();
        let (mut handshake, request) = start(ProxyKind::Socks4a, &nobody, &name());
        assert_eq!(
            request,
            &b"\x04\x01\x07\x5b\x00\x00\x00\x01\x00mqtt.example\x00"[..]
        );
        assert_eq!(
            answer(&mut handshake, b"\x00\x5a\x07\x5b\x01\x02\x03\x04"),
            None
        );
        let (_, request) = start(ProxyKind::Socks4a, &nobody, &address("192.0.2.7"));
        assert_eq!(request.len(), 9);
    }

    #[test]
    fn socks4_is_not_asked_for_what_it_cannot_do() {
        let nobody = ProxyCredentials::default();
        let text = unsupported(ProxyKind::Socks4, &nobody, &name());
        assert!(
            text.starts_with("the SOCKS4 proxy cannot be asked: it knows no names;"),
            "{text}"
        );
        for kind in [ProxyKind::Socks4, ProxyKind::Socks4a] {
            let text = unsupported(kind, &nobody, &address("2001:db8::1"));
            assert!(text.contains("it knows no IPv6 address"), "{text}");
            unsupported(kind, &credentials("a\0b", ""), &address("192.0.2.7"));
        }
    }

    #[test]
    fn a_refusal_of_socks4_is_told() {
        for (code, meaning) in [
            (91, "cannot be reached"),
            (92, "identd"),
            (93, "another user"),
        ] {
            let (mut handshake, _) =
                start(ProxyKind::Socks4a, &ProxyCredentials::default(), &name());
            let text = error(&mut handshake, &[0, code, 0, 0, 0, 0, 0, 0]);
            assert!(
                text.starts_with(&format!("the SOCKS4a proxy refused: {code}, ")),
                "{text}"
            );
            assert!(text.contains(meaning), "{text}");
        }
        for bytes in [&b"\x05\x00"[..], b"HTTP/1.1 400", b"\x00\x00"] {
            let (mut handshake, _) =
                start(ProxyKind::Socks4a, &ProxyCredentials::default(), &name());
            let text = error(&mut handshake, bytes);
            assert!(text.contains("something else than SOCKS4a"), "{text}");
        }
    }

    #[test]
    fn socks5_without_credentials_offers_no_authentication() {
        let (mut handshake, greeting) =
            start(ProxyKind::Socks5, &ProxyCredentials::default(), &name());
        assert_eq!(greeting, &b"\x05\x01\x00"[..]);
        let request = answer(&mut handshake, b"\x05\x00").unwrap();
        assert_eq!(request, &b"\x05\x01\x00\x03\x0cmqtt.example\x07\x5b"[..]);
        assert_eq!(
            answer(&mut handshake, b"\x05\x00\x00\x01\x7f\x00\x00\x01\x04\x38"),
            None
        );
    }

    #[test]
    fn socks5_with_credentials_shows_them_only_when_asked() {
        let who = credentials("me", "geheim");
        let server = address("2001:db8::1");
        let request = b"\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x07\x5b";
        let (mut handshake, greeting) = start(ProxyKind::Socks5, &who, &server);
        assert_eq!(greeting, &b"\x05\x02\x00\x02"[..]);
        let authentication = answer(&mut handshake, b"\x05\x02").unwrap();
        assert_eq!(authentication, &b"\x01\x02me\x06geheim"[..]);
        assert_eq!(answer(&mut handshake, b"\x01\x00").unwrap(), &request[..]);

        let (mut handshake, _) = start(ProxyKind::Socks5, &who, &server);
        assert_eq!(answer(&mut handshake, b"\x05\x00").unwrap(), &request[..]);
        assert!(!format!("{handshake:?} {who:?}").contains("geheim"));
    }

    #[test]
    fn socks5_may_answer_with_any_kind_of_address() {
        for bound in [
            &b"\x01abcd"[..],
            b"\x03\x04name",
            b"\x03\x00",
            b"\x04abcdefghijklmnop",
        ] {
            let (mut handshake, _) =
                start(ProxyKind::Socks5, &ProxyCredentials::default(), &name());
            answer(&mut handshake, b"\x05\x00");
            let bytes = [b"\x05\x00\x00", bound, b"\x04\x38"].concat();
            assert_eq!(answer(&mut handshake, &bytes), None, "{bound:?}");
        }
    }

    #[test]
    fn a_refusal_of_socks5_is_told_with_its_meaning_and_without_credentials() {
        let (mut handshake, _) = start(ProxyKind::Socks5, &ProxyCredentials::default(), &name());
        assert_eq!(
            error(&mut handshake, b"\x05\xff"),
            "the SOCKS5 proxy refused: it wants authentication; give it a user name and a password"
        );
        let who = credentials("me", "geheim");
        for (choice, text) in [
            (
                &b"\x05\x02\x01\x01"[..],
                "1, user name or password is wrong",
            ),
            (b"\x05\xff", "another"),
        ] {
            let (mut handshake, _) = start(ProxyKind::Socks5, &who, &name());
            let error = handshake
                .receive(&mut BytesMut::from(choice))
                .unwrap_err()
                .to_string();
            assert!(error.contains(text) && !error.contains("geheim"), "{error}");
        }
        for code in 1..=9 {
            let (mut handshake, _) =
                start(ProxyKind::Socks5, &ProxyCredentials::default(), &name());
            answer(&mut handshake, b"\x05\x00");
            let text = error(&mut handshake, &[5, code]); // some proxies send no more
            assert!(
                text.starts_with(&format!("the SOCKS5 proxy refused: {code}, ")),
                "{text}"
            );
        }
        let (mut handshake, _) = start(ProxyKind::Socks5, &ProxyCredentials::default(), &name());
        answer(&mut handshake, b"\x05\x00");
        assert_eq!(
            error(&mut handshake, b"\x05\x02\x00\x01\0\0\0\0\0\0"),
            "the SOCKS5 proxy refused: 2, connection not allowed by ruleset"
        );
    }

    #[test]
    fn what_is_not_socks5_is_told() {
        for bytes in [
            &b"HTTP/1.1 400"[..],
            b"\x04\x00",
            b"\x05\x01",
            b"\x05\x02",
            b"\x05\x00\x05\x00\x00\x02",
        ] {
            let (mut handshake, _) =
                start(ProxyKind::Socks5, &ProxyCredentials::default(), &name());
            let error = handshake.receive(&mut BytesMut::from(bytes)).unwrap_err();
            assert!(
                matches!(error, ProxyError::Malformed { .. }),
                "{bytes:?}: {error}"
            );
        }
        let who = credentials("me", "x");
        let (mut handshake, _) = start(ProxyKind::Socks5, &who, &name());
        answer(&mut handshake, b"\x05\x02");
        assert!(error(&mut handshake, b"\x02\x00").contains("unknown version"));
        let (mut handshake, _) = start(ProxyKind::Socks5, &who, &name());
        answer(&mut handshake, b"\x05\x02");
        assert!(answer(&mut handshake, b"\x05\x00").is_some()); // wrong, and common
    }

    #[test]
    fn what_does_not_fit_into_socks5_is_refused_before_anything_is_sent() {
        let long = "x".repeat(256);
        let nobody = ProxyCredentials::default();
        unsupported(ProxyKind::Socks5, &nobody, &Destination::Name(long.clone()));
        for (user_name, password) in [(long.as_str(), "x"), ("x", long.as_str())] {
            let text = unsupported(
                ProxyKind::Socks5,
                &credentials(user_name, password),
                &name(),
            );
            assert!(
                text.contains("more than 255 bytes") && !text.contains("xx"),
                "{text}"
            );
        }
    }
}
