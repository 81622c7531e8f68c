//! Topic Filters whose wildcards have names.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::error::TopicError;
use crate::shown::peer_text;
use crate::topic::{TopicFilter, TopicName};

/// A Topic Filter whose wildcards have names: `room/{room}/temp` subscribes to `room/+/temp`, and says which level of a topic
/// is the `room`.
///
/// `{name}` stands for one level, and `{name#}`, in the last place, for all levels that are left, of which there may be none.
/// A name is a letter or `_` followed by letters, digits and `_`, all of ASCII, and comes once. `+` and `#` are wildcards
/// without a name, as in a filter. A brace that is meant is doubled: `{{` and `}}`.
///
/// ```
/// # use ferromqtt_proto::{TopicName, TopicTemplate};
/// let template: TopicTemplate = "room/{room}/{rest#}".parse()?;
/// assert_eq!(template.filter(), "room/+/#");
///
/// let topic = TopicName::new("room/kitchen/temp/in")?;
/// let params = template.params(&topic).expect("the filter matches");
/// assert_eq!(params.get("room"), Some("kitchen"));
/// assert_eq!(params.get("rest"), Some("temp/in"));
///
/// assert_eq!(template.topic(&[("room", "hall"), ("rest", "temp")])?, "room/hall/temp");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TopicTemplate {
    text: String,
    filter: TopicFilter,
    /// Of the filter that topics are matched with.
    levels: Vec<TemplateLevel>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum TemplateLevel {
    /// This text, or a wildcard without a name.
    Plain(String),
    /// One level with this name.
    One(String),
    /// All levels from here, with this name.
    Rest(String),
}

/// A text that cannot be a [`TopicTemplate`], or values that make no topic of one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("template \"{text}\": {problem}")]
#[non_exhaustive]
pub struct TemplateError {
    /// The text, shortened to 200 bytes, its control characters escaped.
    pub text: Box<str>,
    /// What is wrong with it, or with the values.
    pub problem: TemplateProblem,
}

/// What is wrong with a template, or with the values for its names.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TemplateProblem {
    /// A brace that belongs to no `{name}`.
    #[error("write {{name}} for a level, and double a brace that is meant")]
    Brace,
    /// A `{name}` that shares its level with something.
    #[error("{{name}} must stand alone in its level, as a wildcard must")]
    SharesLevel,
    /// A name of other characters than letters, digits and `_`.
    #[error("a name must be a letter or _, followed by letters, digits and _")]
    Name,
    /// A name that comes twice.
    #[error("each name may come once")]
    NameTwice,
    /// A `{name#}` before the last level.
    #[error("{{name#}} must stand in the last level")]
    RestBeforeEnd,
    /// There is no value for this name.
    #[error("there is no value for {0}")]
    NoValue(Box<str>),
    /// There is a value for this name, which the template does not have.
    #[error("it has no name {0}")]
    NoSuchName(Box<str>),
    /// The value for this name is more than one level.
    #[error("the value of {0} must be one level, without a /")]
    ValueHasLevels(Box<str>),
    /// A wildcard has no name, so nothing can be filled in for it.
    #[error("its wildcards + and # have no names: nothing can be filled in for them")]
    Unnamed,
    /// The Topic Filter is none, or the values make no Topic Name.
    #[error(transparent)]
    Topic(#[from] TopicError),
}

/// What the named levels of a topic are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicParams<'a>(Vec<(&'a str, &'a str)>);

impl<'a> TopicParams<'a> {
    /// The level, or the levels, with this name.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        (self.0.iter()).find_map(|(known, value)| (*known == name).then_some(*value))
    }

    /// Names and values, in the order of the template.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        self.0.iter().copied()
    }
}

