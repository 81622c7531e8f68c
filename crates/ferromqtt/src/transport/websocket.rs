//! MQTT over WebSocket (section 6), as a stream of bytes again.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use ferromqtt_proto::{TcpProgress, TransportError};
use ferromqtt_transport::{
    AttemptPhase, Hint, Host, WebSocket, WebSocketError, WebSocketRequest, default_headers,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::{ByteStream, Stream, broken_off};
use crate::options_error::OptionsError;

/// How much one call takes to be masked and sent: a large payload needs no second copy of its whole size.
const WRITE_SIZE: usize = 64 * 1024;

/// How much one read takes from the connection.
const READ_SIZE: usize = 16 * 1024;

/// Changes to the headers that a request usually has. They may hold tokens, and are never shown.
#[derive(Clone, Default)]
pub(crate) struct Headers(Vec<(String, Option<String>)>);

impl Headers {
    /// Replaces the header of this name, or adds it; without a value, leaves it out.
    pub(crate) fn set(&mut self, name: String, value: Option<String>) {
        self.0
            .retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
        self.0.push((name, value));
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These, and the others over them.
    pub(crate) fn with(&self, others: &Self) -> Self {
        let mut all = self.clone();
        for (name, value) in &others.0 {
            all.set(name.clone(), value.clone());
        }
        all
    }

    fn over(&self, mut usual: Vec<(String, String)>) -> Vec<(String, String)> {
        for (name, value) in &self.0 {
            let place = (usual.iter()).position(|(other, _)| other.eq_ignore_ascii_case(name));
            match (place, value) {
                (Some(place), Some(value)) => usual[place].1.clone_from(value),
                (Some(place), None) => drop(usual.remove(place)),
                (None, Some(value)) => usual.push((name.clone(), value.clone())),
                (None, None) => {}
            }
        }
        usual
    }

    fn handshake(
        &self,
        (host, port, tls): (&Host, u16, bool),
        path: &str,
    ) -> Result<WebSocketRequest, WebSocketError> {
        WebSocketRequest::new(path, &self.over(default_headers(host, port, tls)))
    }

    /// Whether they make a request, for a server at this path.
    pub(crate) fn check(&self, path: &str) -> Result<(), OptionsError> {
        let anywhere = Host::from(IpAddr::from(Ipv4Addr::LOCALHOST));
        match self.handshake((&anywhere, 80, false), path) {
            Ok(_) => Ok(()),
            Err(error) => Err(OptionsError::WebSocket(error)),
        }
    }
}

/// Opens a WebSocket over `bytes`.
pub(super) async fn connect(
    mut bytes: Stream,
    server: (&Host, u16, bool),
    path: &str,
    headers: &Headers,
) -> io::Result<Stream> {
    let handshake = headers.handshake(server, path).map_err(io::Error::other)?;
    let mut websocket = WebSocket::new(handshake);
    let mut input = vec![0; READ_SIZE];
    while !websocket.is_open() {
        if let Some(request) = websocket.poll_transmit() {
            bytes.write_all(&request).await.map_err(cut)?;
            bytes.flush().await.map_err(cut)?;
        }
        let read = match bytes.read(&mut input).await {
            // TLS that was not closed in its own way
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            read => read.map_err(cut)?,
        };
        match read {
            0 => websocket.end_of_stream().map_err(io::Error::other)?,
            read => websocket
                .receive(&input[..read])
                .map_err(io::Error::other)?,
        }
        if websocket.is_closed() {
            return Err(io::Error::other(closed(&websocket)));
        }
    }
    Ok(Box::new(WebSocketStream {
        bytes,
        websocket,
        received: Bytes::new(),
        to_write: Bytes::new(),
        input,
        closing: false,
        failure: None,
    }))
}

/// The failure of a connection that was cut before the server accepted.
fn cut(error: io::Error) -> io::Error {
    broken_off(AttemptPhase::WebSocket, Hint::NoWebSocket, &error).unwrap_or(error)
}

/// Why the server has closed.
fn closed(websocket: &WebSocket) -> TransportError {
    match websocket.close_reason() {
        Some(reason) => TransportError::Failed(reason.to_string().into()),
        None => TransportError::EndOfStream,
    }
}

pub(super) struct WebSocketStream {
    bytes: Stream,
    websocket: WebSocket,
    /// What has come and was not read yet.
    received: Bytes,
    /// What was taken from the WebSocket and is not written yet.
    to_write: Bytes,
    input: Vec<u8>,
    /// This side closes.
    closing: bool,
    /// Why no more will come. Reported when everything before it has been read.
    failure: Option<TransportError>,
}

impl WebSocketStream {
    /// As the stream below says, with what is still to be written to it.
    pub(super) fn tcp_progress_below(&self) -> Option<TcpProgress> {
        let mut progress = self.bytes.tcp_progress()?;
        progress.unacknowledged += self.to_write.len() as u64;
        Some(progress)
    }

    /// Writes all that the WebSocket has to send: Pongs too, which nobody asks to be written.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while !self.to_write.is_empty() {
                let written = ready!(Pin::new(&mut self.bytes).poll_write(cx, &self.to_write))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.to_write.advance(written);
            }
            match self.websocket.poll_transmit() {
                Some(bytes) => self.to_write = bytes,
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Writes what is left, without an end to wait for: an error comes to light with the next read or write.
    fn drain_some(&mut self, cx: &mut Context<'_>) {
        if let Poll::Ready(Ok(())) = self.poll_drain(cx) {
            let _ = Pin::new(&mut self.bytes).poll_flush(cx);
        }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut input = ReadBuf::new(&mut self.input);
        ready!(Pin::new(&mut self.bytes).poll_read(cx, &mut input))?;
        let result = match input.filled() {
            [] => self.websocket.end_of_stream(),
            filled => self.websocket.receive(filled),
        };
        if let Err(error) = result {
            self.failure = Some(match error {
                WebSocketError::Ended => TransportError::EndOfStream,
                error => TransportError::Failed(error.to_string().into()),
            });
        } else if self.websocket.is_closed() && !self.closing {
            self.failure = Some(closed(&self.websocket));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for WebSocketStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.received.is_empty() {
                this.received = this.websocket.poll_received().unwrap_or_default();
            }
            if !this.received.is_empty() {
                let read = buf.remaining().min(this.received.len());
                buf.put_slice(&this.received.split_to(read));
                return Poll::Ready(Ok(()));
            }
            this.drain_some(cx);
            if let Some(failure) = &this.failure {
                return Poll::Ready(Err(io::Error::other(failure.clone())));
            }
            if this.websocket.is_closed() {
                return Poll::Ready(Ok(()));
            }
            ready!(this.poll_receive(cx))?;
        }
    }
}

impl AsyncWrite for WebSocketStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?; // so that no more than one call's bytes wait here
        if let Some(failure) = &this.failure {
            return Poll::Ready(Err(io::Error::other(failure.clone())));
        }
        let taken = &buf[..buf.len().min(WRITE_SIZE)];
        this.websocket.send_slice(taken);
        let _ = this.poll_drain(cx)?;
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.bytes).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.closing {
            this.closing = true;
            this.websocket.close();
        }
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.bytes).poll_shutdown(cx)
    }
}
