"""Topics and wildcards."""

from ferromqtt.topic import MAX_TOPIC_LENGTH, Topic, TopicLike, Wildcard, WildcardLike

__all__ = ["MAX_TOPIC_LENGTH", "Topic", "TopicLike", "Wildcard", "WildcardLike"]
