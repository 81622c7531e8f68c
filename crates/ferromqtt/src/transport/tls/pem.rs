//! Certificates and keys in PEM form: where they come from, and what is in them.

use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;
use ferromqtt_proto::shown::Masked;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::options_error::TlsError;

/// Where something in PEM form comes from.
#[derive(Clone)]
pub(super) enum PemSource {
    Bytes(Bytes),
    File(PathBuf),
}

impl PemSource {
    pub(super) const fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// The text, which should hold `what`. It blocks.
    pub(super) fn read(&self, what: &'static str) -> Result<Bytes, TlsError> {
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

    /// The certificates in `text`, which was read from here.
    pub(super) fn certificates(
        &self,
        text: &[u8],
        what: &str,
    ) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let certificates = CertificateDer::pem_slice_iter(text)
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

    /// The private key in `text`, which was read from here.
    pub(super) fn private_key(
        &self,
        text: &[u8],
        what: &str,
    ) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(text).map_err(|_| TlsError::NotPem {
            what: self.name(what),
            expected: "-----BEGIN PRIVATE KEY----- (an encrypted key has to be decrypted first)",
        })
    }

    /// What it is, and where it comes from.
    pub(super) fn name(&self, what: &str) -> String {
        match self {
            Self::Bytes(_) => what.to_owned(),
            Self::File(path) => format!("{what} in {}", path.display()),
        }
    }
}

impl fmt::Debug for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(_) => Masked.fmt(f),
            Self::File(path) => path.fmt(f),
        }
    }
}
