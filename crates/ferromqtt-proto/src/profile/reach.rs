//! How a server of a profile is reached: port, TLS, ALPN and the server's name.

use super::{ProfileConflict, ServerProfile};

/// How a client connects to a server: what a driver compares with a [profile](ServerProfile).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerReach {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Whether MQTT goes over WebSocket.
    pub websocket: bool,
    /// Whether there is no name to ask the server for in TLS: the host is an IP address, and no other name is given.
    pub without_name: bool,
}

impl ServerProfile {
    /// Whether the server needs TLS.
    pub const fn needs_tls(self) -> bool {
        self.row().ports.plain.is_none()
    }

    /// The port that it usually listens on; `None` where there is no usual one.
    pub fn port(self, reach: ServerReach) -> Option<u16> {
        let ports = &self.row().ports;
        let port = match (reach.websocket, reach.tls) {
            (true, true) => ports.secure_websocket,
            (true, false) => None,
            (false, true) => ports.tls,
            (false, false) => ports.plain,
        };
        port.map(|it| it.value)
    }

    /// The protocol that TLS must offer (ALPN) on this port, if any.
    pub fn alpn(self, reach: ServerReach, port: u16) -> Option<&'static str> {
        let alpn = self.row().alpn?.value;
        (reach.tls && !reach.websocket && alpn.port == port).then_some(alpn.protocol)
    }

    /// Whether a server of the profile can be reached like this.
    ///
    /// # Errors
    /// [`ProfileConflict::NeedsTls`] and [`ProfileConflict::NeedsServerName`].
    pub fn check_reach(self, reach: ServerReach) -> Result<(), ProfileConflict> {
        let row = self.row();
        let whose = row.shown;
        if self.needs_tls() && !reach.tls {
            let port = row.ports.tls.map(|it| it.value);
            return Err(ProfileConflict::NeedsTls { port, whose });
        }
        if row.needs_server_name.is_some() && reach.without_name {
            return Err(ProfileConflict::NeedsServerName { whose });
        }
        Ok(())
    }
}
