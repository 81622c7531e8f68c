//! The words that the text of a rule is made of.

use std::fmt::Write;

use super::text::FaultTextError;

/// In quotation marks, with every character that could end the text or the line escaped.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            _ if character.is_control() => {
                let _ = write!(quoted, "\\u{{{:x}}}", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted + "\""
}

/// One word of a rule.
#[derive(Debug)]
pub(super) enum Word<'a> {
    Plain(&'a str),
    Quoted(String),
    Comma,
}

pub(super) fn unexpected(wanted: &'static str, found: Option<&Word<'_>>) -> FaultTextError {
    let found = match found {
        None => "the end".to_owned(),
        Some(Word::Comma) => "a comma".to_owned(),
        Some(Word::Plain(word)) => format!("{word:?}"),
        Some(Word::Quoted(text)) => quoted(text),
    };
    FaultTextError::Unexpected { wanted, found }
}

/// The words of a rule that are left.
pub(super) struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self(text)
    }

    pub(super) fn next(&mut self) -> Result<Option<Word<'a>>, FaultTextError> {
        self.0 = self.0.trim_start();
        let Some(first) = self.0.chars().next() else {
            return Ok(None);
        };
        match first {
            ',' => {
                self.0 = &self.0[1..];
                Ok(Some(Word::Comma))
            }
            '"' => self.text().map(|text| Some(Word::Quoted(text))),
            _ => {
                let end = (self.0)
                    .find(|it: char| it.is_whitespace() || matches!(it, ',' | '"'))
                    .unwrap_or(self.0.len());
                let (word, rest) = self.0.split_at(end);
                self.0 = rest;
                Ok(Some(Word::Plain(word)))
            }
        }
    }

    /// A text in quotation marks.
    fn text(&mut self) -> Result<String, FaultTextError> {
        let wrong = || FaultTextError::Quotes(self.0.to_owned());
        let mut text = String::new();
        let mut characters = self.0.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return Ok(text);
                }
                '\\' => match characters.next() {
                    Some((_, it @ ('"' | '\\'))) => text.push(it),
                    Some((at, 'u')) => {
                        let rest = self.0[at + 1..].strip_prefix('{').ok_or_else(wrong)?;
                        let (digits, _) = rest.split_once('}').ok_or_else(wrong)?;
                        let value = u32::from_str_radix(digits, 16).map_err(|_| wrong())?;
                        text.push(char::from_u32(value).ok_or_else(wrong)?);
                        characters.nth(digits.chars().count() + 1);
                    }
                    _ => return Err(wrong()),
                },
                other => text.push(other),
            }
        }
        Err(wrong())
    }

    /// The next word, if it is plain and `wanted` likes it.
    pub(super) fn plain_if(&mut self, wanted: impl FnOnce(&str) -> bool) -> Option<&'a str> {
        let before = self.0;
        if let Ok(Some(Word::Plain(word))) = self.next()
            && wanted(word)
        {
            return Some(word);
        }
        self.0 = before;
        None
    }

    pub(super) fn get<T>(
        &mut self,
        wanted: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, FaultTextError> {
        let word = self.next()?;
        let value = match &word {
            Some(Word::Plain(text)) => read(text),
            _ => None,
        };
        value.ok_or_else(|| match &word {
            Some(Word::Plain(found)) => FaultTextError::Value {
                wanted,
                found: (*found).to_owned(),
            },
            other => unexpected(wanted, other.as_ref()),
        })
    }

    pub(super) fn quoted(&mut self, wanted: &'static str) -> Result<String, FaultTextError> {
        match self.next()? {
            Some(Word::Quoted(text)) => Ok(text),
            found => Err(unexpected(wanted, found.as_ref())),
        }
    }

    pub(super) fn quoted_if(&mut self) -> Result<Option<String>, FaultTextError> {
        match self.0.trim_start().starts_with('"') {
            true => self.quoted("a text").map(Some),
            false => Ok(None),
        }
    }
}