impl TopicTemplate {
    /// Checks a template.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: impl Into<String>) -> Result<Self, TemplateError> {
        let text = text.into();
        match Self::parse(&text) {
            Ok((filter, levels)) => Ok(Self {
                text,
                filter,
                levels,
            }),
            Err(problem) => Err(error(&text, problem)),
        }
    }

    fn parse(text: &str) -> Result<(TopicFilter, Vec<TemplateLevel>), TemplateProblem> {
        // Levels of a Shared Subscription before its filter are no levels of topics.
        let mut share_levels = 2 * usize::from(text.starts_with("$share/"));
        let mut share = String::new();
        let mut levels = Vec::new();
        for level in text.split('/') {
            if share_levels > 0 {
                share_levels -= 1;
                share = share + level + "/";
                continue;
            }
            if let Some(TemplateLevel::Rest(_)) = levels.last() {
                return Err(TemplateProblem::RestBeforeEnd);
            }
            levels.push(TemplateLevel::parse(level)?);
        }
        let names = || levels.iter().filter_map(TemplateLevel::name);
        if names()
            .enumerate()
            .any(|(at, name)| names().take(at).any(|earlier| earlier == name))
        {
            return Err(TemplateProblem::NameTwice);
        }
        let filter: Vec<_> = levels.iter().map(TemplateLevel::as_filter).collect();
        let filter = TopicFilter::new(share + &filter.join("/"))?;
        Ok((filter, levels))
    }

    /// The template as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The filter to subscribe to.
    pub const fn filter(&self) -> &TopicFilter {
        &self.filter
    }

    /// The names, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.levels.iter().filter_map(TemplateLevel::name)
    }

    /// What the named levels of `topic` are; `None` when the [filter](Self::filter) does not match it.
    pub fn params<'a>(&'a self, topic: &'a TopicName) -> Option<TopicParams<'a>> {
        if !topic.matches(&self.filter) {
            return None;
        }
        let mut params = Vec::new();
        let mut rest = Some(topic.as_str());
        for level in &self.levels {
            let (first, behind) = match rest {
                Some(rest) => (rest.split_once('/')).map_or((rest, None), |(a, b)| (a, Some(b))),
                None => ("", None), // `#` matches the level above it too
            };
            match level {
                TemplateLevel::Plain(_) => {}
                TemplateLevel::One(name) => params.push((name.as_str(), first)),
                TemplateLevel::Rest(name) => params.push((name.as_str(), rest.unwrap_or(""))),
            }
            rest = behind;
        }
        Some(TopicParams(params))
    }

    /// The topic with these values, of names and what to put in their place. A `{name#}` whose value is empty, or that has
    /// none, is left out with the `/` before it.
    ///
    /// # Errors
    /// A name has no value or is not in the template, a value is not one level, or a wildcard has no name.
    pub fn topic(&self, values: &[(&str, &str)]) -> Result<TopicName, TemplateError> {
        self.fill_in(values)
            .map_err(|problem| error(&self.text, problem))
    }

    fn fill_in(&self, values: &[(&str, &str)]) -> Result<TopicName, TemplateProblem> {
        for (name, _) in values {
            if self.names().all(|known| known != *name) {
                return Err(TemplateProblem::NoSuchName(peer_text(name, &[]).into()));
            }
        }
        let value_of = |name: &str| {
            (values.iter()).find_map(|(known, value)| (*known == name).then_some(*value))
        };
        let mut levels = Vec::with_capacity(self.levels.len());
        for level in &self.levels {
            match level {
                TemplateLevel::Plain(text) if matches!(text.as_str(), "+" | "#") => {
                    return Err(TemplateProblem::Unnamed);
                }
                TemplateLevel::Plain(text) => levels.push(text.as_str()),
                TemplateLevel::One(name) => {
                    let no_value = || TemplateProblem::NoValue(name.as_str().into());
                    let value = value_of(name).ok_or_else(no_value)?;
                    if value.contains('/') {
                        return Err(TemplateProblem::ValueHasLevels(name.as_str().into()));
                    }
                    levels.push(value);
                }
                TemplateLevel::Rest(name) => {
                    levels.extend(value_of(name).filter(|rest| !rest.is_empty()));
                }
            }
        }
        Ok(TopicName::new(levels.join("/"))?)
    }
}

fn error(text: &str, problem: TemplateProblem) -> TemplateError {
    let text = peer_text(text, &[]).into();
    TemplateError { text, problem }
}

