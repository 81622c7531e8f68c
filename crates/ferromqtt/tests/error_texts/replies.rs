//! Servers that say what a test wants.

use std::sync::Arc;

use ferromqtt::{Connection, Options, Properties, ReasonCode};
use ferromqtt_proto::packet::{ConnAck, Packet};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};

use crate::server::Server;

/// CONNACK of 5.0, and of 3.1.1.
pub(crate) const ACCEPTED: &[u8] = b"\x20\x03\0\0\0";
pub(crate) const ACCEPTED_311: &[u8] = b"\x20\x02\0\0";

/// The port of a server that answers the first bytes with these, and closes unless it is to hang.
pub(crate) async fn answering(reply: &'static [u8], hangs: bool) -> u16 {
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

/// A server at `scheme` that answers the first bytes with these, and closes.
pub(crate) async fn url(scheme: &str, reply: &'static [u8]) -> Options {
    let port = answering(reply, false).await;
    Options::from_url(&format!("{scheme}://127.0.0.1:{port}")).unwrap()
}

/// The port of a server that accepts, and resets the connection at the `packet`th packet: CONNECT is the first.
pub(crate) async fn resetting(packet: usize) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut input = [0; 4096];
        for place in 1..=packet {
            assert!(stream.read(&mut input).await.unwrap() > 0);
            if place < packet {
                stream.write_all(ACCEPTED).await.unwrap();
            }
        }
        stream.set_zero_linger().unwrap();
    });
    port
}

/// A server that answers CONNECT with the first of these, and what comes then with the second. Without one it stays silent;
/// with an empty one it closes.
pub(crate) async fn server(connack: &'static [u8], then: Option<&'static [u8]>) -> Options {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut input = [0; 4096];
        assert!(stream.read(&mut input).await.unwrap() > 0);
        stream.write_all(connack).await.unwrap();
        if !matches!(stream.read(&mut input).await, Ok(read) if read > 0) {
            return;
        }
        stream.write_all(then.unwrap_or_default()).await.unwrap();
        let closes = then.is_some_and(<[u8]>::is_empty);
        while !closes && matches!(stream.read(&mut input).await, Ok(read) if read > 0) {}
    });
    Options::new("127.0.0.1", port).reconnect(None)
}

/// A connection to such a server.
pub(crate) async fn connected(connack: &'static [u8], then: Option<&'static [u8]>) -> Connection {
    let options = server(connack, then).await;
    Connection::open(options).await.unwrap()
}

/// The test's end of a transport in memory: each call makes the client's next attempt succeed.
pub(crate) struct Pipes(mpsc::UnboundedSender<DuplexStream>);

impl Pipes {
    /// Options for a client whose servers this is.
    pub(crate) fn new() -> (Options, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let transport = move |_: ferromqtt::Server| {
            let receiver = Arc::clone(&receiver);
            async move {
                let next = receiver.lock().await.recv().await;
                match next {
                    Some(stream) => Ok(stream),
                    None => std::future::pending().await,
                }
            }
        };
        let options = Options::new("in memory", 1883).transport(transport);
        (options, Self(sender))
    }

    /// The server's end of the next connection.
    pub(crate) fn next(&self) -> DuplexStream {
        let (ours, theirs) = duplex(4096);
        self.0.send(ours).unwrap();
        theirs
    }
}

/// A connection in memory, and its server.
pub(crate) async fn in_memory(
    change: impl FnOnce(Options) -> Options,
) -> (Connection, Server<DuplexStream>, Pipes) {
    in_memory_with(change, Properties::default()).await
}

/// The same, with these properties in CONNACK.
pub(crate) async fn in_memory_with(
    change: impl FnOnce(Options) -> Options,
    properties: Properties,
) -> (Connection, Server<DuplexStream>, Pipes) {
    let (options, pipes) = Pipes::new();
    let stream = pipes.next();
    let (connection, server) = tokio::join!(
        Connection::open(change(options)),
        accept(stream, false, properties)
    );
    (connection.unwrap(), server, pipes)
}

/// Reads CONNECT and accepts it with these properties.
pub(crate) async fn accept(
    stream: DuplexStream,
    session_present: bool,
    properties: Properties,
) -> Server<DuplexStream> {
    let mut server = Server::new(stream);
    server.connect().await;
    let connack = ConnAck {
        session_present,
        reason: ReasonCode::Success,
        properties,
    };
    server.send(&Packet::ConnAck(Box::new(connack))).await;
    server
}
