//! Through proxies. The dialects' details are tested where they are spoken, in `ferromqtt-transport`.

use std::io;
use std::net::SocketAddr;

use ferromqtt::{Connection, Options, Proxy, QoS};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::{in_time, listening};

const USER: &str = "user";
const PASSWORD: &str = "geheim";

/// A proxy that lets `user` through, with the password `geheim`, and counts nothing.
struct Gate {
    port: u16,
    task: JoinHandle<()>,
}

impl Gate {
    async fn open<F>(speak: fn(TcpStream) -> F) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(speak(stream));
            }
        });
        Self { port, task }
    }

    fn proxy(&self, scheme: &str, password: &str) -> Proxy {
        let url = format!("{scheme}://{USER}:{password}@127.0.0.1:{}", self.port);
        Proxy::from_url(&url).unwrap()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// SOCKS 5 with user name and password (RFC 1928 and 1929).
async fn socks5(mut stream: TcpStream) -> io::Result<()> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await?;
    let mut methods = vec![0; usize::from(head[1])];
    stream.read_exact(&mut methods).await?;
    assert!(head[0] == 5 && methods.contains(&2));
    stream.write_all(&[5, 2]).await?;
    assert_eq!(stream.read_u8().await?, 1);
    let name = field(&mut stream).await?;
    let password = field(&mut stream).await?;
    let right = name == USER.as_bytes() && password == PASSWORD.as_bytes();
    stream.write_all(&[1, u8::from(!right)]).await?;
    if !right {
        return Ok(());
    }
    let mut request = [0; 4];
    stream.read_exact(&mut request).await?;
    let host = match request[3] {
        1 => {
            let mut address = [0; 4];
            stream.read_exact(&mut address).await?;
            std::net::Ipv4Addr::from(address).to_string()
        }
        _ => String::from_utf8(field(&mut stream).await?).unwrap(),
    };
    let port = stream.read_u16().await?;
    match TcpStream::connect((host, port)).await {
        Ok(mut server) => {
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
            copy_bidirectional(&mut stream, &mut server).await?;
        }
        Err(_) => stream.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).await?,
    }
    Ok(())
}

async fn field(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// HTTP CONNECT with Basic authentication.
async fn http(stream: TcpStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    while lines
        .last()
        .is_none_or(|line: &String| !line.trim().is_empty())
    {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        lines.push(line);
    }
    let target = lines[0].split(' ').nth(1).unwrap().to_owned();
    // base64("user:geheim")
    let right = lines
        .iter()
        .any(|line| line.contains("Basic dXNlcjpnZWhlaW0="));
    if !right {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
        return stream.write_all(refusal.as_bytes()).await;
    }
    let mut server = TcpStream::connect(target).await?;
    stream
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .await?;
    copy_bidirectional(&mut stream, &mut server).await?;
    Ok(())
}

/// Closes with what came unread, so that the system resets the connection.
async fn reset(stream: TcpStream) -> io::Result<()> {
    stream.peek(&mut [0]).await?;
    Ok(())
}

async fn works(options: Options) {
    let connection = Connection::open(options).await.unwrap();
    let client = connection.client();
    let mut messages = client.subscribe("t").await.unwrap();
    let publish = client.publish("t", "by proxy").qos(QoS::AtLeastOnce);
    publish.await.unwrap();
    assert_eq!(messages.next().await.unwrap().payload, "by proxy");
    connection.disconnect().await.unwrap();
}

async fn refusal(options: Options) -> String {
    let error = Connection::open(options.reconnect(None)).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(
        !text.contains(PASSWORD) && !text.contains("falsch"),
        "{text}"
    );
    error.to_string()
}

#[tokio::test]
async fn messages_go_through_a_socks_proxy_that_resolves_names_or_not() {
    in_time(async {
        let broker = listening().await;
        let gate = Gate::open(socks5).await;
        for (scheme, host) in [
            ("socks5", "127.0.0.1"),
            ("socks5", "localhost"),
            ("socks5h", "localhost"),
        ] {
            let options = Options::new(host, broker.port());
            works(options.proxy(gate.proxy(scheme, PASSWORD))).await;
        }
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn messages_go_through_an_http_proxy() {
    in_time(async {
        let broker = listening().await;
        let gate = Gate::open(http).await;
        let options = Options::new(broker.host(), broker.port());
        let encoded = "%67eheim";
        for password in [PASSWORD, encoded] {
            works(options.clone().proxy(gate.proxy("http", password))).await;
        }
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    in_time(async {
        let broker = listening().await;
        let (socks, http) = (Gate::open(socks5).await, Gate::open(http).await);
        for proxy in [
            socks.proxy("socks5", "falsch"),
            http.proxy("http", "falsch"),
        ] {
            let options = Options::new(broker.host(), broker.port()).proxy(proxy);
            assert!(!format!("{options:?}").contains("falsch"));
            let text = refusal(options).await;
            assert!(text.contains("proxy refused"), "{text}");
            assert!(text.contains("://user:***@127.0.0.1:"), "{text}");
            assert!(text.contains(&broker.port().to_string()), "{text}");
        }
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_proxy_that_cannot_reach_the_server_or_is_none_says_so() {
    in_time(async {
        let gate = Gate::open(socks5).await;
        let closed = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let nobody: SocketAddr = closed.local_addr().unwrap();
        drop(closed);
        let options = Options::new(nobody.ip(), nobody.port());
        let text = refusal(options.clone().proxy(gate.proxy("socks5", PASSWORD))).await;
        assert!(text.contains("proxy refused: 5"), "{text}");

        let broker = listening().await;
        let url = format!("socks5://{}:{}", broker.host(), broker.port());
        let text = refusal(options.proxy(url.parse().unwrap())).await;
        assert!(text.contains("is it a proxy of this kind?"), "{text}");
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_proxy_that_resets_the_connection_is_suspected_of_being_none() {
    in_time(async {
        let gate = Gate::open(reset).await;
        for scheme in ["http", "socks5h"] {
            let options = Options::new("broker.example", 1883);
            let text = refusal(options.proxy(gate.proxy(scheme, PASSWORD))).await;
            let hint = "(is it a proxy of this kind?)";
            assert!(text.contains(": proxy: ") && text.contains(hint), "{text}");
        }
    })
    .await;
}