impl TemplateLevel {
    fn parse(level: &str) -> Result<Self, TemplateProblem> {
        let mut plain = String::new();
        let mut name = None;
        let mut rest = level;
        while let Some(at) = rest.find(['{', '}']) {
            plain += &rest[..at];
            let from_brace = &rest[at..];
            if let Some(behind) = from_brace.strip_prefix("{{") {
                plain.push('{');
                rest = behind;
            } else if let Some(behind) = from_brace.strip_prefix("}}") {
                plain.push('}');
                rest = behind;
            } else {
                let named = from_brace.strip_prefix('{');
                let named = named.and_then(|named| named.split_once('}'));
                let (found, behind) = named.ok_or(TemplateProblem::Brace)?;
                if name.replace(found).is_some() {
                    return Err(TemplateProblem::SharesLevel);
                }
                rest = behind;
            }
        }
        plain += rest;
        let Some(name) = name else {
            return Ok(Self::Plain(plain));
        };
        if !plain.is_empty() {
            return Err(TemplateProblem::SharesLevel);
        }
        let one = name.strip_suffix('#');
        match is_name(one.unwrap_or(name)) {
            false => Err(TemplateProblem::Name),
            true => Ok(one.map_or_else(|| Self::One(name.into()), |name| Self::Rest(name.into()))),
        }
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Plain(_) => None,
            Self::One(name) | Self::Rest(name) => Some(name),
        }
    }

    fn as_filter(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::One(_) => "+",
            Self::Rest(_) => "#",
        }
    }
}

fn is_name(name: &str) -> bool {
    let is_letter = |it: char| it == '_' || it.is_ascii_alphabetic();
    name.starts_with(is_letter) && name.chars().all(|it| is_letter(it) || it.is_ascii_digit())
}

impl FromStr for TopicTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        Self::new(text)
    }
}

