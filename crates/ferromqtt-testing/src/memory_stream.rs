//! A connection in memory.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

/// So many bytes wait in each direction, at most: about what a system keeps for a loopback socket.
const CAPACITY: usize = 64 * 1024;

/// One end of a connection in memory to a [`TestBroker`](crate::TestBroker).
///
/// It behaves as a socket does: a write waits while 64 KiB have not been read, shutting down ends the peer's input behind what
/// was written before, and so does dropping it, after which the peer's writes fail as
/// [`BrokenPipe`](io::ErrorKind::BrokenPipe). Unlike a socket, the other end can still read all that was written: there is no
/// reset.
pub struct MemoryStream(DuplexStream);

impl fmt::Debug for MemoryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStream").finish_non_exhaustive() // bytes on their way may hold a password
    }
}

impl MemoryStream {
    /// Both ends of a new connection.
    pub(crate) fn pair() -> (Self, Self) {
        let (one, other) = duplex(CAPACITY);
        (Self(one), Self(other))
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
