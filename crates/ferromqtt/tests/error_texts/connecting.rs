use std::io;
use std::time::Duration;

use ferromqtt::{
    Authenticator, AuthenticatorError, Bytes, ConnectAttempt, ConnectError, Connection,
    Credentials, CredentialsError, Options, Proxy, Server, TlsOptions,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::net::TcpListener;
use tungstenite::handshake::derive_accept_key;

use crate::certificates::{Authority, Identity};
use crate::clock::{in_time, in_virtual_time, play};
use crate::page::{Provoked, compare};
use crate::replies::{Pipes, answering, resetting, url};
use crate::tls_front::{Demands, TlsFront};

/// A port that nothing listens on.
const NOBODY: u16 = 1;
const HTTP_400: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
const MQTT: &str = "Sec-WebSocket-Protocol: mqtt\r\n";
const TLS_ALERT: &[u8] = b"\x15\x03\x01\x00\x02\x02\x46";

/// What opening a connection with these options fails with.
pub(crate) async fn failure(options: Options) -> Provoked {
    let opening = Connection::open(options.reconnect(None));
    match in_time(opening).await {
        Ok(_) => panic!("a failure expected"),
        Err(error @ ConnectError::Options(_)) => (error.to_string(), "ConnectError::Options"),
        Err(error @ ConnectError::Connection { .. }) => {
            (error.to_string(), "ConnectError::Connection")
        }
        Err(error @ ConnectError::TimedOut { .. }) => (error.to_string(), "ConnectError::TimedOut"),
        Err(other) => panic!("a kind that this test does not know: {other:?}"),
    }
}

/// Trusts whatever certificate there is.
fn trusting_anyone(options: Options) -> Options {
    options.tls(TlsOptions::new().danger_accept_any_certificate_from_anyone())
}

/// A server behind TLS with this certificate, seen by a client that trusts `authority`.
async fn certified(authority: &Authority, identity: &Identity, demands: Demands<'_>) -> Options {
    let broker = answering(b"", true).await;
    let front = TlsFront::demanding(([127, 0, 0, 1], broker).into(), identity, demands).await;
    let options = Options::new("127.0.0.1", front.port());
    std::mem::forget(front); // it serves until the test ends
    options.tls(TlsOptions::new().ca_pem(authority.pem()))
}

async fn certificates() -> Vec<Options> {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let asking = || Demands {
        client_authority: Some(&other),
        ..Demands::default()
    };
    let (right, wrong) = (ours.issue("127.0.0.1"), other.issue("127.0.0.1"));
    let stranger = ours.issue("station-7");
    let expired = ours.issue_expired("127.0.0.1");
    let elsewhere = ours.issue("other.example");
    let plain = Demands::default;
    let tls = TlsOptions::new().ca_pem(ours.pem());
    let demanding = certified(&ours, &right, asking()).await;
    vec![
        certified(&ours, &wrong, plain()).await,
        certified(&ours, &elsewhere, plain()).await,
        certified(&ours, &expired, plain()).await,
        demanding.clone(),
        demanding.tls(tls.client_certificate_pem(stranger.chain, stranger.key)),
    ]
}

/// A server of WebSocket that chooses this subprotocol, sends this to the first frame, and closes.
async fn websocket(subprotocol: &'static str, then: &'static [u8]) -> Options {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let mut key = None;
        let mut line = String::new();
        while stream.read_line(&mut line).await.unwrap() > 2 {
            if let Some((name, value)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("sec-websocket-key")
            {
                key = Some(derive_accept_key(value.trim().as_bytes()));
            }
            line.clear();
        }
        let accepted = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n{subprotocol}\r\n",
            key.unwrap()
        );
        stream.write_all(accepted.as_bytes()).await.unwrap();
        let _ = stream.read(&mut [0; 100]).await; // or the client leaves
        let _ = stream.write_all(then).await;
    });
    Options::from_url(&format!("ws://127.0.0.1:{port}")).unwrap()
}

/// A server that refers to another one, by a client that goes there.
async fn referring(to: &str) -> Options {
    let length = to.len() as u8;
    let head = [0x20, length + 6, 0, 0x9d, length + 3, 0x1c, 0, length];
    let reply: Box<[u8]> = [&head, to.as_bytes()].concat().into();
    let port = answering(Box::leak(reply), false).await;
    Options::new("127.0.0.1", port).follow_server_reference(true)
}

async fn through_proxies() -> Vec<Options> {
    let options = Options::new("192.0.2.1", 1883);
    let through = |options: Options, url: String| options.proxy(Proxy::from_url(&url).unwrap());
    let mut all = vec![through(
        options.clone(),
        format!("socks5h://127.0.0.1:{NOBODY}"),
    )];
    let replies: [(&str, &[u8]); 3] = [
        (
            "http",
            b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
        ),
        ("socks5h", HTTP_400),
        ("socks5h", b""),
    ];
    for (scheme, reply) in replies {
        let port = answering(reply, false).await;
        all.push(through(
            options.clone(),
            format!("{scheme}://127.0.0.1:{port}"),
        ));
    }
    let none = format!("http://127.0.0.1:{}", resetting(1).await);
    all.push(through(options.clone(), none));
    let gate = format!("socks5h://127.0.0.1:{NOBODY}");
    let local = Options::from_url("mqtt://[fe80::1%25eth0]").unwrap();
    all.push(through(local, gate));
    let long = format!("socks5h://{}:x@127.0.0.1:{NOBODY}", "a".repeat(256));
    all.push(through(options, long));
    let six = Options::new("::1", 1883);
    all.push(through(six, format!("socks4://127.0.0.1:{NOBODY}")));
    all
}