impl fmt::Display for TopicTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for TopicTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn template(text: &str) -> TopicTemplate {
        TopicTemplate::new(text).unwrap()
    }

    fn problem(text: &str) -> TemplateProblem {
        TopicTemplate::new(text).unwrap_err().problem
    }

    fn params(text: &str, topic: &str) -> Option<Vec<(String, String)>> {
        let topic = TopicName::new(topic).unwrap();
        let template = template(text);
        let params = template.params(&topic)?;
        Some(
            params
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }

    fn pairs(expected: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(
            expected
                .iter()
                .map(|&(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }

    #[test]
    fn names_are_wildcards_and_tell_what_they_have_matched() {
        assert_eq!(template("room/{room}/temp").filter(), "room/+/temp");
        assert_eq!(template("{a}/{b#}").filter(), "+/#");
        assert_eq!(
            params("room/{room}/temp", "room/hall/temp"),
            pairs(&[("room", "hall")])
        );
        assert_eq!(params("room/{room}/temp", "room/hall"), None);
        assert_eq!(
            params("{a}/+/{c}", "1/2/3"),
            pairs(&[("a", "1"), ("c", "3")])
        );
        assert_eq!(params("{a}/#", "1/2/3"), pairs(&[("a", "1")]));
        assert_eq!(params("a/{a}", "a/"), pairs(&[("a", "")]));
        assert_eq!(params("a/{rest#}", "a/b/c"), pairs(&[("rest", "b/c")]));
        assert_eq!(params("a/{rest#}", "a"), pairs(&[("rest", "")]));
        assert_eq!(params("{rest#}", "a/b"), pairs(&[("rest", "a/b")]));
        assert_eq!(params("{any}", "$SYS"), None); // MQTT-4.7.2-1
        assert_eq!(params("plain", "plain"), pairs(&[]));
    }

    #[test]
    fn a_shared_subscription_has_names_behind_its_share_mqtt_4_8_2_1() {
        let shared = template("$share/{g}/a/{b}");
        assert_eq!(shared.filter(), "$share/{g}/a/+");
        assert_eq!(shared.names().collect::<Vec<_>>(), ["b"]);
        assert_eq!(
            params("$share/g/{a}/{rest#}", "1/2/3"),
            pairs(&[("a", "1"), ("rest", "2/3")])
        );
        let malformed = TemplateProblem::Topic(TopicError::MalformedShare);
        assert_eq!(problem("$share/g"), malformed);
        assert_eq!(problem("$share//a"), malformed);
    }

    #[test]
    fn doubled_braces_are_braces() {
        assert_eq!(template("{{a}}/{b}").filter(), "{a}/+");
        assert_eq!(params("{{a}}/{b}", "{a}/1"), pairs(&[("b", "1")]));
        assert_eq!(template("{{a}}").topic(&[]).unwrap(), "{a}");
    }

    #[test]
    fn a_text_that_is_no_template_is_refused_with_what_is_wrong_and_the_text() {
        use TemplateProblem::{Brace, Name, NameTwice, RestBeforeEnd, SharesLevel};
        for (text, expected) in [
            ("a/{b", Brace),
            ("a/b}", Brace),
            ("{a/b}", Brace),
            ("}{", Brace),
            ("x{a}", SharesLevel),
            ("{a}{b}", SharesLevel),
            ("{a}}}", SharesLevel),
            ("{}", Name),
            ("{#}", Name),
            ("{1a}", Name),
            ("{a b}", Name),
            ("{a##}", Name),
            ("{a{}", Name),
            ("{a}/{a}", NameTwice),
            ("{a}/{a#}", NameTwice),
            ("{a#}/b", RestBeforeEnd),
            ("", TopicError::Empty.into()),
            ("a+/{b}", TopicError::MisplacedWildcard.into()),
        ] {
            assert_eq!(problem(text), expected, "{text}");
        }
        let error = TopicTemplate::new("a\n{b").unwrap_err();
        let shown =
            "template \"a\\n{b\": write {name} for a level, and double a brace that is meant";
        assert_eq!(error.to_string(), shown);
    }

    #[test]
    fn values_make_a_topic_and_what_is_missing_or_too_much_is_named() {
        let room = template("room/{room}/{rest#}");
        let topic = |values: &[(&str, &str)]| room.topic(values);
        assert_eq!(
            topic(&[("rest", "a/b"), ("room", "hall")]).unwrap(),
            "room/hall/a/b"
        );
        assert_eq!(topic(&[("room", "hall")]).unwrap(), "room/hall");
        let text = |values: &[(&str, &str)]| topic(values).unwrap_err().to_string();
        let begin = "template \"room/{room}/{rest#}\": ";
        assert_eq!(text(&[]), format!("{begin}there is no value for room"));
        assert_eq!(
            text(&[("romo", "hall")]),
            format!("{begin}it has no name romo")
        );
        assert_eq!(
            text(&[("room", "a/b")]),
            format!("{begin}the value of room must be one level, without a /")
        );
        assert_eq!(
            topic(&[("room", "+")]).unwrap_err().problem,
            TopicError::WildcardInName.into()
        );
        let unnamed = template("a/+/{b}").topic(&[("b", "c")]).unwrap_err();
        assert_eq!(unnamed.problem, TemplateProblem::Unnamed);
    }

    proptest! {
        #[test]
        fn a_topic_made_of_values_gives_them_back(
            levels in vec(select(vec!["a", "", "{{", "$x"]), 0..4),
            values in vec("[a-z $]{0,3}", 1..5),
            rest in "[a-z/]{0,5}",
        ) {
            let names: Vec<_> = (0..values.len()).map(|number| format!("n{number}")).collect();
            let mut text = levels.join("/");
            for name in &names {
                text = format!("{text}/{{{name}}}");
            }
            let template = TopicTemplate::new(text + "/{rest#}").unwrap();
            let mut given: Vec<_> =
                names.iter().map(String::as_str).zip(values.iter().map(String::as_str)).collect();
            given.push(("rest", &rest));
            let topic = template.topic(&given).unwrap();
            let params = template.params(&topic).unwrap();
            prop_assert_eq!(params.iter().collect::<Vec<_>>(), given);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[a{}#+/$]{0,12}", topic in "[a{}/$]{1,8}") {
            if let (Ok(template), Ok(topic)) = (TopicTemplate::new(text), TopicName::new(topic)) {
                prop_assert_eq!(template.params(&topic).is_some(), topic.matches(template.filter()));
            }
        }
    }
}
