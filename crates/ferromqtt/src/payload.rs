//! What can be published.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

/// A payload, in any of the forms that programs have them: text, bytes, arrays; owned or borrowed.
///
/// What is owned ([`Bytes`], `Vec<u8>`, `String`, ...) is not copied. What is borrowed is, once; for large constants there is
/// [`Bytes::from_static`], and for what is published again and again a [`Bytes`] and its cheap clones.
///
/// A payload of [`Bytes::from_owner`] may drop its owner while the connection is locked. The owner's `Drop` must not call the
/// client, or wait for a thread that does: it would wait forever. The same goes for all other [`Bytes`] given to a client, such
/// as Correlation Data.
pub trait IntoPayload {
    /// The payload's bytes.
    fn into_payload(self) -> Bytes;
}

macro_rules! owned {
    ($($form:ty),+) => {$(
        impl IntoPayload for $form {
            fn into_payload(self) -> Bytes {
                self.into()
            }
        }
    )+};
}

owned!(Bytes, Vec<u8>, String, Box<[u8]>);

impl IntoPayload for BytesMut {
    fn into_payload(self) -> Bytes {
        self.freeze()
    }
}

impl IntoPayload for &Bytes {
    fn into_payload(self) -> Bytes {
        self.clone()
    }
}

macro_rules! borrowed {
    ($($form:ty),+) => {$(
        impl IntoPayload for $form {
            fn into_payload(self) -> Bytes {
                Bytes::copy_from_slice(self.as_ref())
            }
        }
    )+};
}

borrowed!(&str, &String, &[u8], &Vec<u8>);

impl<const N: usize> IntoPayload for [u8; N] {
    fn into_payload(self) -> Bytes {
        Bytes::copy_from_slice(&self)
    }
}

impl<const N: usize> IntoPayload for &[u8; N] {
    fn into_payload(self) -> Bytes {
        Bytes::copy_from_slice(self)
    }
}

impl IntoPayload for Cow<'_, str> {
    fn into_payload(self) -> Bytes {
        match self {
            Cow::Borrowed(text) => text.into_payload(),
            Cow::Owned(text) => text.into_payload(),
        }
    }
}

impl IntoPayload for Cow<'_, [u8]> {
    fn into_payload(self) -> Bytes {
        match self {
            Cow::Borrowed(bytes) => bytes.into_payload(),
            Cow::Owned(bytes) => bytes.into_payload(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_gives_its_bytes() {
        let (text, bytes) = (String::from("21.5"), b"21.5".to_vec());
        let payloads = [
            "21.5".into_payload(),
            text.as_str().into_payload(),
            (&text).into_payload(),
            Cow::Borrowed(text.as_str()).into_payload(),
            Cow::<str>::Owned(text.clone()).into_payload(),
            b"21.5".into_payload(),
            (*b"21.5").into_payload(),
            bytes.as_slice().into_payload(),
            (&bytes).into_payload(),
            Cow::Borrowed(bytes.as_slice()).into_payload(),
            Cow::<[u8]>::Owned(bytes.clone()).into_payload(),
            bytes.clone().into_boxed_slice().into_payload(),
            BytesMut::from("21.5").into_payload(),
            (&Bytes::from_static(b"21.5")).into_payload(),
            Bytes::from_static(b"21.5").into_payload(),
            text.into_payload(),
            bytes.into_payload(),
        ];
        for payload in payloads {
            assert_eq!(payload, "21.5");
        }
    }

    #[test]
    fn what_is_owned_is_not_copied() {
        let bytes = vec![7; 1_000];
        let place = bytes.as_ptr();
        let payload = bytes.into_payload();
        assert_eq!(payload.as_ptr(), place);
        assert_eq!((&payload).into_payload().as_ptr(), place);
    }
}
