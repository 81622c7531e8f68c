//! TLS: who is trusted, and what is told when it fails.

use std::time::Duration;

use ferromqtt::rustls::version::{TLS12, TLS13};
use ferromqtt::{
    ConnectError, Connection, ConnectionError, Options, OptionsError, QoS, Reconnect, TlsError,
    TlsOptions, TransportError,
};
use ferromqtt_testing::TestBroker;
use tokio::net::TcpListener;

use crate::cable::Cable;
use crate::certificate_files::Files;
use crate::certificates::Authority;
use crate::tls_front::{Demands, TlsFront};
use crate::{in_time, listening};

const HOST: &str = "127.0.0.1";

fn address(broker: &TestBroker) -> std::net::SocketAddr {
    (broker.host(), broker.port()).into()
}

fn trusting(authority: &Authority) -> TlsOptions {
    TlsOptions::new().ca_pem(authority.pem())
}

fn options(port: u16, tls: TlsOptions) -> Options {
    Options::new(HOST, port).tls(tls)
}

/// A message there and back.
async fn works(options: Options) {
    let connection = Connection::open(options).await.unwrap();
    let client = connection.client();
    let mut messages = client.subscribe("t").qos(QoS::AtLeastOnce).await.unwrap();
    let payload = vec![7; 300_000];
    let publish = client.publish("t", payload.clone()).qos(QoS::AtLeastOnce);
    publish.await.unwrap();
    assert_eq!(messages.next().await.unwrap().payload, payload);
    connection.disconnect().await.unwrap();
}

/// The text of a certificate error.
async fn certificate_error(options: Options) -> String {
    match Connection::open(options.reconnect(None)).await {
        Err(ConnectError::Connection {
            cause: ConnectionError::Transport(TransportError::Certificate(text)),
            ..
        }) => text.to_string(),
        other => panic!("a certificate error expected, not {other:?}"),
    }
}

fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} in: {text}");
    }
}

