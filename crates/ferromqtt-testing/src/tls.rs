//! TLS below a test broker's connections.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::server::TlsStream;

use crate::authority::TestIdentity;
use crate::link::LinkStream;

/// How long a connection may take for its handshake. The broker, which has a time limit for CONNECT, does not know it yet.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// So many connections of one listener are in their handshake; those beyond it are closed.
const MOST_HANDSHAKES: usize = 100;

/// Accepts TLS with one certificate.
pub(crate) struct TlsLayer {
    acceptor: TlsAcceptor,
    handshakes: AtomicUsize,
}

impl TlsLayer {
    pub(crate) fn new(identity: &TestIdentity) -> io::Result<Self> {
        let chain = vec![identity.certificate_der().into()];
        let key = PrivatePkcs8KeyDer::from(identity.key_der());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder
                    .with_no_client_auth()
                    .with_single_cert(chain, key.into())
            })
            .map_err(io::Error::other)?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            handshakes: AtomicUsize::new(0),
        })
    }

    /// Makes the handshake; none when it fails, or takes too long.
    pub(crate) async fn accept<S>(&self, stream: S) -> Option<FlushedStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let _place = HandshakePlace::take(&self.handshakes)?;
        let accepted = timeout(HANDSHAKE, self.acceptor.accept(stream)).await;
        accepted.ok()?.ok().map(FlushedStream)
    }
}

/// A TLS connection that sends what was written without being asked to: the broker's side of a connection does not flush,
/// since other streams need not be.
pub(crate) struct FlushedStream<S>(TlsStream<S>);

impl<S: LinkStream> LinkStream for FlushedStream<S> {
    fn reset(self) {
        self.0.into_inner().0.reset();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for FlushedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        output: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let _later = Pin::new(&mut self.0).poll_flush(cx)?;
        Pin::new(&mut self.0).poll_read(cx, output)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for FlushedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// One of the handshakes at a time, until this is dropped.
struct HandshakePlace<'a>(&'a AtomicUsize);

impl<'a> HandshakePlace<'a> {
    fn take(taken: &'a AtomicUsize) -> Option<Self> {
        let place = Self(taken);
        (taken.fetch_add(1, Ordering::Relaxed) < MOST_HANDSHAKES).then_some(place)
    }
}

impl Drop for HandshakePlace<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
