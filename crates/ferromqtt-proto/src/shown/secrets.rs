//! What to look for in a text of a peer's that must not repeat a secret.

use std::collections::HashSet;
use std::fmt;

use super::{MOST_SHOWN, Masked};

/// So many bytes of a secret in a row are taken for the secret.
pub(super) const PART: usize = 8;

/// A secret shorter than this is looked for as a word of its own: otherwise it would be found in any text.
const SHORT: usize = 4;

/// So many bytes of a secret are looked for in other forms than its own.
const MOST_ENCODED: usize = 4_096;

/// Secrets, prepared for looking for them in many texts: what one costs grows with the text and not with the secrets.
#[derive(Default)]
pub(crate) struct Secrets {
    /// Found as words of their own only.
    words: Vec<Vec<u8>>,
    /// Found anywhere. Not longer than a part.
    short: Vec<Vec<u8>>,
    /// Every part of those that are longer.
    parts: HashSet<[u8; PART]>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Masked.fmt(f)
    }
}

impl Secrets {
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut prepared = Self::default();
        for secret in secrets {
            prepared.add(&secret.to_ascii_lowercase());
            if secret.len() >= SHORT {
                prepared.add_encoded(&secret[..secret.len().min(MOST_ENCODED)]);
            }
        }
        prepared
    }

    fn add(&mut self, form: &[u8]) {
        match form.len() {
            0 => {}
            length if length < SHORT => self.words.push(form.to_vec()),
            length if length <= PART => self.short.push(form.to_vec()),
            _ => self.parts.extend(form.windows(PART).filter_map(as_part)),
        }
    }

    fn add_encoded(&mut self, secret: &[u8]) {
        self.add(&hexadecimal(secret));
        for last_two in [b"+/", b"-_"] {
            self.add(&base64(secret, last_two));
            // Behind a user name, say, Base64 takes the secret's bytes in other groups of three.
            for skipped in [1, 2] {
                let form = base64(secret.get(skipped..).unwrap_or_default(), last_two);
                if form.len() >= PART {
                    self.add(&form);
                }
            }
        }
    }

    fn are_none(&self) -> bool {
        self.words.is_empty() && self.short.is_empty() && self.parts.is_empty()
    }

    /// Whether what [`peer_text`](super::peer_text) would show of a text repeats one of them.
    pub(crate) fn are_in(&self, text: &str) -> bool {
        if self.are_none() {
            return false;
        }
        // A little more than is shown, so that a secret is found whose beginning would be.
        let seen = &text.as_bytes()[..text.len().min(MOST_SHOWN + 2 * PART)];
        let seen = seen.to_ascii_lowercase();
        self.are_in_bytes(&seen)
            || seen.contains(&b'%')
                && self.are_in_bytes(&percent_decoded(&seen).to_ascii_lowercase())
    }

    fn are_in_bytes(&self, text: &[u8]) -> bool {
        self.words.iter().any(|word| holds_word(text, word))
            || (self.short.iter()).any(|it| text.windows(it.len()).any(|part| part == it))
            || (text.windows(PART).filter_map(as_part)).any(|part| self.parts.contains(&part))
    }
}

fn as_part(window: &[u8]) -> Option<[u8; PART]> {
    window.try_into().ok()
}

fn holds_word(text: &[u8], word: &[u8]) -> bool {
    let is_end = |byte: Option<&u8>| !byte.is_some_and(u8::is_ascii_alphanumeric);
    (text.windows(word.len()).enumerate()).any(|(at, part)| {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        part == word && is_end(before) && is_end(text.get(at + word.len()))
    })
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| {
        let byte = text.get(at).copied()?;
        char::from(byte).to_digit(16)
    };
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high << 4 | low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

fn hexadecimal(bytes: &[u8]) -> Vec<u8> {
    let digits = b"0123456789abcdef";
    (bytes.iter())
        .flat_map(|byte| [byte >> 4, byte & 15].map(|half| digits[usize::from(half)]))
        .collect()
}

/// Base64 in small letters, as the text is that it is looked for in; without the characters that the end decides.
fn base64(bytes: &[u8], last_two: &[u8; 2]) -> Vec<u8> {
    let digit = |value: u32| match (value & 63) as u8 {
        value @ 0..=25 => b'a' + value,
        value @ 26..=51 => b'a' + value - 26,
        value @ 52..=61 => b'0' + value - 52,
        value => last_two[usize::from(value - 62)],
    };
    (bytes.chunks_exact(3))
        .flat_map(|three| {
            let value = u32::from_be_bytes([0, three[0], three[1], three[2]]);
            [18, 12, 6, 0].map(|shift| digit(value >> shift))
        })
        .collect()
}
