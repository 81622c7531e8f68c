//! Any bytes from a WebSocket server or a proxy, in any pieces, and any text as a URL.
//!
//! Checked are: no panic; no more memory than a few read buffers, whatever lengths the peer announces; what is seen of the
//! input does not depend on where it is cut; what the client writes is what a client may write; a URL that was read is shown
//! as a URL of the same place, without its password, and makes a request of WebSocket.
#![no_main]

use bytes::{Bytes, BytesMut};
use ferromqtt_fuzz::cuts::Cuts;
use ferromqtt_fuzz::frames::{self, Frame};
use ferromqtt_fuzz::source::Source;
use ferromqtt_transport::{
    CloseReason, Destination, Endpoint, Host, ProxyCredentials, ProxyError, ProxyHandshake,
    ProxyKind, ProxyProgress, ProxyUrl, ServerUrl, WebSocket, WebSocketError, WebSocketRequest,
    default_headers,
};
use libfuzzer_sys::fuzz_target;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What an exchange may hold beside what came in: an incomplete answer of 16 KiB, in memory that grows by doubling, and that
/// answer taken apart.
const MEMORY_OF_EXCHANGE: usize = 96 * 1024;
/// For each byte that came in: it is held as it came and as it was taken, in memory that grows by doubling.
const MEMORY_PER_BYTE: usize = 8;
/// How long an input that is repeated gets: beyond the limit of 16 KiB for the head of an answer.
const REPEATED: usize = 20 * 1024;

const KINDS: [ProxyKind; 4] = [
    ProxyKind::Socks4,
    ProxyKind::Socks4a,
    ProxyKind::Socks5,
    ProxyKind::Http,
];
const PASSWORD: &str = "geheim";

/// The key and its answer are RFC 6455's example.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ANSWER: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

fuzz_target!(|input: &[u8]| {
    let mut source = Source::new(input);
    match source.below(4) {
        0 => websocket(&mut source, &[]),
        1 => websocket(&mut source, ANSWER),
        2 => proxy(&mut source),
        _ => url(&source.text_of_rest()),
    }
});

/// Runs `exchange`, which gets this many bytes from its peer.
fn in_bounds<T>(bytes: usize, exchange: impl FnOnce() -> T) -> T {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = exchange();
    let used = MEMORY.peak_usage().saturating_sub(before);
    assert!(
        used <= MEMORY_OF_EXCHANGE + MEMORY_PER_BYTE * bytes,
        "{used} bytes of memory for {bytes} from the peer"
    );
    result
}

/// What is left of the input: as it is, or over and over.
fn from_peer(source: &mut Source<'_>) -> Vec<u8> {
    let repeats = source.byte() % 16 == 15;
    let input = source.rest();
    match repeats && !input.is_empty() {
        true => input.iter().copied().cycle().take(REPEATED).collect(),
        false => input.to_vec(),
    }
}

/// What the application does in the middle.
#[derive(Clone, Copy)]
enum Step {
    Nothing,
    Send,
    Close,
    End,
}

/// All that can be seen of a WebSocket. Frames that it sent are compared unmasked.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    received: Vec<u8>,
    sent: Vec<Frame>,
    errors: Vec<WebSocketError>,
    close_reason: Option<CloseReason>,
    open: bool,
    closed: bool,
}

fn websocket(source: &mut Source<'_>, answer: &[u8]) {
    let step = source.pick(&[Step::Nothing, Step::Send, Step::Close, Step::End]);
    let at = usize::from(source.u16());
    let cuts = Cuts::read(source);
    let input = [answer, &from_peer(source)].concat();
    let at = (answer.len() + at).min(input.len());
    let play = |cuts: &Cuts| {
        let mut websocket = opening();
        let mut seen = Seen {
            received: Vec::new(),
            sent: Vec::new(),
            errors: Vec::new(),
            close_reason: None,
            open: false,
            closed: false,
        };
        let (before, behind) = input.split_at(at);
        receive(&mut websocket, cuts.pieces(before), &mut seen);
        match step {
            Step::Nothing => {}
            Step::Send => websocket.send_slice(b"from the client"),
            Step::Close => websocket.close(),
            Step::End => seen.errors.extend(websocket.end_of_stream().err()),
        }
        receive(&mut websocket, cuts.pieces(behind), &mut seen);
        seen.sent = frames::unmasked(&websocket.poll_transmit().unwrap_or_default());
        seen.close_reason = websocket.close_reason().cloned();
        (seen.open, seen.closed) = (websocket.is_open(), websocket.is_closed());
        seen
    };
    let whole = in_bounds(input.len(), || play(&Cuts::none()));
    check(&whole, answer.is_empty());
    assert_eq!(in_bounds(input.len(), || play(&cuts)), whole);
    // Byte by byte an incomplete answer is read anew with each: long ones take too long.
    if input.len() < 2 * ANSWER.len() || !answer.is_empty() {
        assert_eq!(in_bounds(input.len(), || play(&Cuts::everywhere())), whole);
    }
}

/// A WebSocket whose request is written.
fn opening() -> WebSocket {
    let host = Host::parse("h").expect("a host");
    let mut headers = default_headers(&host, 80, false);
    for (name, value) in &mut headers {
        if name == "Sec-WebSocket-Key" {
            KEY.clone_into(value);
        }
    }
    let handshake = WebSocketRequest::new("/mqtt", &headers).expect("these headers make a request");
    let mut websocket = WebSocket::new(handshake);
    assert!(websocket.poll_transmit().is_some(), "the request");
    websocket
}

