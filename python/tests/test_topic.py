"""Topic and Wildcard (contract 1.7)."""

import dataclasses
import itertools

import pytest

from ferromqtt import Topic, Wildcard
from ferromqtt.topic import MAX_TOPIC_LENGTH


@pytest.mark.parametrize(
    ("topic", "wildcard"),
    [
        ("a/b/c", "a/b/c"),
        ("a/b/c", "a/+/c"),
        ("a/b/c", "+/+/+"),
        ("a/b/c", "#"),
        ("a/b/c", "a/#"),
        ("a/b/c", "a/b/c/#"),
        ("a", "a/#"),
        ("a", "#"),
        ("a//c", "a/+/c"),
        ("/a", "+/a"),
        ("/", "+/+"),
        ("a/", "a/+"),
        ("a/b/c", "$share/group/a/b/c"),
        ("a/b/c", "$share/group/a/+/c"),
        ("b/c", "$share/a/b/c"),
        ("$SYS/uptime", "#"),
        ("$SYS/uptime", "+/uptime"),
        ("ä/温度", "+/温度"),
    ],
)
def test_topic_matches_1_7(topic: str, wildcard: str) -> None:
    assert Topic(topic).matches(wildcard)
    assert Topic(topic).matches(Wildcard(wildcard))


@pytest.mark.parametrize(
    ("topic", "wildcard"),
    [
        ("a/b/c", "a/b"),
        ("a/b", "a/b/c"),
        ("a/b/c", "a/+"),
        ("a/b/c", "+"),
        ("a", "a/+"),
        ("a", "a/"),
        ("/a", "+"),
        ("A/b", "a/b"),
        ("ab", "a"),
        ("b", "a/#"),
        ("a/b/c", "$share/a/b/c"),
        ("a/b/c", "test/group/a/b/c"),
    ],
)
def test_topic_does_not_match_1_7(topic: str, wildcard: str) -> None:
    assert not Topic(topic).matches(wildcard)
    assert not Topic(topic).matches(Wildcard(wildcard))


def test_topic_matches_a_topic_object_1_7() -> None:
    assert Topic("a/b").matches(Topic("a/b"))
    assert not Topic("a/b").matches(Topic("a/c"))


def test_a_very_deep_topic_matches_1_7() -> None:
    depth = 20_000
    topic = Topic("/".join("a" * depth))
    assert topic.matches("/".join("a" * depth))
    assert topic.matches("/".join("+" * (depth - 1)) + "/#")
    assert not topic.matches("/".join("a" * (depth - 1)))


@pytest.mark.parametrize("value", ["", "a/+/b", "a/#", "+", "#", "a+", "a" * 65536])
def test_invalid_topic_is_a_value_error_1_7(value: str) -> None:
    with pytest.raises(ValueError, match=r"^Invalid topic: ") as caught:
        Topic(value)
    assert str(caught.value) == f"Invalid topic: {value}"


@pytest.mark.parametrize("value", ["", "a/#/b", "#/", "a#", "a/b#", "a+/b", "a/+b", "a" * 65536])
def test_invalid_wildcard_is_a_value_error_1_7(value: str) -> None:
    with pytest.raises(ValueError, match=r"^Invalid wildcard: ") as caught:
        Wildcard(value)
    assert str(caught.value) == f"Invalid wildcard: {value}"
    with pytest.raises(ValueError, match=r"^Invalid wildcard: "):
        Topic("a").matches(value)


@pytest.mark.parametrize("value", [None, 1, b"a", ["a"]])
def test_anything_but_a_string_is_a_type_error_1_7(value: object) -> None:
    with pytest.raises(TypeError, match=r"^Topic must be of type str, not [a-zA-Z]+$"):
        Topic(value)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^Wildcard must be of type str, not [a-zA-Z]+$"):
        Wildcard(value)  # type: ignore[arg-type]


def test_the_longest_topic_is_counted_in_characters_1_7() -> None:
    assert MAX_TOPIC_LENGTH == 65535
    assert Topic("a" * MAX_TOPIC_LENGTH).value == "a" * MAX_TOPIC_LENGTH
    assert Wildcard("ä" * MAX_TOPIC_LENGTH).value == "ä" * MAX_TOPIC_LENGTH


def test_value_str_hash_and_equality_1_7() -> None:
    topic, wildcard = Topic("a/b"), Wildcard("a/b")
    assert (topic.value, str(topic)) == ("a/b", "a/b")
    assert (wildcard.value, str(wildcard)) == ("a/b", "a/b")
    assert topic == Topic("a/b")
    assert wildcard == Wildcard("a/b")
    assert topic != wildcard
    assert topic != "a/b"
    assert topic != Topic("a/c")
    assert {topic: 1, wildcard: 2} == {Topic("a/b"): 1, Wildcard("a/b"): 2}
    assert isinstance(topic, Wildcard)
    assert not isinstance(wildcard, Topic)
    assert repr(topic) == "Topic(value='a/b')"


def test_both_are_frozen_dataclasses_1_7() -> None:
    for instance in (Topic("a"), Wildcard("a")):
        assert [field.name for field in dataclasses.fields(instance)] == ["value"]
        with pytest.raises(dataclasses.FrozenInstanceError):
            instance.value = "b"  # type: ignore[misc]


@pytest.mark.parametrize("kind", [Topic, Wildcard])
def test_the_text_of_an_error_has_escapes_for_what_does_not_print(kind: type[Wildcard]) -> None:
    with pytest.raises(ValueError, match=r"^Invalid \w+: a\\x1b\[31m\\n#b$"):
        kind("a\x1b[31m\n#b")


def matches_as_worded(topic: str, wildcard: str) -> bool:
    """As aiomqtt says it, level by level."""
    wanted, levels = wildcard.split("/"), topic.split("/")
    if wanted[0] == "$share":
        del wanted[:2]
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index == len(levels) or level not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)


def test_any_topic_and_wildcard_of_few_levels_match_as_worded() -> None:
    def paths(*levels: str) -> list[str]:
        chosen = itertools.chain(*(itertools.product(levels, repeat=it) for it in (1, 2, 3)))
        return ["/".join(path) for path in chosen]

    topics = [Topic(path) for path in paths("", "a", "ä", "$share") if path]
    wildcards = 0
    for path in paths("", "a", "ä", "+", "#", "a+", "$share"):
        levels = path.split("/")
        if not path or "a+" in levels or "#" in levels[:-1]:
            with pytest.raises(ValueError, match=r"^Invalid wildcard: "):
                Wildcard(path)
            continue
        wildcards += 1
        for topic in topics:
            assert topic.matches(path) == matches_as_worded(topic.value, path), (topic, path)
    assert wildcards > 100
