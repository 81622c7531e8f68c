//! What went wrong between client and server, and what to do about it.

use std::io;

use ferromqtt_proto::TransportError;
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// Why TLS failed, if that was it.
pub(crate) fn cause(error: &io::Error) -> Option<TransportError> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    let text = describe(error).into();
    Some(match error {
        Error::InvalidCertificate(_) => TransportError::Certificate(text),
        Error::AlertReceived(alert) if is_about_certificate(*alert) => {
            TransportError::Certificate(text)
        }
        _ => TransportError::Failed(text),
    })
}

fn describe(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(reason) => {
            format!("the server's certificate is not accepted: {}", why(reason))
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server wants a client certificate; give one with TlsOptions::client_certificate_files".to_owned()
        }
        Error::AlertReceived(alert) if is_about_certificate(*alert) => {
            let advice = advice(*alert);
            format!("the server does not accept the client's certificate, or its absence: alert {alert:?}; {advice}")
        }
        Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "the server knows none of the protocols offered with TlsOptions::alpn".to_owned()
        }
        Error::AlertReceived(alert) => format!("the server ended TLS: alert {alert:?}"),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the server's answer is not TLS".to_owned()
        }
        error => format!("TLS failed: {error}"),
    }
}

/// What to do when the server does not accept the client's certificate.
const fn advice(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateExpired => "renew it, or set the machines' clocks",
        AlertDescription::CertificateRevoked => {
            "ask its authority for another one, for TlsOptions::client_certificate_files"
        }
        _ => {
            "give one that an authority which the server trusts has issued, with TlsOptions::client_certificate_files"
        }
    }
}

fn why(reason: &CertificateError) -> String {
    match reason {
        CertificateError::UnknownIssuer => {
            "its issuer is not trusted; give the issuer's certificate with TlsOptions::ca_file"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("{reason}; renew it, or set this machine's clock")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("{reason}; set this machine's clock")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "{reason}; connect to a name that it holds, or give one with TlsOptions::server_name"
            )
        }
        reason => reason.to_string(),
    }
}

const fn is_about_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    )
}

/// Whether the server answered the handshake with something that is not TLS.
pub(super) fn answered_something_else(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(
        error,
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType))
    )
}