fn receive<'a>(websocket: &mut WebSocket, pieces: impl Iterator<Item = &'a [u8]>, seen: &mut Seen) {
    for piece in pieces {
        seen.errors.extend(websocket.receive(piece).err());
        seen.received
            .extend_from_slice(&websocket.poll_received().unwrap_or_default());
    }
}

fn check(seen: &Seen, whole_handshake: bool) {
    assert!(
        seen.errors.len() <= 1,
        "an error is told once: {:?}",
        seen.errors
    );
    assert!(!(seen.open && (seen.closed || !seen.errors.is_empty())));
    let closes = seen.sent.iter().filter(|frame| frame.is_close()).count();
    assert!(closes <= 1 && (closes == 0 || seen.sent.last().is_some_and(Frame::is_close)));
    if let Some(WebSocketError::Violation { code, .. }) = seen.errors.first() {
        let told = seen.sent.last().filter(|frame| frame.is_close());
        // Unless the client had closed before.
        assert!(
            told.is_some_and(|close| close.code() == Some(*code) || close.code() == Some(1000))
        );
    }
    if !whole_handshake {
        assert!(!matches!(
            seen.errors.first(),
            Some(
                WebSocketError::Refused { .. }
                    | WebSocketError::Malformed { .. }
                    | WebSocketError::Subprotocol { .. }
                    | WebSocketError::EndedInHandshake
            )
        ));
    }
}

fn proxy(source: &mut Source<'_>) {
    let kind = source.pick(&KINDS);
    let credentials = ProxyCredentials {
        user_name: source.flag().then(|| "me".to_owned()),
        password: Some(Bytes::from_static(PASSWORD.as_bytes())),
    };
    let destination = match (kind, source.below(3)) {
        (ProxyKind::Socks4, _) | (_, 0) => Destination::Address([192, 0, 2, 1].into()),
        (ProxyKind::Socks4a, _) | (_, 1) => Destination::Name("mqtt.example".to_owned()),
        _ => Destination::Address([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()),
    };
    let cuts = Cuts::read(source);
    let input = from_peer(source);
    let play = |cuts: &Cuts| ask(kind, &credentials, &destination, cuts.pieces(&input));
    let whole = in_bounds(input.len(), || play(&Cuts::none()));
    assert_eq!(in_bounds(input.len(), || play(&cuts)), whole);
    if input.len() < 2 * ANSWER.len() {
        assert_eq!(in_bounds(input.len(), || play(&Cuts::everywhere())), whole);
    }
    // The words of a proxy that was told the password are not repeated: they might be it.
    if credentials.user_name.is_some() {
        assert!(!format!("{whole:?}").contains(PASSWORD));
    }
}

/// All that is sent, and how it ends.
fn ask<'a>(
    kind: ProxyKind,
    credentials: &ProxyCredentials,
    destination: &Destination,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<u8>, Result<ProxyProgress, ProxyError>) {
    let mut handshake = ProxyHandshake::new(kind, credentials, destination, 1883)
        .expect("this kind of proxy can be asked for that");
    let mut sent = handshake.poll_transmit().expect("a request").to_vec();
    let mut input = BytesMut::new();
    let mut result = Ok(ProxyProgress::NeedMore);
    for piece in pieces {
        input.extend_from_slice(piece);
        result = handshake.receive(&mut input);
        sent.extend(handshake.poll_transmit().unwrap_or_default());
        if result.is_err() {
            break;
        }
    }
    (sent, result)
}

/// Every layer can use the host of a URL that was read.
fn check_host(text: &str) -> Host {
    let host = Host::parse(text).expect("the host of a URL that was read");
    assert!(host.name().is_ascii() && host.resolver_name().is_ascii());
    assert!(!host.name().is_empty() && !host.name().ends_with('.'));
    host
}

/// The query behind a path is not shown.
fn without_query(mut place: Endpoint) -> Endpoint {
    if let Endpoint::WebSocket { path, .. } = &mut place {
        path.truncate(path.find('?').unwrap_or(path.len()));
    }
    place
}

fn url(text: &str) {
    let server = in_bounds(text.len(), || ServerUrl::parse(text));
    if let Ok(url) = server {
        assert_eq!(url.password.is_some(), url.to_string().contains(":***@"));
        match &url.place {
            Endpoint::Unix { path } => assert!(path.starts_with('/') && !path.contains('\0')),
            Endpoint::Tcp { host, port, .. } => {
                check_host(host);
                assert!(*port > 0);
            }
            Endpoint::WebSocket {
                host,
                port,
                tls,
                path,
            } => {
                let headers = default_headers(&check_host(host), *port, *tls);
                WebSocketRequest::new(path, &headers).expect("a URL that was read makes a request");
            }
        }
        if !matches!(url.place, Endpoint::Unix { .. }) {
            let again = ServerUrl::parse(&url.to_string()).expect("what is shown is a URL");
            assert_eq!(again.to_string(), url.to_string());
            assert_eq!(again.user_name, url.user_name);
            assert_eq!(without_query(again.place), without_query(url.place));
        }
    }
    if let Ok(url) = in_bounds(text.len(), || ProxyUrl::parse(text)) {
        let again = ProxyUrl::parse(&url.to_string()).expect("what is shown is a URL");
        assert_eq!(
            (again.kind, again.remote_names),
            (url.kind, url.remote_names)
        );
        assert_eq!((again.host, again.port), (url.host, url.port));
    }
}
