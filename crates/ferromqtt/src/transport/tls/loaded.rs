//! A configuration of rustls, and the texts that it was made from.

use std::sync::Arc;

use bytes::Bytes;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::options::{TlsOptions, Verification};
use super::pem::PemSource;
use super::verify::{AnyCertificate, AnyName};
use crate::options_error::TlsError;

const AUTHORITY: &str = "the authority's certificate";
const CHAIN: &str = "the client's certificate chain";
const KEY: &str = "the client's private key";

/// What a connection is made with.
pub(super) struct Loaded {
    texts: Texts,
    /// What the operating system trusts, if that is to be trusted.
    system: Option<Arc<RootCertStore>>,
    pub(super) config: Arc<ClientConfig>,
}

/// What was read, in the order of the options: to be compared with what is read the next time.
#[derive(Default, PartialEq, Eq)]
struct Texts {
    authorities: Vec<Bytes>,
    client: Option<(Bytes, Bytes)>,
}

impl Loaded {
    /// Reads everything for the first time. It blocks.
    pub(super) fn first(options: &TlsOptions) -> Result<Self, TlsError> {
        if let Some(config) = &options.config {
            return Ok(Self {
                texts: Texts::default(),
                system: None,
                config: Arc::clone(config),
            });
        }
        let texts = Texts::read(options)?;
        let system = match options.trusts_system() {
            true => Some(Arc::new(system_roots()?)),
            false => None,
        };
        Self::made(options, texts, system)
    }

    /// Reads the files again. What has not changed stays as it is, with the sessions of TLS that can be resumed. It blocks.
    pub(super) fn renewed(self: Arc<Self>, options: &TlsOptions) -> Result<Arc<Self>, TlsError> {
        let texts = Texts::read(options)?;
        if texts == self.texts {
            return Ok(self);
        }
        Self::made(options, texts, self.system.clone()).map(Arc::new)
    }

    fn made(
        options: &TlsOptions,
        texts: Texts,
        system: Option<Arc<RootCertStore>>,
    ) -> Result<Self, TlsError> {
        let config = config(options, &texts, system.as_ref())?;
        Ok(Self {
            texts,
            system,
            config: Arc::new(config),
        })
    }
}

impl Texts {
    fn read(options: &TlsOptions) -> Result<Self, TlsError> {
        let authorities = options.authorities.iter();
        Ok(Self {
            authorities: authorities
                .map(|source| source.read(AUTHORITY))
                .collect::<Result<_, _>>()?,
            client: match &options.client {
                None => None,
                Some((chain, key)) => Some((chain.read(CHAIN)?, key.read(KEY)?)),
            },
        })
    }
}

fn config(
    options: &TlsOptions,
    texts: &Texts,
    system: Option<&Arc<RootCertStore>>,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Refused(error.to_string()))?;
    let roots = || match system {
        Some(system) => Ok(Arc::clone(system)),
        None => given_roots(&options.authorities, &texts.authorities).map(Arc::new),
    };
    let builder = match options.verification {
        Verification::Full => builder.with_root_certificates(roots()?),
        Verification::AnyName => {
            let verifier = AnyName::new(roots()?, provider)
                .map_err(|error| TlsError::Refused(error.to_string()))?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        }
        Verification::Nothing => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
    };
    let mut config = match (&options.client, &texts.client) {
        (Some((chain, key)), Some((chain_text, key_text))) => builder
            .with_client_auth_cert(
                chain.certificates(chain_text, CHAIN)?,
                key.private_key(key_text, KEY)?,
            )
            .map_err(|error| client_certificate_refused(chain, key, &error))?,
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols.clone_from(&options.alpn);
    Ok(config)
}

fn given_roots(sources: &[PemSource], texts: &[Bytes]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for (source, text) in sources.iter().zip(texts) {
        for certificate in source.certificates(text, AUTHORITY)? {
            roots.add(certificate).map_err(|error| {
                TlsError::Refused(format!("{} is of no use: {error}", source.name(AUTHORITY)))
            })?;
        }
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(TlsError::NoSystemRoots(why_none(&found.errors)));
    }
    Ok(roots)
}

fn why_none(errors: &[rustls_native_certs::Error]) -> String {
    let reasons: Vec<_> = errors.iter().map(ToString::to_string).collect();
    match reasons.is_empty() {
        true => "none in its usual places, or where SSL_CERT_FILE or SSL_CERT_DIR point".to_owned(),
        false => reasons.join("; "),
    }
}

fn client_certificate_refused(
    chain: &PemSource,
    key: &PemSource,
    error: &rustls::Error,
) -> TlsError {
    TlsError::Refused(match error {
        rustls::Error::InconsistentKeys(_) => format!(
            "{} does not belong to {}; the client's own certificate stands first in the chain",
            key.name(KEY),
            chain.name(CHAIN)
        ),
        error => format!(
            "{} or {} is of no use: {error}",
            chain.name(CHAIN),
            key.name(KEY)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_that_trusts_nobody_is_told_with_what_to_do() {
        let text = TlsError::NoSystemRoots(why_none(&[])).to_string();
        for part in [
            "SSL_CERT_FILE",
            "package ca-certificates",
            "TlsOptions::ca_file",
        ] {
            assert!(text.contains(part), "{part:?} in: {text}");
        }
    }
}
