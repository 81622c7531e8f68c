//! The head of an HTTP/1.1 answer, as WebSocket and CONNECT get one.

#[cfg(feature = "websocket")]
use data_encoding::BASE64;
use ferromqtt_proto::shown::peer_text;

/// More than servers send, and little enough to be collected.
pub(crate) const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 96;

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
            Err(_) if within.starts_with(&[0x15, 3]) => {
                return Err("it is TLS, which the port seems to expect");
            }
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
    format!("{status} {reason}").trim_end().to_owned()
}

/// What a request holds that its answer must not have repeated in an error.
#[derive(Clone, Default)]
pub(crate) struct RequestSecrets(Vec<Vec<u8>>);

impl RequestSecrets {
    pub(crate) fn add(&mut self, secret: &[u8]) {
        self.0.push(secret.to_vec());
    }

    /// The values of a header of the user's: any of them may be a token.
    #[cfg(feature = "websocket")]
    pub(crate) fn add_header(&mut self, name: &str, value: &str) {
        if is_usual(name) {
            return;
        }
        let mut words: Vec<&str> = (value.split([' ', '\t', ',', ';', '='])).collect();
        if name.to_ascii_lowercase().ends_with("authorization") && words.len() > 1 {
            let scheme = words.remove(0);
            if scheme.eq_ignore_ascii_case("basic") {
                self.add_basic(value[scheme.len()..].trim());
            }
        }
        self.add_words(words.into_iter().map(str::as_bytes));
    }

    /// The password of Basic authentication.
    #[cfg(feature = "websocket")]
    fn add_basic(&mut self, encoded: &str) {
        let decoded = BASE64.decode(encoded.as_bytes()).unwrap_or_default();
        if let Some(colon) = decoded.iter().position(|&byte| byte == b':') {
            self.add(&decoded[colon + 1..]);
        }
    }

    /// The values in the query of a path.
    #[cfg(feature = "websocket")]
    pub(crate) fn add_query(&mut self, path: &str) {
        let query = path.split_once('?').map_or("", |(_, query)| query);
        let values = (query.split('&')).map(|pair| pair.split_once('=').map_or(pair, |(_, it)| it));
        let decoded = values.map(|value| percent_encoding::percent_decode_str(value).collect());
        let decoded: Vec<Vec<u8>> = decoded.collect();
        self.add_words(decoded.iter().map(Vec::as_slice));
    }

    /// Leaves out short ones, which are no secrets and occur in any text.
    #[cfg(feature = "websocket")]
    fn add_words<'a>(&mut self, words: impl Iterator<Item = &'a [u8]>) {
        words
            .filter(|word| word.len() >= 4)
            .for_each(|word| self.add(word));
    }

    /// A text of the peer's, fit for one line of an error.
    pub(crate) fn shown(&self, text: &[u8]) -> String {
        let secrets: Vec<&[u8]> = self.0.iter().map(Vec::as_slice).collect();
        peer_text(&String::from_utf8_lossy(text), &secrets)
    }

    /// A URL that the peer refers to, without credentials and without its query, which may hold a token of the peer's.
    #[cfg(feature = "websocket")]
    pub(crate) fn shown_url(&self, url: &[u8]) -> String {
        let url = String::from_utf8_lossy(url);
        let (place, query) = match url.split_once(['?', '#']) {
            Some((place, _)) => (place, "?***"),
            None => (&*url, ""),
        };
        let authority = place.find("//").map_or(0, |at| at + 2);
        let end = place[authority..]
            .find('/')
            .map_or(place.len(), |at| authority + at);
        let host = place[authority..end]
            .rfind('@')
            .map_or(authority, |at| authority + at + 1);
        let shown = format!("{}{}{query}", &place[..authority], &place[host..]);
        self.shown(shown.as_bytes())
    }
}

/// Headers that hold no secret in any request.
#[cfg(feature = "websocket")]
fn is_usual(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("sec-websocket-")
        || name.starts_with("accept")
        || [
            "host",
            "upgrade",
            "connection",
            "origin",
            "user-agent",
            "cache-control",
            "pragma",
        ]
        .contains(&name.as_str())
}

#[cfg(all(test, feature = "websocket"))]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_credentials_and_query() {
        for (url, shown) in [
            ("https://a/b", "https://a/b"),
            ("https://u:p@a/b?token=x", "https://a/b?***"),
            ("//u:p@a", "//a"),
            ("/b?token=x#y", "/b?***"),
            ("https://a/b@c", "https://a/b@c"),
            ("", ""),
        ] {
            assert_eq!(RequestSecrets::default().shown_url(url.as_bytes()), shown);
        }
    }

    #[test]
    fn what_a_request_holds_is_not_shown() {
        let mut secrets = RequestSecrets::default();
        secrets.add_header("Authorization", "Bearer abcd.efgh");
        secrets.add_header("Proxy-Authorization", "Basic dTpnZWhlaW0="); // u:geheim
        secrets.add_header("Cookie", "session=0123; other=4567");
        secrets.add_header("User-Agent", "station-7");
        secrets.add_query("/mqtt?token=ab%2Fcd&version=2");
        for text in [
            "abcd.efgh",
            "dTpnZWhlaW0=",
            "geheim",
            "0123",
            "is 4567?",
            "ab/cd",
            "ab%2fcd",
        ] {
            assert!(
                secrets.shown(text.as_bytes()).contains("left out"),
                "{text}"
            );
        }
        for text in ["Bearer", "station-7", "2", "/mqtt", "token"] {
            assert_eq!(secrets.shown(text.as_bytes()), text);
        }
    }
}
