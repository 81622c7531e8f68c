//! A transport of your own: anything that reads and writes bytes. Here a tunnel to servers by names of one's own.
//!
//! It prints:
//!
//! ```text
//! the client asks for: mqtt://station-7.plant:1883
//! published through the tunnel
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;

use ferromqtt::{Client, Error, Options, QoS, Server, Transport};
use ferromqtt_testing::TestBroker;
use tokio::net::{TcpSocket, TcpStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    let tunnel = Tunnel(SocketAddr::new(broker.host(), broker.port()));
    let options = Options::new("station-7.plant", 1883).transport(tunnel);
    ferromqtt::scope(options, program).await?;
    println!("published through the tunnel");
    broker.stop().await;
    Ok(())
}

/// Where the other end of the tunnel is. For something this small a closure would do too.
struct Tunnel(SocketAddr);

impl Transport for Tunnel {
    type Stream = TcpStream;

    /// Called again for each connection.
    async fn connect(&self, server: Server) -> io::Result<TcpStream> {
        println!("the client asks for: {server}");
        let socket = TcpSocket::new_v4()?;
        socket.set_send_buffer_size(64 * 1024)?; // whatever your sockets need
        socket.connect(self.0).await
    }
}

async fn program(client: Client) -> Result<(), Error> {
    let message = client.publish("temperature/outside", "28.4");
    message.qos(QoS::AtLeastOnce).await?;
    Ok(())
}
