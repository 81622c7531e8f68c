//! Topic Names and Topic Filters (section 4.7).

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use crate::error::{InvalidTopic, TopicError};
use crate::text::{self, Utf8String, compares_as_text};

/// The name a message is published to: at least one character, no wildcard (MQTT-4.7.3-1, MQTT-3.3.2-2).
///
/// It is text that was checked: it compares with `str` and `String`, is parsed from them, and has the methods of `str`. A
/// clone shares its memory.
///
/// ```
/// # use ferromqtt_proto::TopicName;
/// let topic: TopicName = "rooms/kitchen/light".parse()?;
/// assert!(topic == "rooms/kitchen/light" && topic.starts_with("rooms/"));
/// assert_eq!(topic.split('/').nth(1), Some("kitchen"));
/// assert!("rooms/#".parse::<TopicName>().is_err());
/// # Ok::<_, ferromqtt_proto::TopicError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Utf8String);

impl TopicName {
    /// Checks a Topic Name.
    ///
    /// # Errors
    /// When it is empty, longer than 65,535 bytes, or holds `+`, `#` or U+0000.
    pub fn new(topic: impl Into<String>) -> Result<Self, TopicError> {
        let topic = topic.into();
        Self::check(&topic)?;
        Ok(Self(Utf8String::from_string(topic)?))
    }

    /// Checks without keeping anything: what [`TopicName::new`] would say of `topic`.
    ///
    /// # Errors
    /// As [`TopicName::new`].
    pub fn check(topic: &str) -> Result<(), TopicError> {
        Self::check_bytes(topic.as_bytes())
    }

    /// The same of a name as UTF-8.
    pub(crate) fn check_bytes(topic: &[u8]) -> Result<(), TopicError> {
        match topic.len() {
            0 => Err(TopicError::Empty),
            1..=0xffff if text::is_plain(topic) => Ok(()),
            _ if text::has_wildcard(topic) => Err(TopicError::WildcardInName),
            _ => Ok(text::check(topic)?),
        }
    }

    /// Wraps a topic from the wire; `None` when it is no valid Topic Name.
    pub(crate) fn from_wire(topic: Utf8String) -> Option<Self> {
        (!topic.is_empty() && !text::has_wildcard(topic.as_bytes())).then_some(Self(topic))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The name as the wire carries it.
    pub const fn as_utf8(&self) -> &Utf8String {
        &self.0
    }

    /// A copy with memory of its own, which keeps no receive buffer alive.
    pub fn detached(&self) -> Self {
        Self(self.0.detached())
    }

    /// Whether `filter` matches this name, by the rules of section 4.7: wildcards at the front do not match names that
    /// begin with `$` (MQTT-4.7.2-1), and a Shared Subscription matches by its inner filter.
    pub fn matches(&self, filter: &TopicFilter) -> bool {
        filter.matches(self.as_str())
    }
}

/// What a subscription asks for: a Topic Name with wildcards (section 4.7.1), or `$share/name/filter` (4.8.2).
///
/// It is text that was checked, as a [`TopicName`] is.
///
/// ```
/// # use ferromqtt_proto::TopicFilter;
/// let filter: TopicFilter = "rooms/+/light".parse()?;
/// assert!(filter.matches("rooms/kitchen/light"));
/// # Ok::<_, ferromqtt_proto::TopicError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Utf8String);

impl TopicFilter {
    /// Checks a Topic Filter.
    ///
    /// # Errors
    /// When it is empty, longer than 65,535 bytes, holds U+0000, has a `+` or `#` that does not stand alone in its level
    /// (MQTT-4.7.1-1, MQTT-4.7.1-2), or names a malformed Shared Subscription (MQTT-4.8.2-1, MQTT-4.8.2-2).
    pub fn new(filter: impl Into<String>) -> Result<Self, TopicError> {
        let filter = filter.into();
        Self::check(&filter)?;
        Ok(Self(Utf8String::from_string(filter)?))
    }

    /// Checks without keeping anything: what [`TopicFilter::new`] would say of `filter`.
    ///
    /// # Errors
    /// As [`TopicFilter::new`].
    pub fn check(filter: &str) -> Result<(), TopicError> {
        text::check(filter.as_bytes())?;
        let inner = match filter.strip_prefix("$share/") {
            Some(shared) => match shared.split_once('/') {
                Some((name, inner)) if !name.is_empty() && !has_wildcard(name) => inner,
                _ => return Err(TopicError::MalformedShare),
            },
            None => filter,
        };
        if inner.is_empty() {
            return Err(if inner.len() == filter.len() {
                TopicError::Empty
            } else {
                TopicError::MalformedShare
            });
        }
        match has_misplaced_wildcard(inner.as_bytes()) {
            true => Err(TopicError::MisplacedWildcard),
            false => Ok(()),
        }
    }

    /// The filter as text, `$share/name/` included.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The filter as the wire carries it.
    pub const fn as_utf8(&self) -> &Utf8String {
        &self.0
    }

