//! Certificates in files, and what becomes of connections when those change.

use std::path::PathBuf;
use std::time::Duration;

use ferromqtt::rustls::HandshakeKind;
use ferromqtt::{
    Client, Connection, ConnectionError, ConnectionEvent, Events, Options, QoS, Reconnect,
    TlsOptions, TransportError,
};

use crate::cable::Cable;
use crate::certificates::{Authority, Identity};
use crate::tls_front::{Demands, TlsFront};
use crate::{broker, in_time};

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

/// Waits until there is a connection again.
async fn connected(events: &mut Events) {
    loop {
        if let ConnectionEvent::Connected { .. } = events.next().await.unwrap() {
            return;
        }
    }
}

/// Waits for an attempt that fails for this reason, and after which there is another one.
async fn fails(events: &mut Events, part: &str) -> TransportError {
    loop {
        let event = events.next().await.unwrap();
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

async fn works(client: &Client) {
    let publish = client.publish("t", "x").qos(QoS::AtLeastOnce);
    publish.await.unwrap();
}

#[tokio::test]
async fn a_client_certificate_that_is_renewed_on_disk_is_the_one_of_the_next_connection() {
    in_time(async {
        let broker = broker().await;
        let (servers, old, new) = (
            Authority::new("servers"),
            Authority::new("old"),
            Authority::new("new"),
        );
        let files = Files::new("renewed", &old.issue("station-7"));
        let server = servers.issue(HOST);
        let address = (broker.host(), broker.port()).into();
        let front = TlsFront::demanding(address, &server, demanding(&old)).await;
        let cable = Cable::to(front.address()).await;
        let tls = TlsOptions::new()
            .ca_pem(servers.pem())
            .client_certificate_files(files.path("own.pem"), files.path("own.key"));
        let connection = Connection::open(options(&cable, tls)).await.unwrap();
        let client = connection.client();
        let mut events = client.events();
        connected(&mut events).await;

        front.change(&server, demanding(&new));
        cable.cut();
        let refused = fails(&mut events, "does not accept the client's certificate").await;
        assert!(
            matches!(refused, TransportError::Certificate(_)),
            "{refused:?}"
        );
        let place = format!("mqtts://{HOST}:{}: ", cable.port());
        assert!(refused.to_string().starts_with(&place), "{refused}");

        files.replace(&new.issue("station-7"));
        connected(&mut events).await;
        works(&client).await;
        connection.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_authority_that_is_replaced_on_disk_is_trusted_from_the_next_connection_on() {
    in_time(async {
        let broker = broker().await;
        let (old, new) = (Authority::new("old"), Authority::new("new"));
        let files = Files::new("authority", &old.issue("unused"));
        files.write("ca.pem", &old.pem());
        let address = (broker.host(), broker.port()).into();
        let front = TlsFront::to(address, &old.issue(HOST)).await;
        let cable = Cable::to(front.address()).await;
        let tls = TlsOptions::new().ca_file(files.path("ca.pem"));
        let connection = Connection::open(options(&cable, tls)).await.unwrap();
        let client = connection.client();
        let mut events = client.events();
        connected(&mut events).await;

        front.change(&new.issue(HOST), Demands::default());
        cable.cut();
        fails(&mut events, "its issuer is not trusted").await;
        files.write("ca.pem", &new.pem());
        connected(&mut events).await;
        works(&client).await;

        // And no longer the old one.
        front.change(&old.issue(HOST), Demands::default());
        cable.cut();
        fails(&mut events, "its issuer is not trusted").await;
        connection.disconnect().await.unwrap_err(); // there is no connection to say it over
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_of_no_use_later_fails_that_attempt_and_no_other() {
    in_time(async {
        let broker = broker().await;
        let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
        let [own, other] = ["station-7", "station-8"].map(|name| clients.issue(name));
        let files = Files::new("later", &own);
        let address = (broker.host(), broker.port()).into();
        let front = TlsFront::demanding(address, &servers.issue(HOST), demanding(&clients)).await;
        let cable = Cable::to(front.address()).await;
        let tls = TlsOptions::new()
            .ca_pem(servers.pem())
            .client_certificate_files(files.path("own.pem"), files.path("own.key"));
        let connection = Connection::open(options(&cable, tls)).await.unwrap();
        let client = connection.client();
        let mut events = client.events();
        connected(&mut events).await;

        let place = format!("mqtts://{HOST}:{}: ", cable.port());
        let key = files.path("own.key").display().to_string();
        files.remove("own.key");
        cable.cut();
        let missing = fails(&mut events, "cannot read the client's private key").await;
        assert!(missing.to_string().starts_with(&place), "{missing}");
        assert!(missing.to_string().contains(&key), "{missing}");
        files.write("own.key", "half a fi");
        let broken = fails(&mut events, "is not in PEM form").await;
        assert!(broken.to_string().contains(&key), "{broken}");
        files.write("own.key", &other.key);
        let wrong = fails(&mut events, "does not belong to").await;
        assert!(wrong.to_string().contains(&key), "{wrong}");
        files.write("own.key", &own.key);
        connected(&mut events).await;
        works(&client).await;
        connection.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn sessions_of_tls_are_resumed_while_files_stay_as_they_are() {
    in_time(async {
        let broker = broker().await;
        let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
        let own = clients.issue("station-7");
        let files = Files::new("resumed", &own);
        let address = (broker.host(), broker.port()).into();
        let front = TlsFront::demanding(address, &servers.issue(HOST), demanding(&clients)).await;
        let cable = Cable::to(front.address()).await;
        let tls = TlsOptions::new()
            .ca_pem(servers.pem())
            .client_certificate_files(files.path("own.pem"), files.path("own.key"));
        let connection = Connection::open(options(&cable, tls)).await.unwrap();
        let client = connection.client();
        let mut events = client.events();
        connected(&mut events).await;

        cable.cut();
        connected(&mut events).await;
        files.replace(&own); // written again, with what was there
        cable.cut();
        connected(&mut events).await;
        files.replace(&clients.issue("station-7"));
        cable.cut();
        connected(&mut events).await;
        let (full, resumed) = (HandshakeKind::Full, HandshakeKind::Resumed);
        assert_eq!(front.handshakes(), [full, resumed, resumed, full]);
        connection.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}
