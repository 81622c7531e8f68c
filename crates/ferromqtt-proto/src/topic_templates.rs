//! The templates of one subscription.

use crate::topic::TopicName;
use crate::topic_template::{TopicParams, TopicTemplate};

/// The templates that filters of one subscription come of, in their order. A template without names has nothing to say, and is
/// left out.
///
/// ```
/// # use ferromqtt_proto::{TopicName, TopicTemplate, TopicTemplates};
/// let templates = ["room/{room}/temp", "hall/#"].map(|text| TopicTemplate::new(text).unwrap());
/// let templates: TopicTemplates = templates.into_iter().collect();
/// let topic = TopicName::new("room/kitchen/temp").unwrap();
/// assert_eq!(templates.params(&topic).get("room"), Some("kitchen"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicTemplates(Vec<TopicTemplate>);

impl TopicTemplates {
    /// Whether none of them names a level.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the named levels of `topic` are, by the first template whose filter matches it. Empty when none does.
    pub fn params<'a>(&'a self, topic: &'a TopicName) -> TopicParams<'a> {
        (self.0.iter())
            .find_map(|template| template.params(topic))
            .unwrap_or_default()
    }
}

impl Extend<TopicTemplate> for TopicTemplates {
    fn extend<I: IntoIterator<Item = TopicTemplate>>(&mut self, templates: I) {
        let named = |template: &TopicTemplate| template.names().next().is_some();
        self.0.extend(templates.into_iter().filter(named));
    }
}

impl FromIterator<TopicTemplate> for TopicTemplates {
    fn from_iter<I: IntoIterator<Item = TopicTemplate>>(templates: I) -> Self {
        let mut made = Self::default();
        made.extend(templates);
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn templates(texts: &[&str]) -> TopicTemplates {
        let templates = texts.iter().map(|text| TopicTemplate::new(*text).unwrap());
        templates.collect()
    }

    fn params(templates: &TopicTemplates, topic: &str) -> Vec<(String, String)> {
        let topic = TopicName::new(topic).unwrap();
        let params = templates.params(&topic);
        let owned = params
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        owned.collect()
    }

    #[test]
    fn the_first_template_that_matches_names_the_levels() {
        let templates = templates(&["a/{first}", "{second}/b", "a/{third}"]);
        let named = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        assert_eq!(params(&templates, "a/b"), named("first", "b"));
        assert_eq!(params(&templates, "c/b"), named("second", "c"));
        assert_eq!(params(&templates, "c/d"), Vec::new());
    }

    /// Another filter of the subscription may be a template with names for the same topic.
    #[test]
    fn a_template_without_names_stands_in_nobodys_way() {
        assert!(templates(&["a/#", "+/b"]).is_empty());
        let named = templates(&["a/#", "a/{name}"]);
        assert_eq!(params(&named, "a/b"), [("name".to_owned(), "b".to_owned())]);
    }
}
