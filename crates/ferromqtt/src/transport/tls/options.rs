//! The options of TLS.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio_rustls::rustls::ClientConfig;

use super::pem::PemSource;

/// How to speak TLS.
///
/// The defaults: TLS 1.2 and 1.3; a server is trusted when its certificate names the host connected to and was issued by
/// one of the authorities that the operating system trusts; no client certificate; no ALPN.
///
/// All is read when the connection is opened, off the runtime's async threads: what is wrong with it fails before anything
/// is tried. Files are read again for each later attempt to connect, so that a certificate that was renewed on disk is the one
/// of the next reconnection; write the new file beside the old one and rename it. A file that is missing or of no use by then
/// fails that attempt, and reconnecting goes on. While nothing has changed, sessions of TLS are resumed. What the operating
/// system trusts is read once: it may take long.
///
/// `Debug` never shows a key.
///
/// ```
/// use ferromqtt::{Options, TlsOptions};
///
/// let tls = TlsOptions::new()
///     .ca_file("ca.pem")
///     .client_certificate_files("station.pem", "station.key");
/// let options = Options::from_url("mqtts://broker.example")?.tls(tls);
/// # Ok::<_, ferromqtt::AddressError>(())
/// ```
#[derive(Clone, Default)]
pub struct TlsOptions {
    pub(super) authorities: Vec<PemSource>,
    /// Certificate chain and private key.
    pub(super) client: Option<(PemSource, PemSource)>,
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) server_name: Option<String>,
    pub(super) verification: Verification,
    pub(super) config: Option<Arc<ClientConfig>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Verification {
    #[default]
    Full,
    AnyName,
    Nothing,
}

