//! A connection in memory.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::Notify;

/// So many bytes wait in each direction, at most: about what a system keeps for a loopback socket.
const CAPACITY: usize = 64 * 1024;

/// One end of a connection in memory to a [`TestBroker`](crate::TestBroker).
///
/// It behaves as a socket does: a write waits while 64 KiB have not been read, shutting down ends the peer's input behind what
/// was written before, and so does dropping it, after which the peer's writes fail as
/// [`BrokenPipe`](io::ErrorKind::BrokenPipe). Unlike a socket, the other end can still read all that was written, unless a fault
/// resets the connection: then it reads and writes [`ConnectionReset`](io::ErrorKind::ConnectionReset) at once.
pub struct MemoryStream {
    stream: DuplexStream,
    pair: Arc<PairState>,
    /// Which of both ends it is.
    end: usize,
}

/// What both ends of a connection share.
struct PairState {
    /// What each end has written and the other has not read. For a moment it may be too small: a byte can be read before it
    /// is counted as written.
    unread: [AtomicIsize; 2],
    reset: AtomicBool,
    traffic: Arc<MemoryTraffic>,
}

/// The bytes on their way in all connections of one broker.
#[derive(Debug, Default)]
pub(crate) struct MemoryTraffic {
    unread: AtomicIsize,
    /// Somebody looks again whether the broker is idle.
    pub(crate) changed: Notify,
}

impl MemoryTraffic {
    pub(crate) fn is_empty(&self) -> bool {
        self.unread.load(Ordering::Acquire) == 0
    }
}

impl PairState {
    fn count(&self, end: usize, bytes: isize) {
        self.unread[end].fetch_add(bytes, Ordering::AcqRel);
        self.traffic.unread.fetch_add(bytes, Ordering::AcqRel);
        if bytes < 0 {
            self.traffic.changed.notify_waiters();
        }
    }
}

impl fmt::Debug for MemoryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStream").finish_non_exhaustive() // bytes on their way may hold a password
    }
}

impl MemoryStream {
    /// Both ends of a new connection.
    pub(crate) fn pair(traffic: &Arc<MemoryTraffic>) -> (Self, Self) {
        let (one, other) = duplex(CAPACITY);
        let pair = Arc::new(PairState {
            unread: [AtomicIsize::new(0), AtomicIsize::new(0)],
            reset: AtomicBool::new(false),
            traffic: Arc::clone(traffic),
        });
        let one = Self {
            stream: one,
            pair: Arc::clone(&pair),
            end: 0,
        };
        let other = Self {
            stream: other,
            pair,
            end: 1,
        };
        (one, other)
    }

    /// Ends the connection so that the peer is told of a reset, and reads nothing of what it has not read yet.
    pub(crate) fn reset(self) {
        self.pair.reset.store(true, Ordering::Release);
    }

    fn check_reset(&self) -> io::Result<()> {
        match self.pair.reset.load(Ordering::Acquire) {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        }
    }

    fn written(&self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(written)) = result {
            self.pair.count(self.end, *written as isize);
        }
    }
}

/// What the peer has written is not read any more.
impl Drop for MemoryStream {
    fn drop(&mut self) {
        let lost = self.pair.unread[1 - self.end].load(Ordering::Acquire);
        self.pair.count(1 - self.end, -lost);
        self.pair.traffic.changed.notify_waiters();
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_reset()?;
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        if read > 0 {
            self.pair.count(1 - self.end, -(read as isize));
        }
        result
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_reset()?;
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_reset()?;
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.written(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
