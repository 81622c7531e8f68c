//! MQTT over WebSocket, as the stream of bytes that the broker reads and writes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use ferromqtt_transport::WebSocketServer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::link::LinkStream;

/// How much one read of the socket takes.
const READ_SIZE: usize = 16 * 1024;

/// The server's side of a WebSocket on a socket.
///
/// What is written goes out as one frame, and the next one is taken once that is with the socket. So the memory that it holds
/// is one chunk of the broker's, and one read.
pub(crate) struct ServedWebSocket<S> {
    socket: S,
    websocket: WebSocketServer,
    received: BytesMut,
    /// Frames on their way to the socket.
    unsent: Bytes,
    /// The end of the WebSocket was reported, or is known: what the socket still brings is for nobody.
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ServedWebSocket<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self {
            socket,
            websocket: WebSocketServer::new(),
            received: BytesMut::new(),
            unsent: Bytes::new(),
            ended: false,
        }
    }

    /// Writes all frames that there are, through to the socket.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.unsent.is_empty() {
                match self.websocket.poll_transmit() {
                    Some(frames) => self.unsent = frames,
                    None => return Pin::new(&mut self.socket).poll_flush(cx),
                }
            }
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.unsent))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(written);
        }
    }
}

impl<S: LinkStream> LinkStream for ServedWebSocket<S> {
    fn reset(self) {
        self.socket.reset();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ServedWebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        output: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ended {
            return Pin::new(&mut this.socket).poll_read(cx, output);
        }
        loop {
            if !this.received.is_empty() {
                let length = output.remaining().min(this.received.len());
                output.put_slice(&this.received.split_to(length));
                return Poll::Ready(Ok(()));
            }
            // The answer to the request, a Pong or a Close: a reader that waits for no more input sends them too.
            let sent = this.poll_send(cx)?;
            if this.websocket.is_closed() {
                ready!(sent); // the peer can read why
                this.ended = true;
                return Poll::Ready(Ok(()));
            }
            let mut space = [0; READ_SIZE];
            let mut read = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut this.socket).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            (this.websocket).receive_into(read.filled(), &mut this.received);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ServedWebSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        self.websocket.send_slice(data);
        let _sooner = self.poll_send(cx)?;
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.websocket.close();
        self.ended = true;
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