impl TlsOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A whole configuration of rustls. Beside it only [`server_name`](Self::server_name) counts: everything else is to be
    /// set there. [`rustls`](crate::rustls) is the version of it that this crate uses.
    #[must_use]
    pub fn from_config(config: impl Into<Arc<ClientConfig>>) -> Self {
        Self {
            config: Some(config.into()),
            ..Self::default()
        }
    }

    /// Trusts the authorities with these certificates, one or several in PEM form, **instead of** those that the operating
    /// system trusts. Calls add up.
    #[must_use]
    pub fn ca_pem(mut self, certificates: impl Into<Bytes>) -> Self {
        self.authorities.push(PemSource::Bytes(certificates.into()));
        self
    }

    /// As [`ca_pem`](Self::ca_pem), from a file.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.authorities.push(PemSource::File(path.into()));
        self
    }

    /// Shows the server a certificate, if it asks for one: the chain in PEM form, the client's own certificate first, and
    /// its private key (PKCS #8, PKCS #1 or SEC 1, not encrypted).
    #[must_use]
    pub fn client_certificate_pem(
        mut self,
        chain: impl Into<Bytes>,
        key: impl Into<Bytes>,
    ) -> Self {
        self.client = Some((PemSource::Bytes(chain.into()), PemSource::Bytes(key.into())));
        self
    }

    /// As [`client_certificate_pem`](Self::client_certificate_pem), from two files. They may be the same.
    #[must_use]
    pub fn client_certificate_files(
        mut self,
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.client = Some((PemSource::File(chain.into()), PemSource::File(key.into())));
        self
    }

    /// Offers these protocols (ALPN, RFC 7301), the preferred one first. Some clouds take MQTT on port 443 by the name
    /// `x-amzn-mqtt-ca` or `mqtt`.
    #[must_use]
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// The name to ask for (SNI) and to find in the certificate, when it is not that of the host connected to: behind a
    /// tunnel, or for a server that is reached by its IP address. A name may have letters beyond ASCII with the feature
    /// `idna`; an IP address is looked for in the certificate and not asked for.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// **Dangerous.** Accepts a certificate of a trusted authority whoever it was issued to: everyone who has one, for any
    /// host at all, can pretend to be the server, and read and change all messages. When the certificate just names another
    /// host, use [`server_name`](Self::server_name), which stays secure.
    ///
    /// Each connection that is made so is logged to `tracing` as a warning.
    #[must_use]
    pub const fn danger_accept_certificates_for_any_host_name(mut self) -> Self {
        self.verification = Verification::AnyName;
        self
    }

    /// **Dangerous.** Accepts any certificate at all, expired, self-signed or made a minute ago by an attacker: whoever is
    /// on the way to the server can pretend to be it, take the password, and read and change all messages. For a server
    /// with a certificate of its own making, give that with [`ca_pem`](Self::ca_pem), which stays secure.
    ///
    /// Each connection that is made so is logged to `tracing` as a warning.
    #[must_use]
    pub const fn danger_accept_any_certificate_from_anyone(mut self) -> Self {
        self.verification = Verification::Nothing;
        self
    }

    /// Whether anything may have changed since it was read.
    pub(super) fn has_files(&self) -> bool {
        let client = (self.client.iter()).flat_map(|(chain, key)| [chain, key]);
        self.config.is_none() && (self.authorities.iter().chain(client)).any(PemSource::is_file)
    }

    /// The same, offering this protocol (ALPN) where the caller has said nothing of that.
    pub(crate) fn offering(mut self, protocol: &str) -> Self {
        if self.alpn.is_empty() {
            self.alpn = vec![protocol.into()];
        }
        self
    }

    pub(crate) const fn has_server_name(&self) -> bool {
        self.server_name.is_some()
    }

    /// Whether the operating system says who is trusted.
    pub(super) fn trusts_system(&self) -> bool {
        self.authorities.is_empty() && self.verification != Verification::Nothing
    }

    /// What is not verified, for the log.
    pub(super) const fn danger(&self) -> Option<&'static str> {
        match self.verification {
            _ if self.config.is_some() => None, // it is the caller's
            Verification::Full => None,
            Verification::AnyName => Some("the server's name is not verified"),
            Verification::Nothing => Some("the server's certificate is not verified"),
        }
    }
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field("authorities", &self.authorities)
            .field("client", &self.client)
            .field("alpn", &self.alpn)
            .field("server_name", &self.server_name)
            .field("verification", &self.verification)
            .field("config", &self.config.as_ref().map(|_| "given"))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options_error::TlsError;
    use crate::transport::tls::Tls;

    #[test]
    fn debug_shows_where_a_key_comes_from_and_never_the_key() {
        let given = TlsOptions::new().client_certificate_pem("chain", "geheim");
        assert!(!format!("{given:?}").contains("geheim"));
        let bytes = format!("{:?}", "geheim".as_bytes());
        assert!(!format!("{given:?}").contains(&bytes));
        let files = TlsOptions::new().client_certificate_files("own.pem", "own.key");
        assert!(format!("{files:?}").contains("own.key"));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_named() {
        let error = |tls: TlsOptions| async move { Tls::load(tls).await.err().unwrap() };
        let missing = error(TlsOptions::new().ca_file("no such file")).await;
        assert!(matches!(missing, TlsError::File { .. }), "{missing:?}");
        assert!(missing.to_string().contains("no such file"), "{missing}");
        let other = error(TlsOptions::new().ca_pem("not PEM at all")).await;
        assert!(matches!(other, TlsError::NotPem { .. }), "{other:?}");
        let broken = "-----BEGIN CERTIFICATE-----\nMAo=\n-----END CERTIFICATE-----\n";
        let broken = error(TlsOptions::new().ca_pem(broken)).await;
        assert!(matches!(broken, TlsError::Refused(_)), "{broken:?}");
        let name = error(TlsOptions::new().server_name("a b")).await;
        assert_eq!(name, TlsError::ServerName("a b".into()));
    }

    #[tokio::test]
    async fn a_broken_key_is_not_quoted() {
        let key = "-----BEGIN PRIVATE KEY-----\n-----BEGIN geheim\n";
        let own = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let tls = TlsOptions::new()
            .ca_pem(own.cert.pem())
            .client_certificate_pem(own.cert.pem(), key);
        let error = Tls::load(tls).await.err().unwrap();
        assert!(matches!(error, TlsError::NotPem { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("geheim"));
    }

    #[tokio::test]
    async fn a_key_of_another_certificate_is_refused() {
        let [own, other] =
            ["a", "b"].map(|name| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap());
        let tls = TlsOptions::new()
            .ca_pem(own.cert.pem())
            .client_certificate_pem(own.cert.pem(), other.signing_key.serialize_pem());
        let error = Tls::load(tls).await.err().unwrap();
        assert!(error.to_string().contains("does not belong"), "{error}");
    }
}
