//! Certificates for test brokers, made on the spot.

#[cfg(feature = "tls")]
use std::net::IpAddr;

use ferromqtt_proto::debug_fields;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    KeyUsagePurpose,
};
use thiserror::Error;

/// What every certificate is for, beside the address that a broker listens on.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A certificate authority that exists for one test: its private key is in memory alone, and ends with it.
///
/// ```
/// use ferromqtt_testing::TestAuthority;
///
/// let authority = TestAuthority::new()?;
/// let identity = authority.issue("broker.example")?;
/// assert!(authority.certificate_pem().starts_with("-----BEGIN CERTIFICATE-----"));
/// assert!(identity.certificate_pem().starts_with("-----BEGIN CERTIFICATE-----"));
/// # Ok::<_, ferromqtt_testing::CertificateError>(())
/// ```
pub struct TestAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

debug_fields!(TestAuthority { issuer: hidden });

/// A certificate of a test broker, and its private key. `Debug` shows neither.
pub struct TestIdentity {
    certificate: Certificate,
    key: KeyPair,
}

debug_fields!(TestIdentity {
    certificate: hidden,
    key: hidden
});

/// There is no certificate: the system gave no random numbers, or no certificate can hold the name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[error("cannot make a certificate for the test broker: {0}")]
pub struct CertificateError(String);

impl CertificateError {
    #[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
    fn of(error: rcgen::Error) -> Self {
        Self(error.to_string())
    }
}

impl TestAuthority {
    /// Makes an authority with a key of its own.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new() -> Result<Self, CertificateError> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        named(&mut params, "ferromqtt test authority");
        KeyPair::generate()
            .and_then(|key| CertifiedIssuer::self_signed(params, key))
            .map(|issuer| Self { issuer })
            .map_err(CertificateError::of)
    }

    /// The authority's own certificate, for clients to trust.
    pub fn certificate_pem(&self) -> String {
        self.issuer.pem()
    }

    /// Makes a certificate for a host name or IP address, and for `localhost`, 127.0.0.1 and ::1.
    ///
    /// # Errors
    /// When no certificate can hold `host`, or the system gives no random numbers.
    pub fn issue(&self, host: &str) -> Result<TestIdentity, CertificateError> {
        let mut names = LOCAL_NAMES.map(str::to_owned).to_vec();
        if !names.iter().any(|name| name == host) {
            names.push(host.to_owned());
        }
        self.sign(names).map_err(CertificateError::of)
    }

    fn sign(&self, names: Vec<String>) -> Result<TestIdentity, rcgen::Error> {
        let mut params = CertificateParams::new(names)?;
        named(&mut params, "ferromqtt test broker");
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(TestIdentity { certificate, key })
    }

    /// As [`TestAuthority::issue`], for an address to listen on.
    #[cfg(feature = "tls")]
    pub(crate) fn issue_for(&self, address: IpAddr) -> Result<TestIdentity, CertificateError> {
        self.issue(&address.to_string())
    }
}

impl TestIdentity {
    /// The certificate.
    pub fn certificate_pem(&self) -> String {
        self.certificate.pem()
    }

    /// The private key, in PKCS #8.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The certificate in the binary form.
    #[cfg(feature = "tls")]
    pub(crate) fn certificate_der(&self) -> Vec<u8> {
        self.certificate.der().to_vec()
    }

    /// The private key in the binary form of PKCS #8.
    #[cfg(feature = "tls")]
    pub(crate) fn key_der(&self) -> Vec<u8> {
        self.key.serialize_der()
    }
}

fn named(params: &mut CertificateParams, name: &str) {
    params.distinguished_name.push(DnType::CommonName, name);
}
