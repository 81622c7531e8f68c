//! TLS in front of a broker that does not speak it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use ferromqtt::rustls::crypto::ring;
use ferromqtt::rustls::pki_types::pem::PemObject;
use ferromqtt::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use ferromqtt::rustls::server::WebPkiClientVerifier;
use ferromqtt::rustls::{
    ALL_VERSIONS, HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::certificates::{Authority, Identity};

pub(crate) struct TlsFront {
    address: SocketAddr,
    acceptor: watch::Sender<TlsAcceptor>,
    handshakes: Handshakes,
    task: JoinHandle<()>,
}

/// How those that came about were made, in their order, and the names that were asked for (SNI).
type Handshakes = Arc<Mutex<Vec<(HandshakeKind, Option<String>)>>>;

/// What the server demands.
pub(crate) struct Demands<'a> {
    pub(crate) versions: &'a [&'static SupportedProtocolVersion],
    pub(crate) client_authority: Option<&'a Authority>,
    pub(crate) alpn: &'a [&'a str],
}

impl Default for Demands<'_> {
    fn default() -> Self {
        Self {
            versions: ALL_VERSIONS,
            client_authority: None,
            alpn: &[],
        }
    }
}

impl TlsFront {
    pub(crate) async fn to(broker: SocketAddr, identity: &Identity) -> Self {
        Self::demanding(broker, identity, Demands::default()).await
    }

    pub(crate) async fn demanding(
        broker: SocketAddr,
        identity: &Identity,
        demands: Demands<'_>,
    ) -> Self {
        Self::at("127.0.0.1", broker, identity, demands).await
    }

    /// On an address of the loopback.
    pub(crate) async fn at(
        address: &str,
        broker: SocketAddr,
        identity: &Identity,
        demands: Demands<'_>,
    ) -> Self {
        let acceptor = watch::Sender::new(acceptor(identity, &demands));
        let present = acceptor.subscribe();
        let handshakes = Handshakes::default();
        let noted = Arc::clone(&handshakes);
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = present.borrow().clone();
                tokio::spawn(forward(acceptor, stream, broker, Arc::clone(&noted)));
            }
        });
        Self {
            address,
            acceptor,
            handshakes,
            task,
        }
    }

    /// Has another certificate, or other demands, from the next connection on.
    pub(crate) fn change(&self, identity: &Identity, demands: Demands<'_>) {
        self.acceptor.send_replace(acceptor(identity, &demands));
    }

    pub(crate) fn handshakes(&self) -> Vec<HandshakeKind> {
        let handshakes = self.handshakes.lock().unwrap();
        handshakes.iter().map(|(kind, _)| *kind).collect()
    }

    /// The names that were asked for, by each handshake that came about.
    #[allow(dead_code, reason = "only tests that take several features ask")]
    pub(crate) fn names(&self) -> Vec<Option<String>> {
        let handshakes = self.handshakes.lock().unwrap();
        handshakes.iter().map(|(_, name)| name.clone()).collect()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn acceptor(identity: &Identity, demands: &Demands<'_>) -> TlsAcceptor {
    Arc::new(config(identity, demands)).into()
}

fn config(identity: &Identity, demands: &Demands<'_>) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(demands.versions)
        .unwrap();
    let builder = match demands.client_authority {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            let certificate = CertificateDer::from_pem_slice(authority.pem().as_bytes());
            roots.add(certificate.unwrap()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let chain = CertificateDer::pem_slice_iter(identity.chain.as_bytes());
    let chain = chain.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = demands
        .alpn
        .iter()
        .map(|name| name.as_bytes().into())
        .collect();
    config
}

async fn forward(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    broker: SocketAddr,
    handshakes: Handshakes,
) {
    stream.set_nodelay(true).unwrap();
    match acceptor.accept(stream).into_fallible().await {
        Ok(mut stream) => {
            let session = stream.get_ref().1;
            let name = session.server_name().map(str::to_owned);
            let handshake = session.handshake_kind().map(|kind| (kind, name));
            handshakes.lock().unwrap().extend(handshake);
            let mut broker = TcpStream::connect(broker).await.unwrap();
            broker.set_nodelay(true).unwrap();
            let _ = copy_bidirectional(&mut stream, &mut broker).await;
        }
        Err((_, mut stream)) => {
            // What the client has sent meanwhile is read: else its end would be a reset, and the alert might be lost.
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    }
}
