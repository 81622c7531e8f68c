//! Every Rust text of docs/errors.md is provoked, and reads as the page says.
#![cfg(all(feature = "tls", feature = "websocket", unix))]

use std::collections::BTreeSet;
use std::time::Duration;

use ferromqtt::{ConnectError, Connection, Options, PublishError, QoS, SubscribeError, TlsOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const CONNECTING: &str = "Rust: connecting";
const CALLS: &str = "Rust: calls and lost connections";
/// A port that nothing listens on.
const NOBODY: u16 = 1;
const HTTP_400: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
const TLS_ALERT: &[u8] = b"\x15\x03\x01\x00\x02\x02\x46";

/// A row of the page: the text, and what it is raised as.
struct Row {
    text: String,
    raised_as: String,
}

fn rows(section: &str) -> Vec<Row> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once(&format!("## {section}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells: Vec<_> = line.split(" | ").collect();
        let plain = |cell: &str| cell.trim_matches(['|', ' ', '`']).to_owned();
        Row {
            text: plain(cells[0]),
            raised_as: plain(cells[1]),
        }
    })
    .collect()
}

/// Whether a text is what a row says, with anything in place of its placeholders.
fn reads_as(text: &str, row: &str) -> bool {
    let mut rest = text;
    let mut pieces = row.split('{').map(|piece| match piece.split_once('}') {
        Some((_, after)) => after,
        None => piece,
    });
    let Some(after) = pieces.next().and_then(|first| rest.strip_prefix(first)) else {
        return false;
    };
    rest = after;
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.is_empty() || row.ends_with('}')
}

/// What opening a connection with these options fails with.
async fn failure(options: Options) -> (String, &'static str) {
    let opening = Connection::open(options.reconnect(None));
    let opened = tokio::time::timeout(Duration::from_secs(20), opening).await;
    match opened.expect("it fails at once") {
        Ok(_) => panic!("a failure expected"),
        Err(error @ ConnectError::Options(_)) => (error.to_string(), "ConnectError::Options"),
        Err(error @ ConnectError::Connection { .. }) => {
            (error.to_string(), "ConnectError::Connection")
        }
        Err(error @ ConnectError::TimedOut { .. }) => (error.to_string(), "ConnectError::TimedOut"),
        Err(other) => panic!("a kind that this test does not know: {other:?}"),
    }
}

/// The port of a server that answers the first bytes with these, and closes unless it is to hang.
async fn answering(reply: &'static [u8], hangs: bool) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut input = [0; 4096];
                let _ = stream.read(&mut input).await;
                let _ = stream.write_all(reply).await;
                while hangs && matches!(stream.read(&mut input).await, Ok(read) if read > 0) {}
            });
        }
    });
    port
}

async fn url(scheme: &str, reply: &'static [u8]) -> Options {
    let port = answering(reply, false).await;
    Options::from_url(&format!("{scheme}://127.0.0.1:{port}")).unwrap()
}

async fn provocations() -> Vec<Options> {
    let silent = answering(b"", true).await;
    vec![
        Options::new("no-such-host.invalid", 1883),
        Options::new("127.0.0.1", NOBODY),
        Options::unix("/nope/socket"),
        url("mqtts", b"")
            .await
            .tls(TlsOptions::new().danger_accept_any_certificate_from_anyone()),
        url("mqtts", HTTP_400)
            .await
            .tls(TlsOptions::new().danger_accept_any_certificate_from_anyone()),
        url("ws", HTTP_400).await,
        url("ws", TLS_ALERT).await,
        url("ws", b"").await,
        url("mqtt", b"").await,
        url("mqtt", HTTP_400).await,
        url("mqtt", TLS_ALERT).await,
        url("mqtt", b"\0\0").await,
        Options::new("127.0.0.1", silent).connect_timeout(Duration::from_millis(50)),
        url("mqtt", b"\x20\x03\0\x87\0").await,
        Options::new("mqtt://broker", 1883),
        Options::new("broker:1883", 1883),
        Options::new("a".repeat(64), 1883),
        Options::new("broker", 8883).tls(TlsOptions::new().ca_file("/nope/ca.pem")),
    ]
}

