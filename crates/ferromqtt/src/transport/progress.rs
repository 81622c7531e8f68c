//! How far the peer's TCP has confirmed what was written, whatever lies between the client and the TCP connection.

use std::any::Any;

use ferromqtt_proto::TcpProgress;
use tokio::net::TcpStream;

use super::Stream;
#[cfg(feature = "tls")]
use super::tls;
#[cfg(feature = "websocket")]
use super::websocket::WebSocketStream;

/// Asks the system. `None` when there is no TCP connection below, none that can be seen, or the system does not tell.
pub(super) fn of(stream: &dyn Any) -> Option<TcpProgress> {
    if let Some(stream) = stream.downcast_ref::<Stream>() {
        return (**stream).tcp_progress();
    }
    if let Some(tcp) = stream.downcast_ref::<TcpStream>() {
        return system::ask(tcp);
    }
    #[cfg(feature = "tls")]
    if let Some(progress) = tls::progress(stream) {
        return Some(progress);
    }
    #[cfg(feature = "websocket")]
    if let Some(websocket) = stream.downcast_ref::<WebSocketStream>() {
        return websocket.tcp_progress_below();
    }
    None
}

/// Linux: the kernel's diagnosis of sockets, what `ss -i` shows, asked for one connection over netlink.
///
/// `getsockopt(TCP_INFO)` tells the same, but no crate offers it without `unsafe` in this one; see
/// `docs/design/0016-keep-alive.md`.
#[cfg(target_os = "linux")]
mod system {
    use std::io::{self, Read};
    use std::net::{IpAddr, SocketAddr};

    use ferromqtt_proto::TcpProgress;
    use socket2::{Domain, Protocol, Socket, Type};
    use tokio::net::TcpStream;

    // From the kernel's headers for programs: linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h, linux/tcp.h.
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    const AF_NETLINK: i32 = 16;
    const NETLINK_SOCK_DIAG: i32 = 4;
    const NLM_F_REQUEST: u16 = 1;
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const IPPROTO_TCP: u8 = 6;
    const INET_DIAG_INFO: u16 = 2;
    /// Length of `struct nlmsghdr`.
    const HEADER_LEN: usize = 16;
    /// Length of `struct inet_diag_req_v2`.
    const REQUEST_LEN: usize = 56;
    /// Length of `struct inet_diag_msg`.
    const ANSWER_LEN: usize = 72;
    /// Where `idiag_wqueue` stands in it: bytes that were written and are not acknowledged.
    const WRITE_QUEUE: usize = 60;
    /// Where `tcpi_bytes_acked` stands in `struct tcp_info`.
    const BYTES_ACKED: usize = 120;
    /// The answer has some 400 bytes.
    const ANSWER_SIZE_MAX: usize = 4 * 1024;

    pub(super) fn ask(stream: &TcpStream) -> Option<TcpProgress> {
        let request = request(stream.local_addr().ok()?, stream.peer_addr().ok()?);
        let mut answer = [0; ANSWER_SIZE_MAX];
        let length = exchange(&request, &mut answer).ok()?;
        read(&answer[..length])
    }

    /// The kernel answers within the call of `send`, so that nothing is waited for.
    fn exchange(request: &[u8], answer: &mut [u8]) -> io::Result<usize> {
        let protocol = Protocol::from(NETLINK_SOCK_DIAG);
        let mut socket = Socket::new(Domain::from(AF_NETLINK), Type::DGRAM, Some(protocol))?;
        socket.set_nonblocking(true)?;
        socket.send(request)?;
        socket.read(answer)
    }