#[tokio::test]
async fn a_proxy_that_resets_the_connection_is_suspected_of_being_none() {
    let port = resetting(1).await;
    let proxy = Proxy::from_url(&format!("socks5h://127.0.0.1:{port}")).unwrap();
    let (text, _) = failure(Options::new("192.0.2.1", 1883).proxy(proxy)).await;
    assert!(text.contains("(is it a proxy of this kind?)"), "{text}");
}

struct Silent;

impl Authenticator for Silent {
    fn begin(&mut self) -> Result<Option<Bytes>, AuthenticatorError> {
        Err("no ticket".into())
    }

    fn answer(&mut self, _: Option<Bytes>) -> Result<Option<Bytes>, AuthenticatorError> {
        Err("no ticket".into())
    }
}

/// Servers, networks, and what this side gives.
async fn failures() -> Vec<Provoked> {
    let silent = answering(b"", true).await;
    let broken = async |_: Server| Err::<DuplexStream, _>(io::Error::other("the cable is cut"));
    let busy = async |_: ConnectAttempt| Err(CredentialsError::from("the token service is busy"));
    let wrong = async |_: ConnectAttempt| Ok(Credentials::new().user_name("a\0"));
    let mut options = vec![
        Options::new("no-such-host.invalid", 1883),
        Options::new("127.0.0.1", NOBODY),
        Options::new("127.0.0.1", silent).bind_address([192, 0, 2, 1].into()),
        Options::new("127.0.0.1", silent).bind_address([0u16; 8].into()),
        Options::unix("/nope/socket"),
        Options::new("in memory", 1883).transport(broken),
        trusting_anyone(Options::new("-broker.example", 1)),
        trusting_anyone(url("mqtts", b"").await),
        trusting_anyone(url("mqtts", HTTP_400).await),
        url("ws", HTTP_400).await,
        url("ws", TLS_ALERT).await,
        url("ws", b"").await,
        Options::from_url(&format!("ws://127.0.0.1:{}", resetting(1).await)).unwrap(),
        trusting_anyone(url("wss", b"").await),
        url("mqtt", b"").await,
        Options::new("127.0.0.1", resetting(1).await),
        url("mqtt", HTTP_400).await,
        url("mqtt", TLS_ALERT).await,
        url("mqtt", b"\0\0").await,
        url("mqtt", b"\x20\x03\0\x87\0").await,
        url("mqtt", b"\x20\x03\0\x80\0").await,
        websocket("", b"").await,
        websocket(MQTT, b"\x81\x01x").await,
        referring("mqtt+unix:///x").await,
        referring("mqtts://127.0.0.1:1").await,
        Options::new("127.0.0.1", silent).credentials(busy),
        Options::new("127.0.0.1", silent).credentials(wrong),
        Options::new("127.0.0.1", silent).authenticator("PLAIN", || Silent),
    ];
    options.extend(certificates().await);
    options.extend(through_proxies().await);
    let mut provoked = Vec::new();
    for options in options {
        provoked.push(failure(options).await);
    }
    provoked
}

/// A server that does not answer, and one that cannot be reached.
async fn late() -> Vec<Provoked> {
    let limit = Duration::from_millis(2_500);
    let (silent, pipes) = Pipes::new();
    let _server = pipes.next();
    let (far, _pipes) = Pipes::new();
    vec![
        failure(silent.connect_timeout(limit)).await,
        failure(far.connect_timeout(limit)).await,
    ]
}

#[test]
fn every_text_of_connecting_is_provoked_and_reads_as_the_page_says() {
    let mut provoked = play(failures());
    provoked.extend(in_virtual_time(late()));
    compare("Rust: connecting", provoked);
}

#[tokio::test]
async fn whatever_fails_at_the_first_connection_names_the_server_without_its_credentials() {
    let refusals: [&[u8]; 4] = [b"\x20\x03\0\x87\0", b"", b"\0\0", HTTP_400];
    for reply in refusals {
        let port = answering(reply, false).await;
        let url = format!("mqtt://user:secret@127.0.0.1:{port}");
        let (text, _) = failure(Options::from_url(&url).unwrap()).await;
        let place = format!("cannot connect: mqtt://127.0.0.1:{port}: CONNECT: ");
        assert!(text.starts_with(&place), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn a_refusal_has_the_words_of_the_server_and_what_to_do() {
    let port = answering(b"\x20\x0a\0\x87\x07\x1f\0\x04gone", false).await;
    let (text, _) = failure(Options::new("127.0.0.1", port)).await;
    let words = "CONNECT: the server refused the connection: Not authorized (0x87): gone (check Options::user_name";
    assert!(text.contains(words), "{text}");
}

#[test]
fn a_time_limit_says_how_long_it_was_and_what_was_missing() {
    let late = in_virtual_time(late());
    for ((text, _), missing) in late.iter().zip(["no CONNACK", "no connection"]) {
        let expected = format!("cannot connect: mqtt://in memory:1883: {missing} within 2.5 s (");
        assert!(text.starts_with(&expected), "{text}");
    }
}

#[tokio::test]
async fn a_url_given_as_host_is_not_repeated_where_it_may_hold_a_password() {
    let options = Options::new("mqtt://user:secret@broker", 1883);
    let shown = format!("{options:?}");
    assert!(!shown.contains("secret"), "{shown}");
    let (text, _) = failure(options).await;
    assert!(
        text.contains("the host is a URL") && !text.contains("secret"),
        "{text}"
    );
}
