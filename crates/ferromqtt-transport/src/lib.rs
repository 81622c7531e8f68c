//! What lies between a socket and MQTT, for clients, and for test brokers where that is more than TCP: [URLs](url), [hosts](host), [WebSocket](websocket), [proxies](proxy),
//! the [order of a host's addresses](addresses), and the texts of [attempts that failed](attempt).
//!
//! Everything here is sans-IO, as the core is. A type is given the bytes that came from the socket, and asked for those
//! that are to be written; it takes the time as an argument. So the same code serves tokio and asyncio, and tests play
//! any exchange without a network. It opens no socket, starts no task, and has neither clock nor time limit: an exchange
//! that hangs is ended by the driver. Random numbers (WebSocket demands keys and masks that nobody can guess) are the
//! thread's generator's, and decide nothing.
//!
//! Each module begins with an example.

pub mod addresses;
pub mod attempt;
pub mod host;
#[cfg_attr(
    not(feature = "websocket"),
    allow(dead_code, reason = "only WebSocket reads headers")
)]
mod http;
mod http_connect;
pub mod proxy;
mod socks;
pub mod url;
#[cfg(feature = "websocket")]
pub mod websocket;

pub use addresses::{Next, Race};
pub use attempt::{AttemptPhase, Failure, Hint, authority};
pub use host::{Host, HostError};
pub use proxy::{
    Destination, ProxyCredentials, ProxyError, ProxyHandshake, ProxyKind, ProxyProgress,
};
pub use url::{ClientQuery, Endpoint, EndpointError, ProxyUrl, QueryProtocol, ServerUrl, UrlError};
#[cfg(feature = "websocket")]
pub use websocket::{
    CloseReason, WebSocket, WebSocketError, WebSocketRequest, WebSocketServer, default_headers,
};