    fn request(local: SocketAddr, peer: SocketAddr) -> Vec<u8> {
        let family = if local.is_ipv4() { AF_INET } else { AF_INET6 };
        let interface = match local {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(address) => address.scope_id(),
        };
        let mut out = Vec::with_capacity(HEADER_LEN + REQUEST_LEN);
        out.extend(((HEADER_LEN + REQUEST_LEN) as u32).to_ne_bytes());
        out.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        out.extend(NLM_F_REQUEST.to_ne_bytes());
        out.extend([0; 8]); // sequence, port
        out.extend([family, IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), 0]);
        out.extend(u32::MAX.to_ne_bytes()); // in whichever state
        out.extend(local.port().to_be_bytes());
        out.extend(peer.port().to_be_bytes());
        out.extend(padded(local.ip()));
        out.extend(padded(peer.ip()));
        out.extend(interface.to_ne_bytes());
        out.extend([0xFF; 8]); // no cookie
        out
    }

    fn padded(address: IpAddr) -> [u8; 16] {
        match address {
            IpAddr::V4(address) => {
                let mut padded = [0; 16];
                padded[..4].copy_from_slice(&address.octets());
                padded
            }
            IpAddr::V6(address) => address.octets(),
        }
    }

    fn read(answer: &[u8]) -> Option<TcpProgress> {
        if u16_at(answer, 4)? != SOCK_DIAG_BY_FAMILY {
            return None; // an error: the kernel does not know, or may not tell
        }
        let message = answer.get(HEADER_LEN..)?;
        let unacknowledged = u32::from_ne_bytes(array_at(message, WRITE_QUEUE)?).into();
        let mut attributes = message.get(ANSWER_LEN..)?;
        loop {
            let length = usize::from(u16_at(attributes, 0)?);
            if u16_at(attributes, 2)? == INET_DIAG_INFO {
                let info = attributes.get(4..length)?;
                return Some(TcpProgress {
                    acknowledged: u64::from_ne_bytes(array_at(info, BYTES_ACKED)?),
                    unacknowledged,
                });
            }
            attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
        }
    }

    fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
        array_at(bytes, at).map(u16::from_ne_bytes)
    }

    fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
        bytes.get(at..at + N)?.try_into().ok()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn an_answer_that_is_cut_short_or_an_error_tells_nothing() {
            let mut answer = vec![0; HEADER_LEN + ANSWER_LEN + 4 + BYTES_ACKED + 8];
            answer[4] = 20;
            answer[HEADER_LEN + WRITE_QUEUE] = 7;
            let attribute = HEADER_LEN + ANSWER_LEN;
            answer[attribute] = (4 + BYTES_ACKED + 8) as u8;
            answer[attribute + 2] = 2;
            answer[attribute + 4 + BYTES_ACKED] = 9;
            let expected = TcpProgress {
                acknowledged: 9,
                unacknowledged: 7,
            };
            if cfg!(target_endian = "little") {
                assert_eq!(read(&answer), Some(expected));
            }
            for length in 0..answer.len() {
                assert_eq!(read(&answer[..length]), None);
            }
            answer[4] = 2;
            assert_eq!(read(&answer), None);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use ferromqtt_proto::TcpProgress;
    use tokio::net::TcpStream;

    pub(super) const fn ask(_stream: &TcpStream) -> Option<TcpProgress> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    #[cfg(feature = "websocket")]
    use tungstenite::handshake::server::{Request, Response};

    use super::super::ByteStream;
    use super::*;

    /// What the peer's TCP has for good, and what it has no room for. The kernel of this machine must tell, or the tests of
    /// links that fall silent prove nothing.
    #[tokio::test]
    async fn linux_tells_what_the_peer_has_acknowledged() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await;
            let mut stream: Stream = Box::new(client.unwrap());
            let (mut peer, _) = listener.accept().await.unwrap();
            let before = stream.tcp_progress().expect("the kernel tells");

            stream.write_all(&[7; 1_000]).await.unwrap();
            peer.read_exact(&mut [0; 1_000]).await.unwrap();
            peer.write_all(b"x").await.unwrap(); // which carries the acknowledgement
            stream.read_exact(&mut [0]).await.unwrap();
            let after = stream.tcp_progress().unwrap();
            assert_eq!(after.acknowledged, before.acknowledged + 1_000);
            assert_eq!(after.unacknowledged, 0);

            let full = timeout(Duration::from_millis(200), async {
                loop {
                    stream.write_all(&[7; 1 << 20]).await.unwrap();
                }
            });
            assert!(full.await.is_err(), "the peer does not read");
            assert!(stream.tcp_progress().unwrap().unacknowledged > 0);
        }
    }

    /// Opens what `url` names, and tells whether the TCP connection below can be asked.
    #[cfg(any(feature = "tls", feature = "websocket"))]
    async fn is_told(url: &str, set: impl FnOnce(&mut crate::transport::Settings)) -> bool {
        use crate::transport::Settings;
        use crate::{Credentials, Server};

        let server = Server::from_url(url).unwrap();
        let mut settings = Settings::new(server.clone());
        set(&mut settings);
        let connector = settings.connector(None).await.unwrap();
        let stream = connector.connect(&server, &Credentials::new()).await;
        stream.unwrap().tcp_progress().is_some()
    }

    #[cfg(feature = "tls")]
    #[tokio::test]
    async fn the_connection_below_tls_is_asked() {
        use tokio_rustls::TlsAcceptor;
        use tokio_rustls::rustls::ServerConfig;

        let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let pem = signed.cert.pem();
        let key = signed.signing_key.serialize_der().try_into().unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![signed.cert.into()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("mqtts://{}", listener.local_addr().unwrap());
        let serving = async {
            let (stream, _) = listener.accept().await.unwrap();
            TlsAcceptor::from(std::sync::Arc::new(config))
                .accept(stream)
                .await
        };
        let asking = is_told(&url, |settings| {
            settings.tls = Some(crate::TlsOptions::new().ca_pem(pem));
        });
        let (_served, known) = tokio::join!(serving, asking);
        assert!(known);
    }

    #[cfg(feature = "websocket")]
    #[tokio::test]
    async fn the_connection_below_a_websocket_is_asked() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/mqtt", listener.local_addr().unwrap());
        let serving = tokio::task::spawn_blocking(move || {
            let (stream, _) = listener.accept().unwrap();
            tungstenite::accept_hdr(
                stream,
                #[allow(clippy::result_large_err, reason = "the type is tungstenite's")]
                |_: &Request, mut response: Response| {
                    let name = "Sec-WebSocket-Protocol";
                    response.headers_mut().insert(name, "mqtt".parse().unwrap());
                    Ok(response)
                },
            )
            .unwrap()
        });
        assert!(is_told(&url, |_| {}).await);
        serving.await.unwrap();
    }
}