/// Fails unless each of these texts is that of a row, of its kind, and each row that of a text.
fn compare(section: &str, failures: Vec<(String, &'static str)>) {
    let rows = rows(section);
    assert!(!rows.is_empty());
    let mut provoked = BTreeSet::new();
    for (text, kind) in failures {
        // The row that says most.
        let row = (rows.iter())
            .filter(|row| row.raised_as == kind && reads_as(&text, &row.text))
            .max_by_key(|row| row.text.len())
            .unwrap_or_else(|| panic!("{section} has no row for: {kind}: {text}"));
        assert!(provoked.insert(&row.text), "provoked twice: {}", row.text);
    }
    let all: BTreeSet<_> = rows.iter().map(|row| &row.text).collect();
    assert_eq!(provoked, all);
}

#[tokio::test]
async fn every_text_of_connecting_is_provoked_and_reads_as_the_page_says() {
    let mut failures = Vec::new();
    for options in provocations().await {
        failures.push(failure(options).await);
    }
    compare(CONNECTING, failures);
}

/// A connection to a server that answers CONNECT with the first of these, and what comes then with the second. Without one it
/// stays silent; with an empty one it closes.
async fn connected(connack: &'static [u8], then: Option<&'static [u8]>) -> Connection {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut input = [0; 4096];
        assert!(stream.read(&mut input).await.unwrap() > 0);
        stream.write_all(connack).await.unwrap();
        assert!(stream.read(&mut input).await.unwrap() > 0);
        stream.write_all(then.unwrap_or_default()).await.unwrap();
        let closes = then.is_some_and(<[u8]>::is_empty);
        while !closes && matches!(stream.read(&mut input).await, Ok(read) if read > 0) {}
    });
    let options = Options::new("127.0.0.1", port).reconnect(None);
    Connection::open(options.keep_alive(Duration::from_secs(1)))
        .await
        .unwrap()
}

const ACCEPTED: &[u8] = b"\x20\x03\0\0\0";

async fn publish(
    connection: &Connection,
    topic: &str,
    payload: Vec<u8>,
    retain: bool,
) -> (String, &'static str) {
    let client = connection.client();
    let publish = client
        .publish(topic, payload)
        .qos(QoS::AtLeastOnce)
        .retain(retain);
    let error = publish.await.unwrap_err();
    let kind = match &error {
        PublishError::Disconnected { .. } => "PublishError::Disconnected",
        PublishError::Invalid(_) => "PublishError::Invalid",
        PublishError::Rejected { .. } => "PublishError::Rejected",
        other => panic!("a kind that this test does not know: {other:?}"),
    };
    (error.to_string(), kind)
}

async fn subscribe(connection: &Connection, filter: &str) -> (String, &'static str) {
    let error = connection.client().subscribe(filter).await.unwrap_err();
    let kind = match &error {
        SubscribeError::Invalid(_) => "SubscribeError::Invalid",
        SubscribeError::Rejected { .. } => "SubscribeError::Rejected",
        other => panic!("a kind that this test does not know: {other:?}"),
    };
    (error.to_string(), kind)
}

#[tokio::test]
async fn every_text_of_calls_is_provoked_and_reads_as_the_page_says() {
    let mut failures = Vec::new();
    let answers: [Option<&[u8]>; 6] = [
        Some(b""),
        Some(b"\xe0\x01\x8e"),
        Some(ACCEPTED),
        Some(b"\x40\x04\0\x01\x87\0"),
        Some(b"\xe0\xff\xff\xff\x7f"),
        None,
    ];
    for answer in answers {
        let connection = connected(ACCEPTED, answer).await;
        failures.push(publish(&connection, "a", vec![1], false).await);
    }
    let options = Options::new("127.0.0.1", resetting().await).reconnect(None);
    let connection = Connection::open(options).await.unwrap();
    failures.push(publish(&connection, "a", vec![1], false).await);
    let limits: [&[u8]; 3] = [
        b"\x20\x08\0\0\x05\x27\0\0\0\x64",
        b"\x20\x05\0\0\x02\x24\0",
        b"\x20\x05\0\0\x02\x25\0",
    ];
    for (place, limit) in limits.into_iter().enumerate() {
        let connection = connected(limit, None).await;
        failures.push(publish(&connection, "a", vec![1; 200], place == 2).await);
    }
    let connection = connected(ACCEPTED, None).await;
    for topic in ["", "a/#", "a\0", &"a".repeat(65_536)] {
        failures.push(publish(&connection, topic, vec![1], false).await);
    }
    for filter in ["a#", "$share/a"] {
        failures.push(subscribe(&connection, filter).await);
    }
    let refusing = connected(ACCEPTED, Some(b"\x90\x04\0\x01\0\x87")).await;
    failures.push(subscribe(&refusing, "a").await);
    compare(CALLS, failures);
}

/// It accepts the connection, and resets it at the first packet that follows CONNECT.
async fn resetting() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut input = [0; 4096];
        assert!(stream.read(&mut input).await.unwrap() > 0);
        stream.write_all(b"\x20\x03\0\0\0").await.unwrap();
        assert!(stream.read(&mut input).await.unwrap() > 0);
        stream.set_zero_linger().unwrap();
    });
    port
}

#[tokio::test]
async fn the_loss_of_a_connection_names_the_server() {
    let port = resetting().await;
    let options = Options::new("127.0.0.1", port).reconnect(None);
    let connection = Connection::open(options).await.unwrap();
    let client = connection.client();
    let publish = client.publish("a", "x").qos(QoS::AtLeastOnce).await;
    let text = publish.unwrap_err().to_string();
    let lost = format!("mqtt://127.0.0.1:{port}: Connection reset by peer");
    assert!(text.contains(&lost), "{text}");
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
