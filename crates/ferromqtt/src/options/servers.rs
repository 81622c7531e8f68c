//! Options for the servers that a client connects to, and for the transports that it opens.

use std::net::IpAddr;
use std::sync::Arc;

use super::Options;
use crate::{Server, Transport};

/// # Servers and transports
impl Options {
    /// Several servers instead of one. They are tried in turn: the next one at once when an attempt has failed, and a pause
    /// as [`reconnect`](Self::reconnect) says when all have. A connection that was accepted and is lost waits first.
    ///
    /// All get the same user name, password and other options; [`credentials`](Self::credentials) gives each its own.
    ///
    /// ```
    /// use ferromqtt::{Options, Server};
    ///
    /// let second: Server = "mqtts://two.example:8884".parse()?;
    /// let options = Options::from_url("mqtts://user:password@one.example")?
    ///     .servers(["mqtts://one.example".parse()?, second]);
    /// # Ok::<_, ferromqtt::AddressError>(())
    /// ```
    #[must_use]
    pub fn servers(mut self, servers: impl IntoIterator<Item = Server>) -> Self {
        self.transport.servers = servers.into_iter().collect();
        self
    }

    /// Whether to connect to the server that another one refers to by Use another server or Server moved (5.0, section
    /// 4.11), with the same credentials: only for servers that you trust. It is reached in the same way (TCP, TLS, WebSocket
    /// ...), and never in a less secure one. When that connection ends, the list is used again. Default: `false`.
    #[must_use]
    pub const fn follow_server_reference(mut self, follow: bool) -> Self {
        self.core.follow_server_reference = follow;
        self
    }

    /// How to speak TLS. With it, **every** server is spoken to over TLS, whatever its URL says, except one behind a Unix
    /// socket. Without it, those whose URLs say `mqtts` or `wss` are, with the defaults of [`TlsOptions`](crate::TlsOptions).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: crate::TlsOptions) -> Self {
        self.transport.tls = Some(tls);
        self
    }

    /// Reaches servers through a proxy, except those behind a Unix socket. Default: none; no environment variable is read.
    #[cfg(feature = "proxy")]
    #[must_use]
    pub fn proxy(mut self, proxy: crate::Proxy) -> Self {
        self.transport.proxy = Some(proxy);
        self
    }

    /// Sets a header of the WebSocket request, and replaces the one that it usually has. Default: Host, Upgrade, Connection,
    /// Origin, Sec-WebSocket-Key, Sec-WebSocket-Version, and Sec-WebSocket-Protocol with `mqtt`.
    ///
    /// Refused when connecting if no server is reached by WebSocket
    /// ([`OptionsError::HeadersWithoutWebSocket`](crate::OptionsError::HeadersWithoutWebSocket)).
    ///
    /// Headers are not shown by `Debug`: a token may stand in one.
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn websocket_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let value = Some(value.into());
        self.transport.headers.set(name.into(), value);
        self
    }

    /// Leaves a header of the WebSocket request out that it usually has. Without Sec-WebSocket-Protocol the server need not
    /// say that it speaks MQTT (MQTT-6.0.0-4), as some old ones do not.
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn without_websocket_header(mut self, name: impl Into<String>) -> Self {
        self.transport.headers.set(name.into(), None);
        self
    }

    /// The local IP address that connections come from. Only server addresses of the same kind (IPv4 or IPv6) are tried
    /// then. Default: the system chooses.
    #[must_use]
    pub const fn bind_address(mut self, address: IpAddr) -> Self {
        self.transport.bind_address = Some(address);
        self
    }

    /// Connects in a way of your own, in place of everything that comes with this crate: TCP, TLS, WebSocket, proxy and
    /// bind address, whose options have no effect then. It is given the [`Server`] to connect to.
    ///
    /// Anything that reads and writes bytes will do; [`Transport`] has an example. In a test it is the broker of the crate
    /// `ferromqtt-testing`, in memory, and all other options stay those of the program:
    ///
    /// ```
    /// use ferromqtt::{Error, Options};
    /// use ferromqtt_testing::TestBroker;
    ///
    /// /// What the program connects with.
    /// fn options() -> Options {
    ///     Options::new("broker.example", 1883).client_identifier("station-7")
    /// }
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let broker = TestBroker::new();
    /// ferromqtt::scope(options().transport(broker.transport()), async |client| {
    ///     client.publish("temperature/outside", "28.4").await?;
    ///     Ok(())
    /// })
    /// .await?;
    /// # Ok::<_, Error>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport.own = Some(Arc::new(transport));
        self.transport.in_memory = false;
        #[cfg(feature = "testing")]
        {
            self.transport.watch = None;
        }
        self
    }
}
