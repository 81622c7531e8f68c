//! One open transport: bytes in, bytes out, both at once.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::shared::now;

/// The core is asked for more once less than this waits to be written.
const OUTPUT_SIZE: usize = 64 * 1024;

/// How many chunks one call writes.
const SLICES: usize = 16;

/// Room for one read: it grows while reads fill it, so that an idle connection holds little.
const READ_SIZE_MIN: usize = 4 * 1024;
const READ_SIZE_MAX: usize = 64 * 1024;

/// The most that is reserved at once for a large packet. Its length is the peer's word, and not yet its bytes.
const RESERVE_MAX: usize = 1024 * 1024;

/// How long the peer has to close its side, once ours is closed.
const LINGER: Duration = Duration::from_secs(1);

/// Chunks that the core has handed over.
#[derive(Debug, Default)]
pub(crate) struct Output {
    chunks: VecDeque<Bytes>,
    len: usize,
}

impl Output {
    pub(crate) const fn has_room(&self) -> bool {
        self.len < OUTPUT_SIZE
    }

    pub(crate) fn push(&mut self, chunk: Bytes) {
        self.len += chunk.len();
        self.chunks.push_back(chunk);
    }

    fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    fn slices(&self) -> ([IoSlice<'_>; SLICES], usize) {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slice = IoSlice::new(chunk);
            count += 1;
        }
        (slices, count)
    }

    fn advance(&mut self, mut written: usize) {
        self.len -= written;
        while let Some(first) = self.chunks.front_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.chunks.pop_front();
        }
    }
}

/// What a [`Link`] has done.
#[derive(Debug)]
pub(crate) enum Step {
    /// There are so many new bytes in the input.
    Read(usize),
    /// Some output is written, and there is room for more; or writing has failed.
    Written,
}

#[derive(Debug)]
pub(crate) struct Link<S> {
    stream: S,
    pub(crate) input: BytesMut,
    pub(crate) output: Output,
    read_size: usize,
    /// Written, but perhaps still in a buffer of the stream.
    unflushed: bool,
    write_error: Option<io::Error>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: Output::default(),
            read_size: READ_SIZE_MIN,
            unflushed: false,
            write_error: None,
        }
    }

    /// Reads and writes once each, as far as the stream is ready. `missing` is how many bytes the packet at the front of
    /// the input still needs. With `paused` it leaves the input alone. Nothing is lost when the future is dropped.
    ///
    /// After an error of writing it goes on reading: the peer may have said why it closes.
    pub(crate) async fn step(&mut self, missing: usize, paused: bool) -> io::Result<Step> {
        if paused && !self.write_failed() {
            poll_fn(|cx| self.poll_write(cx)).await;
            return Ok(Step::Written);
        }
        let wanted = missing.min(RESERVE_MAX).max(self.read_size);
        self.input.reserve(wanted);
        poll_fn(|cx| {
            let written = self.poll_write(cx).is_ready();
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) => Poll::Ready(Err(self.end())),
                Poll::Ready(Ok(read)) => {
                    self.adapt(read);
                    Poll::Ready(Ok(Step::Read(read)))
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(self.first_cause(error))),
                Poll::Pending if written => Poll::Ready(Ok(Step::Written)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        pin!(self.stream.read_buf(&mut self.input)).poll(cx)
    }

    /// Ready when something was written, and once when that failed.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.write_error.is_some() {
            return Poll::Pending;
        }
        match ready!(self.poll_output(cx)) {
            Ok(()) => Poll::Ready(()),
            Err(error) => {
                self.write_error = Some(error);
                Poll::Ready(())
            }
        }
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = Pin::new(&mut self.stream);
        if self.output.is_empty() {
            if self.unflushed {
                ready!(stream.poll_flush(cx))?;
                self.unflushed = false;
            }
            return Poll::Pending;
        }
        let (slices, count) = self.output.slices();
        let written = ready!(stream.poll_write_vectored(cx, &slices[..count]))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.output.advance(written);
        self.unflushed = true;
        Poll::Ready(Ok(()))
    }

    /// Nothing more can be written; what is still to be read says why, perhaps.
    pub(crate) const fn write_failed(&self) -> bool {
        self.write_error.is_some()
    }

    /// Why it has to end now.
    pub(crate) fn overdue(&mut self) -> io::Error {
        self.write_error
            .take()
            .unwrap_or_else(|| io::ErrorKind::TimedOut.into())
    }

    /// Why it ended: what writing failed with, unless reading has words for it and not just a code of the system. A server's
    /// alert of TLS waits to be read when writing fails already.
    fn first_cause(&mut self, read_error: io::Error) -> io::Error {
        let worded =
            read_error.get_ref().is_some() && read_error.kind() != io::ErrorKind::UnexpectedEof;
        match self.write_error.take() {
            Some(write_error) if !worded => write_error,
            _ => read_error,
        }
    }

    fn end(&mut self) -> io::Error {
        self.write_error
            .take()
            .unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn adapt(&mut self, read: usize) {
        let size = self.read_size;
        self.read_size = if read >= size {
            (size * 2).min(READ_SIZE_MAX)
        } else if read < size / 4 {
            (size / 2).max(READ_SIZE_MIN)
        } else {
            size
        };
    }

    /// Writes what is left, then closes this side and waits a moment for the other: dropping a socket over unread input
    /// would reset the connection, and the peer might lose what was written last.
    ///
    /// # Errors
    /// When not all could be written by the deadline.
    pub(crate) async fn close(mut self, deadline: Option<Instant>) -> io::Result<()> {
        let left = || deadline.map_or(Duration::MAX, |deadline| deadline.duration_since(now()));
        match timeout(left(), self.write_all_and_shut_down()).await {
            Ok(result) => result?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
        let _ = timeout(LINGER.min(left()), self.discard_input()).await; // how the peer ends is no longer of interest
        Ok(())
    }

    async fn write_all_and_shut_down(&mut self) -> io::Result<()> {
        if let Some(error) = self.write_error.take() {
            return Err(error);
        }
        while !self.output.is_empty() {
            poll_fn(|cx| self.poll_output(cx)).await?;
        }
        self.stream.shutdown().await
    }

    async fn discard_input(&mut self) -> io::Result<()> {
        self.input.clear();
        while self.stream.read_buf(&mut self.input).await? > 0 {
            self.input.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::ReadBuf;

    use super::*;

    /// Writing fails, and so does reading, with these.
    struct Broken(Option<io::Error>, Option<io::Error>);

    impl AsyncRead for Broken {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(self.1.take().map_or(Ok(()), Err))
        }
    }

    impl AsyncWrite for Broken {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(self.0.take().expect("not tried again")))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn told(read_error: Option<io::Error>) -> String {
        let pipe = io::ErrorKind::BrokenPipe.into();
        let mut link = Link::new(Broken(Some(pipe), read_error));
        link.output.push(Bytes::from_static(b"x"));
        link.step(1, false).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn what_the_peer_said_is_told_rather_than_that_writing_to_it_failed() {
        let alert = io::Error::new(io::ErrorKind::InvalidData, "alert");
        assert_eq!(told(Some(alert)).await, "alert");
        let broken = io::Error::from(io::ErrorKind::BrokenPipe).to_string();
        assert_eq!(told(None).await, broken);
        let reset = io::ErrorKind::ConnectionReset.into();
        assert_eq!(told(Some(reset)).await, broken);
        let end = io::Error::new(io::ErrorKind::UnexpectedEof, "no close_notify");
        assert_eq!(told(Some(end)).await, broken);
    }
}
