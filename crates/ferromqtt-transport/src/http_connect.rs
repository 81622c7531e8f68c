//! HTTP/1.1 CONNECT, the client's side.

use std::net::IpAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use data_encoding::BASE64;

use crate::http::{self, Head, RequestSecrets};
use crate::proxy::{Destination, ExchangeStep, Fault, ProxyCredentials};

/// One request, one answer whose status says all.
pub(crate) struct HttpConnect {
    has_credentials: bool,
    secrets: RequestSecrets,
}

impl HttpConnect {
    pub(crate) fn new(
        credentials: &ProxyCredentials,
        destination: &Destination,
        port: u16,
    ) -> Result<(Self, Bytes), &'static str> {
        let authority = match destination {
            Destination::Name(name) if name.contains(['/', '?', '#', '@', '[', ']', ':']) => {
                return Err("the server's name holds a character that no name has");
            }
            Destination::Name(name) => format!("{name}:{port}"),
            Destination::Address(IpAddr::V4(address)) => format!("{address}:{port}"),
            Destination::Address(IpAddr::V6(address)) => format!("[{address}]:{port}"),
        };
        let mut secrets = RequestSecrets::default();
        let mut request = BytesMut::from(
            format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").as_bytes(),
        );
        if let Some(user_name) = &credentials.user_name {
            if user_name.contains(':') {
                return Err("its user name must not hold a colon");
            }
            let mut pair = [user_name.as_bytes(), b":"].concat();
            pair.extend_from_slice(credentials.password.as_deref().unwrap_or_default());
            let encoded = BASE64.encode(&pair);
            request.put_slice(format!("Proxy-Authorization: Basic {encoded}\r\n").as_bytes());
            secrets.add(encoded.as_bytes());
            secrets.add(credentials.password.as_deref().unwrap_or_default());
        }
        request.put_slice(b"\r\n");
        let exchange = Self {
            has_credentials: credentials.user_name.is_some(),
            secrets,
        };
        Ok((exchange, request.freeze()))
    }

    #[expect(
        clippy::needless_pass_by_ref_mut,
        reason = "as the other exchanges, which have a state"
    )]
    pub(crate) fn receive(&mut self, input: &mut BytesMut) -> Result<ExchangeStep, Fault> {
        let Some(head) = Head::read(input).map_err(Fault::Malformed)? else {
            return Ok(ExchangeStep::NeedMore);
        };
        if !(200..300).contains(&head.status) {
            return Err(Fault::Refused(self.refusal(&head)));
        }
        input.advance(head.length);
        Ok(ExchangeStep::Done)
    }

    fn refusal(&self, head: &Head) -> String {
        let hint = match head.status {
            407 if self.has_credentials => {
                "; user name or password is wrong, or it wants another authentication"
            }
            407 => "; give it a user name and a password",
            403 | 405 => "; it may not allow connections to this port",
            502..=504 => "; it cannot reach the server",
            _ => "",
        };
        let words = self.secrets.shown(head.reason.as_bytes());
        format!("{}{hint}", http::status_line(head.status, &words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::{ProxyError, ProxyHandshake, ProxyKind, ProxyProgress};

    fn start(who: &ProxyCredentials, server: &Destination) -> (ProxyHandshake, String) {
        let mut handshake = ProxyHandshake::new(ProxyKind::Http, who, server, 1883).unwrap();
        let request = handshake.poll_transmit().unwrap();
        (handshake, String::from_utf8(request.to_vec()).unwrap())
    }

    fn name() -> Destination {
        Destination::Name("mqtt.example".to_owned())
    }

    fn me() -> ProxyCredentials {
        ProxyCredentials {
            user_name: Some("me".to_owned()),
            password: Some(Bytes::from_static(b"ge:heim\xff")),
        }
    }

    fn error(who: &ProxyCredentials, answer: &str) -> ProxyError {
        let (mut handshake, _) = start(who, &name());
        handshake
            .receive(&mut BytesMut::from(answer.as_bytes()))
            .expect_err(answer)
    }

    #[test]
    fn a_tunnel_is_asked_for_and_granted() {
        let (mut handshake, request) = start(&ProxyCredentials::default(), &name());
        assert_eq!(
            request,
            "CONNECT mqtt.example:1883 HTTP/1.1\r\nHost: mqtt.example:1883\r\n\r\n"
        );
        let mut input = BytesMut::from(&b"HTTP/1.0 200 Connection established\r\nVia: x\r\n\r"[..]);
        assert_eq!(handshake.receive(&mut input), Ok(ProxyProgress::NeedMore));
        input.put_u8(b'\n');
        assert_eq!(handshake.receive(&mut input), Ok(ProxyProgress::Done));

        let (_, request) = start(
            &ProxyCredentials::default(),
            &Destination::Address("::1".parse().unwrap()),
        );
        assert!(request.starts_with("CONNECT [::1]:1883 HTTP/1.1\r\nHost: [::1]:1883\r\n"));
        let (_, request) = start(
            &ProxyCredentials::default(),
            &Destination::Address("192.0.2.1".parse().unwrap()),
        );
        assert!(request.starts_with("CONNECT 192.0.2.1:1883 HTTP"));
    }

    #[test]
    fn credentials_are_sent_as_basic() {
        let (handshake, request) = start(&me(), &name());
        assert!(
            request.contains("\r\nProxy-Authorization: Basic bWU6Z2U6aGVpbf8=\r\n"),
            "{request}"
        );
        assert!(!format!("{handshake:?}").contains("bWU6"));
    }

    #[test]
    fn a_refusal_tells_status_and_what_to_do() {
        let text = |who: &ProxyCredentials, answer: &str| error(who, answer).to_string();
        let nobody = ProxyCredentials::default();
        let needed =
            "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 9\r\n\r\nno, sorry";
        assert_eq!(
            text(&nobody, needed),
            "the HTTP proxy refused: 407 Proxy Authentication Required; give it a user name and a password"
        );
        assert!(
            text(&me(), needed)
                .ends_with("user name or password is wrong, or it wants another authentication")
        );
        assert!(
            text(&nobody, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
                .ends_with("; it cannot reach the server")
        );
        assert_eq!(
            text(&nobody, "HTTP/1.1 302\r\n\r\n"),
            "the HTTP proxy refused: 302"
        );
    }

    #[test]
    fn words_that_repeat_the_credentials_are_left_out() {
        let who = ProxyCredentials {
            user_name: Some("me".to_owned()),
            password: Some(Bytes::from_static(b"ge:heim")),
        };
        let refused =
            |words: &str| error(&who, &format!("HTTP/1.1 403 {words}\r\n\r\n")).to_string();
        assert!(refused("not for you").contains("403 not for you; "));
        for words in [
            "no Basic bWU6Z2U6aGVpbQ== here",
            "wrong password ge:heim",
            "Z2U6aGVpbQ",
        ] {
            assert!(refused(words).contains("403 (left out: "), "{words}");
        }
    }

    #[test]
    fn what_is_not_http_is_told() {
        let nobody = ProxyCredentials::default();
        for answer in ["\x05\0", "SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\na b\r\n\r\n"] {
            let error = error(&nobody, answer);
            assert!(
                matches!(error, ProxyError::Malformed { .. }),
                "{answer}: {error}"
            );
        }
        let endless = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(16 * 1024));
        assert!(
            error(&nobody, &endless)
                .to_string()
                .contains("more than 16 KiB")
        );
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(97));
        assert!(
            error(&nobody, &many)
                .to_string()
                .contains("more than 96 header lines")
        );
    }

    #[test]
    fn the_server_does_not_speak_first() {
        let error = error(&ProxyCredentials::default(), "HTTP/1.1 200 OK\r\n\r\nx");
        assert!(
            error
                .to_string()
                .contains("there is more behind its answer"),
            "{error}"
        );
    }

    #[test]
    fn a_name_cannot_change_the_request() {
        for name in [
            "",
            "a\r\nb: c",
            "a b",
            "a/",
            "a@b",
            "[::1]",
            "::1",
            "müller",
        ] {
            let server = Destination::Name(name.to_owned());
            let result =
                ProxyHandshake::new(ProxyKind::Http, &ProxyCredentials::default(), &server, 1);
            assert!(
                matches!(result, Err(ProxyError::Unsupported { .. })),
                "{name}"
            );
        }
        let who = ProxyCredentials {
            user_name: Some("a:b".to_owned()),
            password: None,
        };
        let result = ProxyHandshake::new(ProxyKind::Http, &who, &name(), 1);
        assert!(matches!(result, Err(ProxyError::Unsupported { .. })));
    }
}
