//! Certificates in files, and what becomes of connections when those change.

use std::path::PathBuf;
use std::time::Duration;

use ferromqtt::rustls::HandshakeKind;
use ferromqtt::{
    Client, Connection, ConnectionError, ConnectionEvent, Events, Options, QoS, Reconnect,
    TlsOptions, TransportError,
};
use ferromqtt_testing::TestBroker;

use crate::cable::Cable;
use crate::certificates::{Authority, Identity};
use crate::tls_front::{Demands, TlsFront};
use crate::{in_time, listening};

const HOST: &str = "127.0.0.1";

/// A certificate and its key, as `own.pem` and `own.key` in a folder that goes with the test.
pub(crate) struct Files(PathBuf);

impl Files {
    /// Each test has a name of its own.
    pub(crate) fn new(test: &str, own: &Identity) -> Self {
        let name = format!("ferromqtt-tls-{test}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let files = Self(folder);
        files.replace(own);
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn replace(&self, own: &Identity) {
        self.write("own.pem", &own.chain);
        self.write("own.key", &own.key);
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.path(name)).unwrap();
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn demanding(client_authority: &Authority) -> Demands<'_> {
    Demands {
        client_authority: Some(client_authority),
        ..Demands::default()
    }
}

fn options(cable: &Cable, tls: TlsOptions) -> Options {
    let reconnect = Reconnect {
        initial_delay: Duration::from_millis(4),
        max_delay: Duration::from_millis(50),
        ..Reconnect::default()
    };
    Options::new(HOST, cable.port())
        .tls(tls)
        .reconnect(reconnect)
}

/// A client that reconnects to a server behind TLS.
struct Scene {
    broker: TestBroker,
    front: TlsFront,
    cable: Cable,
    connection: Connection,
    client: Client,
    events: Events,
}

impl Scene {
    /// Returns when the client is connected.
    async fn new(server: &Identity, demands: Demands<'_>, tls: TlsOptions) -> Self {
        let broker = listening().await;
        let address = (broker.host(), broker.port()).into();
        let front = TlsFront::demanding(address, server, demands).await;
        let cable = Cable::to(front.address()).await;
        let connection = Connection::open(options(&cable, tls)).await.unwrap();
        let client = connection.client();
        let events = client.events();
        let mut scene = Self {
            broker,
            front,
            cable,
            connection,
            client,
            events,
        };
        scene.connected().await;
        scene
    }

    /// The server wants a certificate of `clients`, and the client has the one in `files`.
    async fn mutual(
        servers: &Authority,
        server: &Identity,
        clients: &Authority,
        files: &Files,
    ) -> Self {
        let tls = TlsOptions::new()
            .ca_pem(servers.pem())
            .client_certificate_files(files.path("own.pem"), files.path("own.key"));
        Self::new(server, demanding(clients), tls).await
    }

    /// Waits until there is a connection again.
    async fn connected(&mut self) {
        loop {
            if let ConnectionEvent::Connected { .. } = self.events.next().await.unwrap() {
                return;
            }
        }
    }

    /// Waits for an attempt that fails for this reason, and after which there is another one.
    async fn fails(&mut self, part: &str) -> TransportError {
        loop {
            let event = self.events.next().await.unwrap();
            if let ConnectionEvent::Disconnected {
                cause: ConnectionError::Transport(cause),
                retry_at: Some(_),
                ..
            } = event
                && cause.to_string().contains(part)
            {
                return cause;
            }
        }
    }

    /// What errors of its server begin with.
    fn place(&self) -> String {
        format!("mqtts://{HOST}:{}: ", self.cable.port())
    }

    async fn works(&self) {
        let publish = self.client.publish("t", "x").qos(QoS::AtLeastOnce);
        publish.await.unwrap();
    }

    async fn end(self) -> Result<(), ConnectionError> {
        let ended = self.connection.disconnect().await;
        self.broker.stop().await;
        ended
    }
}

#[tokio::test]
async fn a_client_certificate_that_is_renewed_on_disk_is_the_one_of_the_next_connection() {
    in_time(async {
        let [servers, old, new] = ["servers", "old", "new"].map(Authority::new);
        let files = Files::new("renewed", &old.issue("station-7"));
        let server = servers.issue(HOST);
        let mut scene = Scene::mutual(&servers, &server, &old, &files).await;

        scene.front.change(&server, demanding(&new));
        scene.cable.cut();
        let refused = scene
            .fails("does not accept the client's certificate")
            .await;
        assert!(
            matches!(refused, TransportError::Certificate(_)),
            "{refused:?}"
        );
        assert!(refused.to_string().starts_with(&scene.place()), "{refused}");

        files.replace(&new.issue("station-7"));
        scene.connected().await;
        scene.works().await;
        scene.end().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_authority_that_is_replaced_on_disk_is_trusted_from_the_next_connection_on() {
    in_time(async {
        let [old, new] = ["old", "new"].map(Authority::new);
        let files = Files::new("authority", &old.issue("unused"));
        files.write("ca.pem", &old.pem());
        let tls = TlsOptions::new().ca_file(files.path("ca.pem"));
        let mut scene = Scene::new(&old.issue(HOST), Demands::default(), tls).await;

        scene.front.change(&new.issue(HOST), Demands::default());
        scene.cable.cut();
        scene.fails("its issuer is not trusted").await;
        files.write("ca.pem", &new.pem());
        scene.connected().await;
        scene.works().await;

        // And no longer the old one.
        scene.front.change(&old.issue(HOST), Demands::default());
        scene.cable.cut();
        scene.fails("its issuer is not trusted").await;
        scene.end().await.unwrap_err(); // there is no connection to say it over
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_of_no_use_later_fails_that_attempt_and_no_other() {
    in_time(async {
        let [servers, clients] = ["servers", "clients"].map(Authority::new);
        let [own, other] = ["station-7", "station-8"].map(|name| clients.issue(name));
        let files = Files::new("later", &own);
        let server = servers.issue(HOST);
        let mut scene = Scene::mutual(&servers, &server, &clients, &files).await;

        let key = files.path("own.key").display().to_string();
        files.remove("own.key");
        scene.cable.cut();
        let missing = scene.fails("cannot read the client's private key").await;
        assert!(missing.to_string().starts_with(&scene.place()), "{missing}");
        assert!(missing.to_string().contains(&key), "{missing}");
        files.write("own.key", "half a fi");
        let broken = scene.fails("is not in PEM form").await;
        assert!(broken.to_string().contains(&key), "{broken}");
        files.write("own.key", &other.key);
        let wrong = scene.fails("does not belong to").await;
        assert!(wrong.to_string().contains(&key), "{wrong}");
        files.write("own.key", &own.key);
        scene.connected().await;
        scene.works().await;
        scene.end().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn sessions_of_tls_are_resumed_while_files_stay_as_they_are() {
    in_time(async {
        let [servers, clients] = ["servers", "clients"].map(Authority::new);
        let own = clients.issue("station-7");
        let files = Files::new("resumed", &own);
        let server = servers.issue(HOST);
        let mut scene = Scene::mutual(&servers, &server, &clients, &files).await;

        scene.cable.cut();
        scene.connected().await;
        files.replace(&own); // written again, with what was there
        scene.cable.cut();
        scene.connected().await;
        files.replace(&clients.issue("station-7"));
        scene.cable.cut();
        scene.connected().await;
        let (full, resumed) = (HandshakeKind::Full, HandshakeKind::Resumed);
        assert_eq!(scene.front.handshakes(), [full, resumed, resumed, full]);
        scene.end().await.unwrap();
    })
    .await;
}