    /// Whether it may match more than one topic.
    pub(crate) fn has_wildcards(&self) -> bool {
        has_wildcard(self.as_str())
    }

    /// Whether this is a Shared Subscription (section 4.8.2).
    pub fn is_shared(&self) -> bool {
        self.as_str().starts_with("$share/")
    }

    /// The filter that topics are matched with: of a Shared Subscription, what stands behind the share's name.
    pub(crate) fn inner(&self) -> &str {
        let filter = self.as_str();
        match filter.strip_prefix("$share/") {
            Some(shared) => shared.split_once('/').map_or("", |(_, inner)| inner),
            None => filter,
        }
    }

    /// Whether the filter matches the Topic Name `topic` (section 4.7; MQTT-4.7.2-1, MQTT-4.7.3-4).
    pub fn matches(&self, topic: &str) -> bool {
        let filter = self.inner();
        if topic.starts_with('$') && filter.starts_with(['+', '#']) {
            return false;
        }
        filter == topic || matches_by_level(filter.as_bytes(), topic.as_bytes())
    }
}

/// Whether a `+` or `#` shares its level, or a `#` is not at the end.
#[must_use]
pub fn has_misplaced_wildcard(filter: &[u8]) -> bool {
    filter.iter().enumerate().any(|(at, &byte)| {
        let begins_level = at == 0 || filter[at - 1] == b'/';
        match (byte, filter.get(at + 1)) {
            (b'+', None | Some(b'/')) | (b'#', None) => !begins_level,
            (b'+' | b'#', _) => true,
            _ => false,
        }
    })
}

/// Whether `filter`, whose wildcards are not misplaced, matches `topic`, whatever `$` may stand at the front.
///
/// Byte by byte, which is faster than splitting both.
#[must_use]
pub fn matches_by_level(filter: &[u8], topic: &[u8]) -> bool {
    let mut rest = topic;
    for (at, &byte) in filter.iter().enumerate() {
        match byte {
            b'#' => return true,
            b'+' => {
                let level = rest.iter().position(|&byte| byte == b'/');
                rest = &rest[level.unwrap_or(rest.len())..];
            }
            _ => match rest.split_first() {
                Some((first, after)) if *first == byte => rest = after,
                Some(_) => return false,
                None => return &filter[at..] == b"/#", // which matches its parent too
            },
        }
    }
    rest.is_empty()
}

fn has_wildcard(topic: &str) -> bool {
    text::has_wildcard(topic.as_bytes())
}

macro_rules! text_newtype {
    ($name:ident) => {
        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                self.as_str()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl FromStr for $name {
            type Err = InvalidTopic;

            fn from_str(text: &str) -> Result<Self, InvalidTopic> {
                text.try_into()
            }
        }

        impl From<$name> for String {
            fn from(topic: $name) -> Self {
                topic.0.into()
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidTopic;

            fn try_from(text: &str) -> Result<Self, InvalidTopic> {
                Self::new(text).map_err(|error| InvalidTopic::new(text, error))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidTopic;

            fn try_from(text: String) -> Result<Self, InvalidTopic> {
                match Self::check(&text) {
                    Ok(()) => Ok(Self(Utf8String::from_string(text).map_err(TopicError::from)?)),
                    Err(error) => Err(InvalidTopic::new(&text, error)),
                }
            }
        }

        impl TryFrom<&String> for $name {
            type Error = InvalidTopic;

            fn try_from(text: &String) -> Result<Self, InvalidTopic> {
                text.as_str().try_into()
            }
        }

        impl TryFrom<Cow<'_, str>> for $name {
            type Error = InvalidTopic;

            fn try_from(text: Cow<'_, str>) -> Result<Self, InvalidTopic> {
                match text {
                    Cow::Borrowed(text) => text.try_into(),
                    Cow::Owned(text) => text.try_into(),
                }
            }
        }

        impl From<&Self> for $name {
            /// A cheap clone.
            fn from(other: &Self) -> Self {
                other.clone()
            }
        }

        compares_as_text!($name: str, &str, String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    };
}

text_newtype!(TopicName);
text_newtype!(TopicFilter);

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn matches(filter: &str, topic: &str) -> bool {
        TopicFilter::new(filter).unwrap().matches(topic)
    }

    #[test]
    fn topics_compare_with_every_form_of_text_and_are_made_of_it_and_back() {
        fn length(text: impl AsRef<str>) -> usize {
            text.as_ref().len()
        }
        let name: TopicName = "a/b".parse().unwrap();
        let filter: TopicFilter = "a/+".parse().unwrap();
        let (name_text, filter_text) = (String::from("a/b"), String::from("a/+"));
        assert_eq!(name, *"a/b");
        assert_eq!(*"a/b", name);
        assert_eq!(name, "a/b");
        assert_eq!("a/b", name);
        assert_eq!(name, name_text);
        assert_eq!(name_text, name);
        assert_ne!(name, "a");
        assert_eq!(filter, *"a/+");
        assert_eq!(*"a/+", filter);
        assert_eq!(filter, "a/+");
        assert_eq!("a/+", filter);
        assert_eq!(filter, filter_text);
        assert_eq!(filter_text, filter);
        assert_ne!(filter, "a");
        assert_eq!((length(&name), length(&filter)), (3, 3));
        assert_eq!(String::from(name), name_text);
        assert_eq!(String::from(filter), filter_text);
    }

    #[test]
    fn a_text_that_is_no_topic_is_named_in_every_conversion() {
        let text = "a\n/+";
        let shown = "a topic to publish to cannot contain the wildcards + and #: \"a\\n/+\"";
        let failures = [
            text.parse::<TopicName>(),
            TopicName::try_from(text),
            TopicName::try_from(text.to_owned()),
            TopicName::try_from(&text.to_owned()),
            TopicName::try_from(Cow::Borrowed(text)),
            TopicName::try_from(Cow::<str>::Owned(text.to_owned())),
        ];
        for failure in failures {
            let error = failure.unwrap_err();
            assert_eq!(error.to_string(), shown);
            assert_eq!(TopicError::from(error), TopicError::WildcardInName);
        }
        let error = TopicFilter::try_from("a".repeat(70_000)).unwrap_err();
        assert!(error.to_string().len() < 300, "{error}");
        let error = "".parse::<TopicFilter>().unwrap_err();
        assert_eq!(error.to_string(), "topic is empty");
    }

    #[test]
    fn wildcards_match_whole_levels_mqtt_4_7_1_1_and_4_7_1_2() {
        assert!(matches("a/b", "a/b"));
        assert!(!matches("a/b", "a/b/c"));
        assert!(!matches("a/b", "a"));
        assert!(matches("a/+", "a/b"));
        assert!(matches("a/+", "a/"));
        assert!(!matches("a/+", "a"));
        assert!(!matches("+", "/a"));
        assert!(matches("+/+", "/a"));
        assert!(matches("a/#", "a"));
        assert!(matches("a/#", "a/b/c"));
        assert!(matches("#", "a/b"));
        assert!(matches("$share/g/a/#", "a/b"));
    }

    /// Section 4.7 level by level, as the standard words it.
    fn matches_as_worded(filter: &str, topic: &str) -> bool {
        let (levels, names): (Vec<_>, Vec<_>) =
            (filter.split('/').collect(), topic.split('/').collect());
        let fits = |(level, name): (&&str, &&str)| *level == "+" || level == name;
        match levels.split_last() {
            Some((&"#", parents)) => {
                names.len() >= parents.len() && parents.iter().zip(&names).all(fits)
            }
            _ => names.len() == levels.len() && levels.iter().zip(&names).all(fits),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(80 * ProptestConfig::default().cases))]

        #[test]
        fn filters_match_level_by_level(
            levels in vec(select(vec!["", "a", "b", "ab", "+"]), 1..5),
            rest in select(vec!["", "/#"]),
            names in vec(select(vec!["", "a", "b", "ab"]), 1..5),
        ) {
            let (filter, topic) = (levels.join("/") + rest, names.join("/"));
            if TopicFilter::check(&filter).is_ok() && TopicName::check(&topic).is_ok() {
                prop_assert_eq!(matches(&filter, &topic), matches_as_worded(&filter, &topic));
            }
        }
    }

    #[test]
    fn leading_wildcards_do_not_match_dollar_topics_mqtt_4_7_2_1() {
        assert!(!matches("#", "$SYS/x"));
        assert!(!matches("+/x", "$SYS/x"));
        assert!(matches("$SYS/#", "$SYS/x"));
        assert!(matches("$SYS/+", "$SYS/x"));
    }

    #[test]
    fn malformed_filters_are_refused_mqtt_4_7_1_1_and_4_8_2_2() {
        for filter in ["a#", "a/#/b", "#/", "a+", "+a/b", "a/++"] {
            assert_eq!(
                TopicFilter::check(filter),
                Err(TopicError::MisplacedWildcard),
                "{filter}"
            );
        }
        for filter in ["$share//x", "$share/g", "$share/g/", "$share/a+/x"] {
            assert_eq!(
                TopicFilter::check(filter),
                Err(TopicError::MalformedShare),
                "{filter}"
            );
        }
        assert_eq!(TopicFilter::check(""), Err(TopicError::Empty));
        assert!(TopicFilter::check("a\0").is_err());
    }

    #[test]
    fn names_with_wildcards_or_without_characters_are_refused_mqtt_4_7_0_1_and_4_7_3_1() {
        assert_eq!(TopicName::check("a/+"), Err(TopicError::WildcardInName));
        assert_eq!(TopicName::check("#"), Err(TopicError::WildcardInName));
        assert_eq!(TopicName::check(""), Err(TopicError::Empty));
        assert!(TopicName::check("$SYS/\u{feff}").is_ok());
    }

    #[test]
    fn a_topic_may_be_65535_bytes_but_not_65536_mqtt_4_7_3_3() {
        assert!(TopicName::new("a".repeat(65_535)).is_ok());
        assert!(TopicName::new("a".repeat(65_536)).is_err());
    }
}
