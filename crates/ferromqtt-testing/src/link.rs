//! One connection of the tokio host, over whatever carries its bytes.

use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::timeout;

use crate::ConnectionId;
use crate::host::{SharedHost, now};
use crate::memory_stream::MemoryStream;

/// How much one read takes.
const READ_SIZE: usize = 64 * 1024;

/// How long a client has to read what is left and to close its side, once the broker has closed its own.
const LINGER: Duration = Duration::from_secs(10);

/// A client that is silent for this long meanwhile is not waited for.
const SILENCE: Duration = Duration::from_secs(1);

/// So many clients are waited for so at the same time.
const MOST_LINGERING: usize = 1000;

/// How a connection's task learns that there is something for it.
#[derive(Debug, Default)]
pub(crate) struct Waker {
    /// There is output. Not waited for while earlier output is being written.
    output: Notify,
    /// The connection is closed. Waited for while output is being written.
    closing: Notify,
    closed: AtomicBool,
    /// The connection ends in a reset.
    resets: AtomicBool,
}

impl Waker {
    pub(crate) fn wake(&self) {
        self.output.notify_one();
    }

    pub(crate) fn close(&self, reset: bool) {
        self.resets.store(reset, Ordering::Release);
        self.closed.store(true, Ordering::Release);
        self.output.notify_one();
        self.closing.notify_one();
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// What carries the bytes of a connection.
pub(crate) trait LinkStream: AsyncRead + AsyncWrite + Unpin + Sized {
    /// Ends the connection so that the peer is told of a reset, where there is such a thing. Otherwise it just ends.
    fn reset(self) {}
}

impl LinkStream for TcpStream {
    fn reset(self) {
        #[allow(
            deprecated,
            reason = "its successor came with a later tokio; zero does not block"
        )]
        let _ = self.set_linger(Some(Duration::ZERO)); // without it the connection ends in order
    }
}

impl LinkStream for MemoryStream {
    fn reset(self) {
        Self::reset(self);
    }
}

/// A connection that the broker knows, until this is dropped.
struct BrokerLink {
    shared: Arc<SharedHost>,
    id: ConnectionId,
    waker: Arc<Waker>,
}

impl BrokerLink {
    fn open(shared: Arc<SharedHost>) -> Self {
        let waker = Arc::new(Waker::default());
        let id = shared.with(|state| {
            let id = state.broker.open(now());
            state.wakers.insert(id, Arc::clone(&waker));
            id
        });
        Self { shared, id, waker }
    }
}

impl Drop for BrokerLink {
    fn drop(&mut self) {
        self.shared.with(|state| {
            state.wakers.remove(&self.id);
            state.broker.closed(now(), self.id);
        });
    }
}

/// Serves one client, until the peer or the broker ends the connection.
pub(crate) async fn serve<S: LinkStream>(mut stream: S, shared: Arc<SharedHost>) {
    let link = BrokerLink::open(Arc::clone(&shared));
    // An error of the stream and its end are the same to the broker.
    let rest = move_bytes(&mut stream, &link).await.unwrap_or_default();
    let resets = link.waker.resets.load(Ordering::Acquire);
    drop(link);
    if resets {
        return stream.reset();
    }
    if shared.lingering.fetch_add(1, Ordering::Relaxed) < MOST_LINGERING {
        let _ = timeout(LINGER, linger(&mut stream, &rest)).await;
    }
    shared.lingering.fetch_sub(1, Ordering::Relaxed);
}

/// Writes what is left, closes the broker's side and waits for the client's: dropping a socket would reset the connection of a
/// client that still writes, and it might give up before it has read why.
async fn linger<S>(stream: &mut S, rest: &[u8]) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(rest).await?;
    stream.shutdown().await?;
    let mut ignored = [0; 4096];
    while timeout(SILENCE, stream.read(&mut ignored)).await?? > 0 {}
    Ok(())
}

/// A chunk that the broker has handed out and that is not written yet, counted among those of all connections.
struct UnsentChunk<'a> {
    bytes: Bytes,
    count: &'a AtomicUsize,
}

