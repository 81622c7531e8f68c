//! One open transport: bytes in, bytes out, both at once.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ferromqtt_engine::{InputDemand, LinkId};
use ferromqtt_proto::{Progress, debug_fields};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use crate::state::TaskEngine;
use crate::transport::ByteStream;

/// The core is asked for more once less than this waits to be written.
const OUTPUT_SIZE: usize = 64 * 1024;

/// How many chunks one call writes.
const SLICES: usize = 16;

/// Bounds of the buffer for one read. It grows while reads fill it, so that an idle connection holds little.
const READ_SIZE_MIN: usize = 4 * 1024;
const READ_SIZE_MAX: usize = 64 * 1024;

/// The most that is reserved at once for a large packet. Its length is the peer's word, and not yet its bytes.
const RESERVE_MAX: usize = 1024 * 1024;

/// Chunks that the engine has handed over.
#[derive(Default)]
pub(crate) struct LinkOutput {
    /// The transport that they are for; `None` without one.
    link: Option<LinkId>,
    chunks: VecDeque<Bytes>,
    len: usize,
}

debug_fields!(LinkOutput {
    link,
    chunks: count,
    len
});

impl LinkOutput {
    /// The transport that chunks are for, while one more may be added.
    pub(crate) fn open_for(&self) -> Option<LinkId> {
        self.link.filter(|_| self.len < OUTPUT_SIZE)
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

/// How far the output of a [`ByteLink`] has come.
#[derive(Debug)]
pub(crate) struct LinkProgress<'a, S> {
    stream: &'a S,
    /// Bytes that the core has handed over and the stream has not taken.
    unwritten: u64,
    held_up: bool,
}

impl<S: ByteStream> LinkProgress<'_, S> {
    /// Reports it, if the core wants to know. The system is asked only then.
    pub(crate) fn report(&self, engine: &mut TaskEngine, link: LinkId, now: Instant) {
        engine.progress(now, link, self.unwritten, || Progress {
            unwritten: self.unwritten,
            held_up: self.held_up,
            tcp: self.stream.tcp_progress(),
        });
    }
}

/// How many bytes are read at once to learn whether the server is alive.
const LITTLE: usize = 512;

/// What one [`ByteLink::step`] has done.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// The input has this many new bytes.
    Read(usize),
    /// Some output is written, and more can be added; or writing has failed.
    Written,
    /// All output is written, and this side has ended.
    Finished,
}

/// How much of this side is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Open,
    /// It ends behind what is in the output.
    Finishing,
    Finished,
}

/// An open transport, its input and its output.
pub(crate) struct ByteLink<S> {
    stream: S,
    pub(crate) input: BytesMut,
    pub(crate) output: LinkOutput,
    read_size: usize,
    /// Written, but perhaps still in a buffer of the stream.
    unflushed: bool,
    writing: Writing,
    /// The stream has refused bytes since the output was last empty.
    held_up: bool,
    write_error: Option<io::Error>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ByteLink<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: LinkOutput::default(),
            read_size: READ_SIZE_MIN,
            unflushed: false,
            writing: Writing::Open,
            held_up: false,
            write_error: None,
        }
    }

    /// Makes a link whose output the engine fills, for the transport with this name.
    pub(crate) fn carrying(link: LinkId, stream: S) -> Self {
        let mut carrying = Self::new(stream);
        carrying.output.link = Some(link);
        carrying
    }

    /// The input, the output, and how far that has come.
    pub(crate) const fn parts(&mut self) -> (&mut BytesMut, &mut LinkOutput, LinkProgress<'_, S>) {
        let progress = LinkProgress {
            stream: &self.stream,
            unwritten: self.output.len as u64,
            held_up: self.held_up,
        };
        (&mut self.input, &mut self.output, progress)
    }

    /// Reads and writes once each, as far as the stream is ready. `missing` is how many bytes the packet at the front of
    /// the input still needs. `reading` says how much of the input it takes. Nothing is lost when the future is dropped.
    ///
    /// After an error of writing it goes on reading: the peer may have said why it closes.
    pub(crate) async fn step(
        &mut self,
        missing: usize,
        reading: InputDemand,
    ) -> io::Result<LinkEvent> {
        if reading == InputDemand::Nothing && !self.write_failed() {
            poll_fn(|cx| self.poll_write(cx)).await;
            return Ok(LinkEvent::Written);
        }
        let wanted = missing.min(RESERVE_MAX).max(self.read_size);
        self.input.reserve(wanted);
        poll_fn(|cx| {
            let written = match self.writing {
                Writing::Open => self.poll_write(cx).is_ready(),
                Writing::Finishing => {
                    if let Poll::Ready(finished) = self.poll_finish(cx) {
                        return Poll::Ready(finished.map(|()| LinkEvent::Finished));
                    }
                    false
                }
                Writing::Finished => false,
            };
            match self.poll_read(cx, reading) {
                Poll::Ready(Ok(0)) => Poll::Ready(Err(self.end())),
                Poll::Ready(Ok(read)) => {
                    self.adapt(read);
                    Poll::Ready(Ok(LinkEvent::Read(read)))
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(self.first_cause(error))),
                Poll::Pending if written => Poll::Ready(Ok(LinkEvent::Written)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, reading: InputDemand) -> Poll<io::Result<usize>> {
        match reading {
            InputDemand::Little => {
                pin!(self.stream.read_buf(&mut (&mut self.input).limit(LITTLE))).poll(cx)
            }
            _ => pin!(self.stream.read_buf(&mut self.input)).poll(cx),
        }
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
        let result = stream.poll_write_vectored(cx, &slices[..count]);
        self.held_up |= result.is_pending();
        let written = ready!(result)?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.output.advance(written);
        self.held_up &= !self.output.is_empty();
        self.unflushed = true;
        Poll::Ready(Ok(()))
    }

    /// This side is to end when all that is in the output is written.
    pub(crate) fn finish(&mut self) {
        if self.writing == Writing::Open {
            self.writing = Writing::Finishing;
        }
    }

    /// Whether all output is written, and this side has ended.
    pub(crate) fn has_finished(&self) -> bool {
        self.writing == Writing::Finished
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.write_error.take() {
            return Poll::Ready(Err(error));
        }
        while !self.output.is_empty() {
            ready!(self.poll_output(cx))?;
        }
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        self.writing = Writing::Finished;
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

    async fn reported(read_error: Option<io::Error>) -> String {
        let pipe = io::ErrorKind::BrokenPipe.into();
        let mut link = ByteLink::new(Broken(Some(pipe), read_error));
        link.output.push(Bytes::from_static(b"x"));
        link.step(1, InputDemand::All)
            .await
            .unwrap_err()
            .to_string()
    }

    #[tokio::test]
    async fn what_the_peer_said_is_reported_rather_than_that_writing_to_it_failed() {
        let alert = io::Error::new(io::ErrorKind::InvalidData, "alert");
        assert_eq!(reported(Some(alert)).await, "alert");
        let broken = io::Error::from(io::ErrorKind::BrokenPipe).to_string();
        assert_eq!(reported(None).await, broken);
        let reset = io::ErrorKind::ConnectionReset.into();
        assert_eq!(reported(Some(reset)).await, broken);
        let end = io::Error::new(io::ErrorKind::UnexpectedEof, "no close_notify");
        assert_eq!(reported(Some(end)).await, broken);
    }
}
