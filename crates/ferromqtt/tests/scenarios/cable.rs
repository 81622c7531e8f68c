//! A way to the broker that can be cut.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) struct Cable {
    address: SocketAddr,
    cuts: watch::Sender<u32>,
    task: JoinHandle<()>,
}

impl Cable {
    /// Forwards connections to `broker`.
    pub(crate) async fn to(broker: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let cuts = watch::Sender::new(0);
        let cut = cuts.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(forward(stream, broker, cut.subscribe()));
            }
        });
        Self {
            address,
            cuts,
            task,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Breaks all connections that there are; later ones work.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(mut stream: TcpStream, broker: SocketAddr, mut cut: watch::Receiver<u32>) {
    let mut server = TcpStream::connect(broker).await.unwrap();
    tokio::select! {
        _ = copy_bidirectional(&mut stream, &mut server) => {}
        _ = cut.changed() => {
            // A reset, as a router would send it: bytes on the way are lost in both directions.
            let _ = stream.set_zero_linger();
            let _ = server.set_zero_linger();
        }
    }
}
