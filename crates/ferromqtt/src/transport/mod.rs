//! Opening transports. The driver takes any stream of bytes: TLS and WebSocket will stand beside TCP here.

mod tcp;

use std::future::Future;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use tcp::Tcp;

/// Opens a stream to the server, again for each connection.
pub(crate) trait Connect: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send;

    /// The time limit is the caller's: it drops the future.
    fn connect(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}
