//! Through a proxy: SOCKS or HTTP CONNECT.

use std::fmt;
use std::io;
use std::str::FromStr;

use bytes::BytesMut;
use ferromqtt_transport::{
    AttemptPhase, Destination, Hint, Host, ProxyCredentials, ProxyHandshake, ProxyKind,
    ProxyProgress, ProxyUrl,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::network::read;
use super::tcp::{Tcp, resolve};
use super::{at, during};
use crate::options_error::AddressError;

/// A proxy that connects to the server for the client, for [`Options::proxy`](crate::Options::proxy).
///
/// | URL | what | who resolves the server's name | port unless given |
/// | --- | --- | --- | --- |
/// | `socks5h://user:password@host:port` | SOCKS 5 | the proxy | 1080 |
/// | `socks5://` | SOCKS 5 | the client | 1080 |
/// | `socks4a://` | SOCKS 4a: IPv4 and a user name only | the proxy | 1080 |
/// | `socks4://` | SOCKS 4: IPv4 and a user name only | the client | 1080 |
/// | `http://` | HTTP CONNECT, with Basic authentication | the proxy | 8080 |
///
/// User name and password are percent-encoded, and cross the network to the proxy as they are. Neither `Debug` nor
/// `Display` shows the password.
///
/// ```
/// use ferromqtt::{Options, Proxy};
///
/// let proxy = Proxy::from_url("socks5h://user:s%40fe@gate.example")?;
/// assert_eq!(proxy.to_string(), "socks5h://user:***@gate.example:1080");
/// let options = Options::from_url("mqtt://broker.example")?.proxy(proxy);
/// # Ok::<_, ferromqtt::AddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy(ProxyUrl);

impl Proxy {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`AddressError::Url`] says what is wrong with it, and never repeats a password.
    pub fn from_url(url: &str) -> Result<Self, AddressError> {
        Ok(Self(ProxyUrl::parse(url)?))
    }

    /// A connection to the host, by way of the proxy.
    pub(crate) async fn connect(&self, tcp: &Tcp, host: &Host, port: u16) -> io::Result<TcpStream> {
        self.try_each(tcp, host, port)
            .await
            .map_err(|error| at(format_args!("through {self}"), error))
    }

    async fn try_each(&self, tcp: &Tcp, host: &Host, port: u16) -> io::Result<TcpStream> {
        let mut failure = None;
        for destination in self.destinations(host, port).await? {
            match self.ask(tcp, &destination, port).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| {
            let problem = "the server has no IPv4 address, and SOCKS 4 knows no other; use socks5";
            io::Error::new(io::ErrorKind::AddrNotAvailable, problem)
        }))
    }

    /// What the proxy is asked for.
    async fn destinations(&self, host: &Host, port: u16) -> io::Result<Vec<Destination>> {
        let destination = host.destination().map_err(io::Error::other)?;
        if self.0.remote_names || matches!(destination, Destination::Address(_)) {
            return Ok(vec![destination]);
        }
        let addresses = resolve(host, port).await?;
        let usable = addresses
            .into_iter()
            .filter(|address| address.is_ipv4() || self.0.kind != ProxyKind::Socks4);
        Ok(usable
            .map(|address| Destination::Address(address.ip()))
            .collect())
    }

    async fn ask(&self, tcp: &Tcp, destination: &Destination, port: u16) -> io::Result<TcpStream> {
        let credentials = ProxyCredentials {
            user_name: self.0.user_name.clone(),
            password: self.0.password.clone(),
        };
        let mut handshake = ProxyHandshake::new(self.0.kind, &credentials, destination, port)
            .map_err(io::Error::other)?;
        let mut stream = tcp.connect(&read(&self.0.host)?, self.0.port).await?;
        let mut input = BytesMut::new();
        loop {
            if let Some(request) = handshake.poll_transmit() {
                stream
                    .write_all(&request)
                    .await
                    .map_err(|error| cut(&error))?;
            }
            if stream
                .read_buf(&mut input)
                .await
                .map_err(|error| cut(&error))?
                == 0
            {
                return Err(io::Error::other(handshake.ended()));
            }
            match handshake.receive(&mut input).map_err(io::Error::other)? {
                ProxyProgress::NeedMore => {}
                ProxyProgress::Done => return Ok(stream),
            }
        }
    }
}

/// The failure of a connection that the proxy has cut instead of answering.
fn cut(error: &io::Error) -> io::Error {
    during(AttemptPhase::Proxy, Hint::NoProxy, error)
}

impl FromStr for Proxy {
    type Err = AddressError;

    fn from_str(url: &str) -> Result<Self, AddressError> {
        Self::from_url(url)
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}
