//! The host as a proxy, TLS and WebSocket each need it. How each form is made is tested in `ferromqtt-transport`.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use ferromqtt::{
    ConnectError, Connection, HostError, Options, OptionsError, Proxy, QoS, Server, TlsOptions,
};
use ferromqtt_testing::TestBroker;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::certificates::Authority;
use crate::tls_front::{Demands, TlsFront};
use crate::{in_time, listening};

const UNICODE: &str = "bücher.example";
const A_LABELS: &str = "xn--bcher-kva.example";

/// An HTTP proxy that connects on to one place, whatever it is asked for.
struct Gate {
    port: u16,
    targets: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Gate {
    async fn to(place: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let targets = Arc::<Mutex<Vec<_>>>::default();
        let noted = Arc::clone(&targets);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(tunnel(stream, place, Arc::clone(&noted)));
            }
        });
        Self {
            port,
            targets,
            task,
        }
    }

    fn proxy(&self) -> Proxy {
        let url = format!("http://127.0.0.1:{}", self.port);
        Proxy::from_url(&url).unwrap()
    }

    fn targets(&self) -> Vec<String> {
        self.targets.lock().unwrap().clone()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The head of an HTTP request, and nothing behind it.
async fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head).unwrap())
}

async fn tunnel(
    mut stream: TcpStream,
    place: SocketAddr,
    targets: Arc<Mutex<Vec<String>>>,
) -> io::Result<()> {
    let request = head(&mut stream).await?;
    let target = request.split(' ').nth(1).unwrap().to_owned();
    targets.lock().unwrap().push(target);
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    let mut server = TcpStream::connect(place).await?;
    copy_bidirectional(&mut stream, &mut server).await?;
    Ok(())
}

async fn works(options: Options) {
    let connection = Connection::open(options).await.unwrap();
    let client = connection.client();
    let publish = client.publish("t", "x");
    publish.qos(QoS::AtLeastOnce).await.unwrap();
    connection.disconnect().await.unwrap();
}

fn address(broker: &TestBroker) -> SocketAddr {
    (broker.host(), broker.port()).into()
}

fn names(names: &[&str]) -> Vec<Option<String>> {
    names.iter().map(|&name| Some(name.to_owned())).collect()
}

#[tokio::test]
async fn a_proxy_resolves_the_whole_name_and_tls_names_it_without_its_dot() {
    in_time(async {
        let broker = listening().await;
        let authority = Authority::new("ours");
        for (host, asked_for, named) in [
            (UNICODE, A_LABELS, A_LABELS),
            ("b%C3%BCcher.example.", "xn--bcher-kva.example.", A_LABELS),
            ("broker.example.", "broker.example.", "broker.example"),
        ] {
            let front = TlsFront::to(address(&broker), &authority.issue(named)).await;
            let gate = Gate::to(front.address()).await;
            let options = Options::from_url(&format!("mqtts://{host}")).unwrap();
            let tls = TlsOptions::new().ca_pem(authority.pem());
            works(options.tls(tls).proxy(gate.proxy())).await;
            assert_eq!(gate.targets(), [format!("{asked_for}:8883")]);
            assert_eq!(front.names(), names(&[named]));
        }
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_address_with_an_interface_is_verified_without_it_and_not_sent_as_a_name() {
    in_time(async {
        let broker = listening().await;
        let authority = Authority::new("ours");
        for (listens, host) in [("::1", "[::1%251]"), ("127.0.0.1", "127.1")] {
            let identity = authority.issue(listens);
            let broker = address(&broker);
            let front = TlsFront::at(listens, broker, &identity, Demands::default()).await;
            let url = format!("mqtts://{host}:{}", front.port());
            let tls = TlsOptions::new().ca_pem(authority.pem());
            works(Options::from_url(&url).unwrap().tls(tls)).await;
            assert_eq!(front.names(), [None], "{host}");
        }
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_server_name_given_for_tls_is_sent_as_tls_takes_it() {
    in_time(async {
        let broker = listening().await;
        let authority = Authority::new("ours");
        let front = TlsFront::to(address(&broker), &authority.issue(A_LABELS)).await;
        for name in [UNICODE, "bücher.example."] {
            let tls = TlsOptions::new().ca_pem(authority.pem()).server_name(name);
            works(Options::new("127.0.0.1", front.port()).tls(tls)).await;
        }
        assert_eq!(front.names(), names(&[A_LABELS, A_LABELS]));
        broker.stop().await;
    })
    .await;
}

/// The head of the WebSocket request, which is refused.
async fn request(url: &str) -> (String, Vec<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let gate = Gate::to(listener.local_addr().unwrap()).await;
    let options = Options::from_url(url).unwrap().reconnect(None);
    let opening = Connection::open(options.proxy(gate.proxy()));
    let (result, request) = tokio::join!(opening, async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = head(&mut stream).await.unwrap();
        let refusal = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(refusal).await.unwrap();
        request
    });
    assert!(result.unwrap_err().to_string().contains("404"));
    (request, gate.targets())
}

#[tokio::test]
async fn a_websocket_request_names_the_host_of_the_certificate() {
    in_time(async {
        for (url, asked_for, named) in [
            (
                "ws://bücher.example:8080",
                "xn--bcher-kva.example:8080",
                "xn--bcher-kva.example:8080",
            ),
            (
                "ws://broker.example.",
                "broker.example.:80",
                "broker.example",
            ),
        ] {
            let (request, targets) = request(url).await;
            let lines = format!("\r\nHost: {named}\r\n");
            assert!(request.contains(&lines), "{request}");
            assert!(
                request.contains(&format!("\r\nOrigin: http://{named}\r\n")),
                "{request}"
            );
            assert_eq!(targets, [asked_for]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_proxy_is_not_asked_for_an_interface_of_this_machine() {
    in_time(async {
        let gate = Gate::to(([127, 0, 0, 1], 9).into()).await;
        let options = Options::new("fe80::1%eth0", 1883).proxy(gate.proxy());
        let error = Connection::open(options.reconnect(None)).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("interface of this machine"), "{text}");
        assert_eq!(gate.targets(), [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn a_host_that_is_no_name_is_the_caller_s_error() {
    for host in ["ü b", "a..b"] {
        let server = Server::new(host, 1883);
        let error = HostError::Name;
        let expected = ConnectError::Options(OptionsError::Host { server, error });
        let opening = Connection::open(Options::new(host, 1883));
        assert_eq!(opening.await.unwrap_err(), expected);
    }
}
