//! Unix sockets.

use std::net::SocketAddr;
use std::path::PathBuf;

use ferromqtt::{Connection, Options, QoS};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpStream, UnixListener};
use tokio::task::JoinHandle;

use crate::{in_time, listening};

/// A socket in front of a broker that listens on TCP.
struct Socket {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Socket {
    fn to(broker: SocketAddr, name: &str) -> Self {
        let name = format!("ferromqtt {name} {}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut server = TcpStream::connect(broker).await.unwrap();
                tokio::spawn(async move {
                    let _ = copy_bidirectional(&mut stream, &mut server).await;
                });
            }
        });
        Self { path, task }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

#[tokio::test]
async fn messages_go_both_ways_over_a_unix_socket() {
    in_time(async {
        let broker = listening().await;
        let socket = Socket::to((broker.host(), broker.port()).into(), "both ways");
        let path = socket.path.to_str().unwrap();
        let url = format!("mqtt+unix://{}", path.replace(' ', "%20"));
        for options in [Options::unix(path), Options::from_url(&url).unwrap()] {
            let connection = Connection::open(options).await.unwrap();
            let client = connection.client();
            let mut messages = client.subscribe("t").await.unwrap();
            let publish = client.publish("t", "by the socket").qos(QoS::AtLeastOnce);
            publish.await.unwrap();
            assert_eq!(messages.next().await.unwrap().payload, "by the socket");
            connection.disconnect().await.unwrap();
        }
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_named_in_the_error() {
    in_time(async {
        let options = Options::unix("/no/such/socket").reconnect(None);
        let error = Connection::open(options).await.unwrap_err().to_string();
        assert!(error.contains("mqtt+unix:///no/such/socket"), "{error}");
    })
    .await;
}
