//! What TLS is told, and the certificates that are read for it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::spawn_blocking;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::Tls;
use super::verify::{AnyCertificate, AnyName};
use crate::error::TlsError;

/// How to speak TLS.
///
/// The defaults: TLS 1.2 and 1.3; a server is trusted when its certificate names the host connected to and was issued by
/// one of the authorities that the operating system trusts; no client certificate; no ALPN.
///
/// Certificates, keys and their files are read once, off the runtime's async threads, when the connection is opened: what
/// is wrong with them fails before anything is tried. `Debug` never shows a key.
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
    authorities: Vec<Pem>,
    client: Option<(Pem, Pem)>,
    alpn: Vec<Vec<u8>>,
    server_name: Option<String>,
    verification: Verification,
    config: Option<Arc<ClientConfig>>,
}

/// Something in PEM form.
#[derive(Clone)]
enum Pem {
    Bytes(Bytes),
    File(PathBuf),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Verification {
    #[default]
    Full,
    AnyName,
    Nothing,
}

impl Verification {
    /// For the log.
    const fn danger(self) -> Option<&'static str> {
        match self {
            Self::Full => None,
            Self::AnyName => Some("the server's name is not verified"),
            Self::Nothing => Some("the server's certificate is not verified"),
        }
    }
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
        self.authorities.push(Pem::Bytes(certificates.into()));
        self
    }

    /// As [`ca_pem`](Self::ca_pem), from a file.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.authorities.push(Pem::File(path.into()));
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
        self.client = Some((Pem::Bytes(chain.into()), Pem::Bytes(key.into())));
        self
    }

    /// As [`client_certificate_pem`](Self::client_certificate_pem), from two files. They may be the same.
    #[must_use]
    pub fn client_certificate_files(
        mut self,
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.client = Some((Pem::File(chain.into()), Pem::File(key.into())));
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
    /// tunnel, or for a server that is reached by its IP address.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// **Dangerous.** Accepts a certificate of a trusted authority whoever it was issued to: everyone who has one, for any
    /// host at all, can pretend to be the server, and read and change all messages. When the certificate just names another
    /// host, use [`server_name`](Self::server_name), which stays secure.
    ///
    /// Each connection that is made so is told to `tracing` as a warning.
    #[must_use]
    pub const fn danger_accept_certificates_for_any_host_name(mut self) -> Self {
        self.verification = Verification::AnyName;
        self
    }

    /// **Dangerous.** Accepts any certificate at all, expired, self-signed or made a minute ago by an attacker: whoever is
    /// on the way to the server can pretend to be it, take the password, and read and change all messages. For a server
    /// with a certificate of its own making, give that with [`ca_pem`](Self::ca_pem), which stays secure.
    ///
    /// Each connection that is made so is told to `tracing` as a warning.
    #[must_use]
    pub const fn danger_accept_any_certificate_from_anyone(mut self) -> Self {
        self.verification = Verification::Nothing;
        self
    }

    /// Reads what is to be read.
    pub(crate) async fn load(&self) -> Result<Tls, TlsError> {
        let options = self.clone();
        let loading = spawn_blocking(move || options.build());
        loading.await.unwrap_or(Err(TlsError::Interrupted))
    }

    fn build(self) -> Result<Tls, TlsError> {
        let server_name = match &self.server_name {
            None => None,
            Some(name) => match ServerName::try_from(name.clone()) {
                Ok(name) => Some(name),
                Err(_) => return Err(TlsError::ServerName(name.clone())),
            },
        };
        let (config, danger) = match &self.config {
            Some(config) => (Arc::clone(config), None),
            None => (Arc::new(self.config()?), self.verification.danger()),
        };
        Ok(Tls::new(config, server_name, danger))
    }

    fn config(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Refused(error.to_string()))?;
        let builder = match self.verification {
            Verification::Full => builder.with_root_certificates(self.roots()?),
            Verification::AnyName => {
                let verifier = AnyName::new(self.roots()?, provider)
                    .map_err(|error| TlsError::Refused(error.to_string()))?;
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(verifier))
            }
            Verification::Nothing => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
        };
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(
                    chain.certificates("the client's certificate chain")?,
                    key.private_key()?,
                )
                .map_err(|error| client_certificate_refused(&error))?,
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(config)
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        if self.authorities.is_empty() {
            return system_roots();
        }
        let mut roots = RootCertStore::empty();
        for authority in &self.authorities {
            for certificate in authority.certificates(AUTHORITY)? {
                roots.add(certificate).map_err(|error| {
                    TlsError::Refused(format!(
                        "{} is of no use: {error}",
                        authority.name(AUTHORITY)
                    ))
                })?;
            }
        }
        Ok(roots)
    }
}

const AUTHORITY: &str = "the authority's certificate";

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reasons: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        return Err(TlsError::NoSystemRoots(reasons.join("; ")));
    }
    Ok(roots)
}

fn client_certificate_refused(error: &rustls::Error) -> TlsError {
    TlsError::Refused(match error {
        rustls::Error::InconsistentKeys(_) => {
            "the client's private key does not belong to its certificate; the client's own certificate stands first in the chain".to_owned()
        }
        error => format!("the client's certificate or private key is of no use: {error}"),
    })
}

impl Pem {
    fn read(&self, what: &'static str) -> Result<Bytes, TlsError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::File(path) => match std::fs::read(path) {
                Ok(bytes) => Ok(bytes.into()),
                Err(error) => Err(TlsError::File {
                    what,
                    path: path.clone(),
                    reason: error.to_string(),
                }),
            },
        }
    }

    fn certificates(&self, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let bytes = self.read(what)?;
        let certificates = CertificateDer::pem_slice_iter(&bytes)
            .collect::<Result<Vec<_>, _>>()
            .unwrap_or_default(); // the error could quote a line of a private key
        if certificates.is_empty() {
            return Err(TlsError::NotPem {
                what: self.name(what),
                expected: "-----BEGIN CERTIFICATE-----",
            });
        }
        Ok(certificates)
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let what = "the client's private key";
        let bytes = self.read(what)?;
        PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| TlsError::NotPem {
            what: self.name(what),
            expected: "-----BEGIN PRIVATE KEY----- (an encrypted key has to be decrypted first)",
        })
    }

    /// What it is, and where it comes from.
    fn name(&self, what: &str) -> String {
        match self {
            Self::Bytes(_) => what.to_owned(),
            Self::File(path) => format!("{what} in {}", path.display()),
        }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(_) => f.write_str("<hidden>"),
            Self::File(path) => path.fmt(f),
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
        let error = |tls: TlsOptions| async move { tls.load().await.err().unwrap() };
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
        let error = tls.load().await.err().unwrap();
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
        let error = tls.load().await.err().unwrap();
        assert!(error.to_string().contains("does not belong"), "{error}");
    }
}
