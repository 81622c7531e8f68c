//! What [`Options`](crate::Options) say about transports.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ferromqtt_proto::{InvalidOptions, ServerProfile, ServerReach};
use ferromqtt_transport::{Endpoint, Host};

#[cfg(feature = "tls")]
use super::tls::Tls;
use super::{AnyTransport, Connector, Network, Opener, Tcp};
use crate::Server;
use crate::options_error::OptionsError;

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) servers: Vec<Server>,
    pub(crate) own: Option<Arc<dyn AnyTransport>>,
    /// Whether `own` leads to the test broker: options of a network are a mistake then.
    pub(crate) in_memory: bool,
    /// What tells that broker of messages to send.
    #[cfg(feature = "testing")]
    pub(crate) watch: Option<ferromqtt_testing::ClientWatch>,
    pub(crate) bind_address: Option<IpAddr>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<super::TlsOptions>,
    #[cfg(feature = "proxy")]
    pub(crate) proxy: Option<super::Proxy>,
    #[cfg(feature = "websocket")]
    pub(crate) headers: super::Headers,
}

impl Settings {
    pub(crate) fn new(server: Server) -> Self {
        Self {
            servers: vec![server],
            own: None,
            in_memory: false,
            #[cfg(feature = "testing")]
            watch: None,
            bind_address: None,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "proxy")]
            proxy: None,
            #[cfg(feature = "websocket")]
            headers: super::Headers::default(),
        }
    }

    /// What opens transports, checked: what TLS needs is read here.
    pub(crate) async fn connector(
        &self,
        profile: Option<ServerProfile>,
    ) -> Result<Connector, OptionsError> {
        if self.in_memory
            && let Some(option) = self.of_networks()
        {
            return Err(OptionsError::InMemory(option));
        }
        let opener = match &self.own {
            Some(own) => Opener::Own(Arc::clone(own)),
            None => Opener::Network(Box::new(self.network(profile).await?)),
        };
        Ok(Connector::new(self.servers.clone(), opener))
    }

    /// An option that was given and shapes a connection over a network, if there is one.
    fn of_networks(&self) -> Option<&'static str> {
        let given = [
            ("bind_address", self.bind_address.is_some()),
            #[cfg(feature = "tls")]
            ("tls", self.tls.is_some()),
            #[cfg(feature = "proxy")]
            ("proxy", self.proxy.is_some()),
            #[cfg(feature = "websocket")]
            ("websocket_header", !self.headers.is_empty()),
        ];
        let first = given.into_iter().find(|(_, given)| *given);
        first.map(|(option, _)| option)
    }

    async fn network(&self, profile: Option<ServerProfile>) -> Result<Network, OptionsError> {
        for server in &self.servers {
            Network::check(server)?;
            if let Some(profile) = profile {
                let conflict = profile.check_reach(self.reach(server)).err();
                conflict.map_or(Ok(()), |it| Err(InvalidOptions::from(it)))?;
            }
            #[cfg(feature = "websocket")]
            if let Endpoint::WebSocket { path, .. } = &server.place {
                self.headers.check(path)?;
            }
        }
        #[cfg(feature = "websocket")]
        if !self.headers.is_empty() && !self.servers.iter().any(Server::is_websocket) {
            return Err(OptionsError::HeadersWithoutWebSocket);
        }
        Ok(Network {
            tcp: Tcp {
                bind: self.bind_address,
            },
            #[cfg(feature = "proxy")]
            proxy: self.proxy.clone(),
            #[cfg(feature = "tls")]
            always_tls: self.tls.is_some(),
            #[cfg(feature = "tls")]
            tls: match &self.tls {
                Some(tls) => Some(Tls::load(self.offering(tls.clone(), profile)).await?),
                None if self.servers.iter().any(Server::is_tls) => {
                    let tls = self.offering(super::TlsOptions::new(), profile);
                    Some(Tls::load(tls).await?)
                }
                None => None,
            },
            #[cfg(feature = "websocket")]
            headers: self.headers.clone(),
        })
    }

    /// How a server is reached, for its profile.
    fn reach(&self, server: &Server) -> ServerReach {
        #[cfg(feature = "tls")]
        let (secures, names) = match &self.tls {
            Some(tls) => (server.host().is_some(), tls.has_server_name()),
            None => (false, false),
        };
        #[cfg(not(feature = "tls"))]
        let (secures, names) = (false, false);
        let host = server.host().and_then(|host| Host::parse(host).ok());
        ServerReach {
            tls: secures || server.is_tls(),
            websocket: matches!(server.place, Endpoint::WebSocket { .. }),
            without_name: !names && host.is_some_and(|host| host.address().is_some()),
        }
    }

    /// TLS that offers the protocol which the profile's servers expect on their ports.
    #[cfg(feature = "tls")]
    fn offering(
        &self,
        tls: super::TlsOptions,
        profile: Option<ServerProfile>,
    ) -> super::TlsOptions {
        let offered = self.servers.iter().find_map(|server| {
            let reach = self.reach(server);
            profile?.alpn(reach, server.port()?)
        });
        match offered {
            Some(protocol) => tls.offering(protocol),
            None => tls,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Settings");
        shown
            .field("servers", &self.servers)
            .field("own", &self.own.is_some())
            .field("bind_address", &self.bind_address);
        #[cfg(feature = "tls")]
        shown.field("tls", &self.tls);
        #[cfg(feature = "proxy")]
        shown.field("proxy", &self.proxy);
        shown.finish_non_exhaustive() // headers may hold tokens
    }
}