#[tokio::test]
async fn messages_go_both_ways_over_both_versions_of_tls() {
    in_time(async {
        let broker = listening().await;
        let authority = Authority::new("ours");
        for version in [&TLS12, &TLS13] {
            let demands = Demands {
                versions: &[version],
                ..Demands::default()
            };
            let identity = authority.issue(HOST);
            let front = TlsFront::demanding(address(&broker), &identity, demands).await;
            works(options(front.port(), trusting(&authority))).await;
        }
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_url_alone_asks_for_tls() {
    in_time(async {
        let broker = listening().await;
        let authority = Authority::new("ours");
        let front = TlsFront::to(address(&broker), &authority.issue(HOST)).await;
        let url = format!("mqtts://{HOST}:{}", front.port());
        works(Options::from_url(&url).unwrap().tls(trusting(&authority))).await;
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_is_not_trusted() {
    in_time(async {
        let broker = listening().await;
        let (ours, other) = (Authority::new("ours"), Authority::new("other"));
        let front = TlsFront::to(address(&broker), &other.issue(HOST)).await;
        let text = certificate_error(options(front.port(), trusting(&ours))).await;
        let port = front.port().to_string();
        assert_says(
            &text,
            &["issuer", "TlsOptions::ca_file", "mqtts://127.0.0.1:", &port],
        );
        // Several authorities may be given, in one text or in several.
        let both = format!("{}\n{}", ours.pem(), other.pem());
        works(options(front.port(), TlsOptions::new().ca_pem(both))).await;
        works(options(front.port(), trusting(&ours).ca_pem(other.pem()))).await;
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_certificate_for_another_host_is_not_accepted() {
    in_time(async {
        let broker = listening().await;
        let authority = Authority::new("ours");
        let front = TlsFront::to(address(&broker), &authority.issue("other.example")).await;
        let text = certificate_error(options(front.port(), trusting(&authority))).await;
        assert_says(
            &text,
            &["127.0.0.1", "other.example", "TlsOptions::server_name"],
        );
        let named = trusting(&authority).server_name("other.example");
        works(options(front.port(), named)).await;
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_expired_certificate_is_not_accepted() {
    in_time(async {
        let broker = listening().await;
        let authority = Authority::new("ours");
        let front = TlsFront::to(address(&broker), &authority.issue_expired(HOST)).await;
        let text = certificate_error(options(front.port(), trusting(&authority))).await;
        assert_says(&text, &["expired", "clock"]);
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_wants_a_client_certificate_gets_one_from_memory_or_from_files() {
    in_time(async {
        let broker = listening().await;
        let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
        let own = clients.issue("station-7");
        let stranger = servers.issue("station-8");
        let files = Files::new("own", &own);
        for version in [&TLS12, &TLS13] {
            let demands = Demands {
                versions: &[version],
                client_authority: Some(&clients),
                ..Demands::default()
            };
            let front = TlsFront::demanding(address(&broker), &servers.issue(HOST), demands).await;
            let tls = trusting(&servers);
            let place = format!("mqtts://127.0.0.1:{}: ", front.port());
            let advice = "TlsOptions::client_certificate_files";
            let without = certificate_error(options(front.port(), tls.clone())).await;
            assert_says(
                &without,
                &[&place, "the server ", "client", "certificate", advice],
            );
            assert!(without.starts_with(&place), "{without}");
            let wrong = tls
                .clone()
                .client_certificate_pem(stranger.chain.clone(), stranger.key.clone());
            let wrong = certificate_error(options(front.port(), wrong)).await;
            let problem = "does not accept the client's certificate";
            assert_says(&wrong, &[problem, "UnknownCA", advice]);
            assert!(wrong.starts_with(&place), "{wrong}");
            let bytes = tls
                .clone()
                .client_certificate_pem(own.chain.clone(), own.key.clone());
            works(options(front.port(), bytes)).await;
            let read = tls.client_certificate_files(files.path("own.pem"), files.path("own.key"));
            works(options(front.port(), read)).await;
        }
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn wrong_tls_options_fail_before_anything_is_tried() {
    in_time(async {
        let listener = TcpListener::bind((HOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let missing = TlsOptions::new().ca_file("/no/such/ca.pem");
        let error = Connection::open(options(port, missing)).await.unwrap_err();
        assert!(
            matches!(
                error,
                ConnectError::Options(OptionsError::Tls(TlsError::File { .. }))
            ),
            "{error:?}"
        );
        assert_says(&error.to_string(), &["/no/such/ca.pem", "No such file"]);
        tokio::select! {
            biased;
            _ = listener.accept() => panic!("a connection was made"),
            () = std::future::ready(()) => {}
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_told_from_one_that_does() {
    in_time(async {
        let listener = TcpListener::bind((HOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let authority = Authority::new("ours");
        let opening = Connection::open(options(port, trusting(&authority)).reconnect(None));
        let (result, ()) = tokio::join!(opening, async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = [0; 64];
            tokio::io::AsyncReadExt::read(&mut stream, &mut hello)
                .await
                .unwrap();
            let greeting = b"220 mail.example ESMTP\r\n";
            tokio::io::AsyncWriteExt::write_all(&mut stream, greeting)
                .await
                .unwrap();
            tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut Vec::new())
                .await
                .unwrap();
        });
        let text = result.unwrap_err().to_string();
        assert_says(
            &text,
            &[
                "the server's answer is not TLS (does the port speak TLS? 8883",
                HOST,
            ],
        );
    })
    .await;
}

#[tokio::test]
async fn a_broker_without_tls_that_hangs_up_is_suspected_of_that() {
    in_time(async {
        let broker = listening().await;
        let authority = Authority::new("ours");
        let plain = options(broker.port(), trusting(&authority)).reconnect(None);
        let text = Connection::open(plain).await.unwrap_err().to_string();
        assert_says(
            &text,
            &["TLS handshake: the server ended the connection (does the port speak TLS?"],
        );
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn the_protocol_agreed_on_is_one_that_both_know() {
    in_time(async {
        let broker = listening().await;
        let authority = Authority::new("ours");
        let demands = Demands {
            alpn: &["mqtt"],
            ..Demands::default()
        };
        let front = TlsFront::demanding(address(&broker), &authority.issue(HOST), demands).await;
        works(options(
            front.port(),
            trusting(&authority).alpn(["x", "mqtt"]),
        ))
        .await;
        let other = options(front.port(), trusting(&authority).alpn(["x"])).reconnect(None);
        let text = Connection::open(other).await.unwrap_err().to_string();
        assert_says(&text, &["TlsOptions::alpn"]);
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn danger_accepts_what_its_name_says_and_no_more() {
    in_time(async {
        let broker = listening().await;
        let (ours, other) = (Authority::new("ours"), Authority::new("other"));
        let expired = TlsFront::to(address(&broker), &other.issue_expired("x.example")).await;
        let anyone = TlsOptions::new().danger_accept_any_certificate_from_anyone();
        works(options(expired.port(), anyone)).await;

        let any_name = trusting(&ours).danger_accept_certificates_for_any_host_name();
        let misnamed = TlsFront::to(address(&broker), &ours.issue("x.example")).await;
        works(options(misnamed.port(), any_name.clone())).await;
        let foreign = TlsFront::to(address(&broker), &other.issue("x.example")).await;
        let text = certificate_error(options(foreign.port(), any_name.clone())).await;
        assert_says(&text, &["issuer"]);
        let late = TlsFront::to(address(&broker), &ours.issue_expired("x.example")).await;
        let text = certificate_error(options(late.port(), any_name)).await;
        assert_says(&text, &["expired"]);
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_whole_configuration_of_rustls_can_be_given() {
    in_time(async {
        use ferromqtt::rustls::pki_types::{CertificateDer, pem::PemObject};
        use ferromqtt::rustls::{ClientConfig, RootCertStore, crypto::ring};

        let broker = listening().await;
        let authority = Authority::new("ours");
        let front = TlsFront::to(address(&broker), &authority.issue(HOST)).await;
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(authority.pem().as_bytes());
        roots.add(certificate.unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        works(options(front.port(), TlsOptions::from_config(config))).await;
        broker.stop().await;
    })
    .await;
}

/// What was unacknowledged is resent, as without TLS.
#[tokio::test]
async fn nothing_is_lost_when_tls_is_cut_in_the_middle() {
    in_time(async {
        let broker = listening().await;
        let authority = Authority::new("ours");
        let front = TlsFront::to(address(&broker), &authority.issue(HOST)).await;
        let cable = Cable::to(front.address()).await;
        let reconnect = Reconnect {
            initial_delay: Duration::from_millis(4),
            ..Reconnect::default()
        };
        let options = options(cable.port(), trusting(&authority)).reconnect(reconnect);
        let connection = Connection::open(options).await.unwrap();
        let client = connection.client();
        let mut messages = client.subscribe("t").qos(QoS::ExactlyOnce).await.unwrap();
        for number in 0..60_u32 {
            let payload = number.to_be_bytes().repeat(2_000);
            let publish = client.publish("t", payload.clone()).qos(QoS::ExactlyOnce);
            let publish = publish.enqueue().await.unwrap();
            if number % 20 == 10 {
                cable.cut();
            }
            publish.await.unwrap();
            assert_eq!(messages.next().await.unwrap().payload, payload);
        }
        assert!(client.stats().connections > 2);
        connection.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}
