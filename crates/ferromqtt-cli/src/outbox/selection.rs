//! Which messages a command is about.

use clap::Args;
use ferromqtt_proto::TopicFilter;
use ferromqtt_store::StoredInfo;

use super::listing::ListedMessage;

/// A Topic Filter on the command line.
pub(crate) fn topic_filter(text: &str) -> Result<TopicFilter, String> {
    TopicFilter::new(text).map_err(|error| error.to_string())
}

#[derive(Args, Debug)]
pub(crate) struct TopicSelection {
    /// Only topics that this filter matches; several add up
    ///
    /// By the rules of subscriptions: + is one level, # all that follow, and
    /// a filter that begins with one of them matches no topic that begins
    /// with $.
    #[arg(short = 't', long = "topic", value_name = "FILTER", value_parser = topic_filter, verbatim_doc_comment)]
    pub(crate) filters: Vec<TopicFilter>,
}

impl TopicSelection {
    /// Whether it takes a message. One that cannot be read is of no known topic.
    pub(crate) fn takes(&self, message: &ListedMessage) -> bool {
        self.filters.is_empty()
            || message.content.as_ref().is_ok_and(|content| {
                let topic = &content.publish.topic;
                self.filters.iter().any(|filter| topic.matches(filter))
            })
    }
}

/// Whether a message is in quarantine, where only those are wanted.
pub(crate) const fn is_wanted(info: &StoredInfo, only_quarantined: bool) -> bool {
    !only_quarantined || info.quarantine.is_some()
}
