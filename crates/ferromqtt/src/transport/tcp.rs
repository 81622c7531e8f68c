//! TCP.

use std::io;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::Connect;
use crate::address::Address;

/// How long one of several addresses may take before the next is tried.
const ADDRESS_LIMIT: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(crate) struct Tcp {
    pub(crate) address: Address,
}

impl Connect for Tcp {
    type Stream = TcpStream;

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = (self.first_reachable().await).map_err(|error| {
            io::Error::new(error.kind(), format!("TCP to {}: {error}", self.address))
        })?;
        stream.set_nodelay(true)?; // an acknowledgement must not wait for more bytes to come
        Ok(stream)
    }
}

impl Tcp {
    /// Tries the host's addresses in turn; the last error counts.
    async fn first_reachable(&self) -> io::Result<TcpStream> {
        let Address { host, port } = &self.address;
        let mut addresses = lookup_host((host.as_str(), *port)).await?.peekable();
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        while let Some(address) = addresses.next() {
            let connecting = TcpStream::connect(address);
            let connected = match addresses.peek() {
                Some(_) => timeout(ADDRESS_LIMIT, connecting)
                    .await
                    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
                None => connecting.await, // nothing is left to try: the connect timeout ends it
            };
            match connected {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}
