//! A way to the broker that carries so many bytes in a second, or none any more.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often bytes are carried.
const TICK: Duration = Duration::from_millis(20);

/// What the relay's TCP takes without being read: little, so that the client's TCP knows soon.
const RECEIVE_BUFFER: u32 = 4 * 1024;

pub(crate) struct SlowRelay {
    address: SocketAddr,
    silent: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl SlowRelay {
    /// Forwards connections to `broker`, `rate` bytes in a second on the way there.
    pub(crate) fn to(broker: SocketAddr, rate: usize) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(RECEIVE_BUFFER).unwrap(); // accepted connections have it too
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(8).unwrap();
        let address = listener.local_addr().unwrap();
        let silent = watch::Sender::new(false);
        let task = tokio::spawn(accept(listener, broker, rate, silent.clone()));
        Self {
            address,
            silent,
            task,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Carries nothing any more, either way, and closes nothing.
    pub(crate) fn fall_silent(&self) {
        self.silent.send_replace(true);
    }
}

impl Drop for SlowRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    broker: SocketAddr,
    rate: usize,
    silent: watch::Sender<bool>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let broker = TcpStream::connect(broker).await.unwrap();
        client.set_nodelay(true).unwrap();
        broker.set_nodelay(true).unwrap();
        let (from_client, to_client) = client.into_split();
        let (from_broker, to_broker) = broker.into_split();
        let per_tick = rate * TICK.as_millis() as usize / 1_000;
        tokio::spawn(carry(from_client, to_broker, per_tick, silent.subscribe()));
        tokio::spawn(carry(from_broker, to_client, 1 << 20, silent.subscribe()));
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    per_tick: usize,
    mut silent: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; per_tick];
    let mut tick = tokio::time::interval(TICK);
    loop {
        let mut left = per_tick;
        while left > 0 {
            let read = tokio::select! {
                () = falls_silent(&mut silent) => return std::future::pending().await,
                read = from.read(&mut buffer[..left]) => read.unwrap_or(0),
            };
            if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
                return;
            }
            left -= read;
        }
        tick.tick().await;
    }
}

async fn falls_silent(silent: &mut watch::Receiver<bool>) {
    let _ = silent.wait_for(|silent| *silent).await.is_ok(); // or the test is over
}
