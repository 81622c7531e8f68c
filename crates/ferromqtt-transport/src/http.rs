//! The head of an HTTP/1.1 answer, as WebSocket and CONNECT get one.

use std::fmt::Write;

/// More than servers send, and little enough to be collected.
pub(crate) const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 96;
/// How much of a text of the peer's an error repeats.
const MAX_SHOWN: usize = 200;

/// The head of an answer.
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) reason: String,
    headers: Vec<(String, Vec<u8>)>,
    /// How many bytes it has.
    pub(crate) length: usize,
}

impl Head {
    /// Reads the head at the beginning of the bytes; `None` when it is not complete.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        let within = &bytes[..bytes.len().min(MAX_HEAD)];
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(within) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if within.len() == MAX_HEAD => {
                return Err("its head has more than 16 KiB");
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err("it has more than 96 header lines"),
            Err(_) => return Err("it is not HTTP/1.1"),
        };
        let owned =
            |header: &httparse::Header<'_>| (header.name.to_owned(), header.value.to_owned());
        Ok(Some(Self {
            status: response.code.unwrap_or_default(),
            reason: response.reason.unwrap_or_default().to_owned(),
            headers: response.headers.iter().map(owned).collect(),
            length,
        }))
    }

    /// The values of a header, which may stand in several lines.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        (self.headers.iter())
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim_ascii())
    }

    /// The elements of a header that is a list.
    pub(crate) fn elements(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.values(name)
            .flat_map(|value| value.split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|element| !element.is_empty())
    }
}

/// Number and reason of a status, fit for one line of an error.
pub(crate) fn status_line(status: u16, reason: &str) -> String {
    format!("{status} {}", shown(reason.as_bytes()))
        .trim_end()
        .to_owned()
}

/// A text of the peer's, fit for one line of an error: shortened, without control characters.
pub(crate) fn shown(text: &[u8]) -> String {
    let mut shown = String::new();
    for character in String::from_utf8_lossy(text).chars() {
        if shown.len() >= MAX_SHOWN {
            shown.push('…');
            break;
        }
        if character.is_control() {
            let _ = write!(shown, "{}", character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}