impl<'a> UnsentChunk<'a> {
    const fn new(count: &'a AtomicUsize) -> Self {
        Self {
            bytes: Bytes::new(),
            count,
        }
    }

    const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn set(&mut self, bytes: Bytes) {
        self.count.fetch_add(bytes.len(), Ordering::AcqRel);
        self.count.fetch_sub(self.bytes.len(), Ordering::AcqRel);
        self.bytes = bytes;
    }

    fn advance(&mut self, written: usize) {
        self.count.fetch_sub(written, Ordering::AcqRel);
        self.bytes.advance(written);
    }

    fn take(&mut self) -> Bytes {
        let bytes = self.bytes.clone();
        self.set(Bytes::new());
        bytes
    }
}

impl Drop for UnsentChunk<'_> {
    fn drop(&mut self) {
        self.set(Bytes::new());
    }
}

/// Moves bytes both ways, until the peer or the broker ends the connection. Returns what the broker has handed out and was
/// not written.
async fn move_bytes<S>(stream: &mut S, link: &BrokerLink) -> io::Result<Bytes>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut input = BytesMut::new();
    let mut output = UnsentChunk::new(&link.shared.unsent);
    let mut paused = false;
    loop {
        if output.is_empty() {
            link.shared.with(|state| {
                output.set(state.broker.poll_transmit(link.id).unwrap_or_default());
                paused = state.broker.input_paused(link.id);
            });
        }
        if link.waker.is_closed() {
            return Ok(output.take());
        }
        let notify = match output.is_empty() {
            true => &link.waker.output,
            false => &link.waker.closing,
        };
        let mut notified = pin!(notify.notified());
        let moved = poll_fn(|cx| {
            let into = (!paused).then_some(&mut input);
            poll_move(stream, cx, into, &mut output, notified.as_mut())
        });
        match moved.await? {
            Some(0) => return Ok(Bytes::new()),
            Some(_) => link.shared.with(|state| {
                (state.broker).handle_input(now(), link.id, &mut input);
            }),
            None => {}
        }
    }
}

/// Moves what can be moved, in both directions: neither starves the other, and which comes first is not left to chance.
/// Returns how many bytes were read, 0 at the end of the stream, and `None` when something else happened.
fn poll_move<S>(
    stream: &mut S,
    cx: &mut Context<'_>,
    input: Option<&mut BytesMut>,
    output: &mut UnsentChunk<'_>,
    notified: Pin<&mut Notified<'_>>,
) -> Poll<io::Result<Option<usize>>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut moved = notified.poll(cx).is_ready();
    if !output.is_empty()
        && let Poll::Ready(written) = Pin::new(&mut *stream).poll_write(cx, &output.bytes)
    {
        match written? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => output.advance(written),
        }
        moved = true;
    }
    let read = match input {
        Some(input) => poll_input(stream, cx, input)?,
        None => Poll::Pending, // the link is stalled
    };
    match read {
        Poll::Ready(read) => Poll::Ready(Ok(Some(read))),
        Poll::Pending if moved => Poll::Ready(Ok(None)),
        Poll::Pending => Poll::Pending,
    }
}

/// Reads what is there; 0 bytes at the end. A connection on which nothing comes holds no memory for it, and what comes holds
/// about its own size.
fn poll_input<S>(
    stream: &mut S,
    cx: &mut Context<'_>,
    input: &mut BytesMut,
) -> Poll<io::Result<usize>>
where
    S: AsyncRead + Unpin,
{
    let mut space = [MaybeUninit::uninit(); READ_SIZE];
    let mut read = ReadBuf::uninit(&mut space);
    ready!(Pin::new(stream).poll_read(cx, &mut read))?;
    let read = read.filled();
    match input.is_empty() {
        true => *input = BytesMut::from(read),
        false => input.extend_from_slice(read),
    }
    Poll::Ready(Ok(read.len()))
}
