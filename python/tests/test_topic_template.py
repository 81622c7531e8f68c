"""`TopicTemplate`: filters whose wildcards have names."""

import copy
import pickle

import pytest

from ferromqtt import Topic, TopicTemplate


def test_names_are_wildcards_and_say_what_they_have_matched() -> None:
    template = TopicTemplate("room/{room}/{rest#}")
    assert template.filter == "room/+/#"
    assert template.names == ("room", "rest")
    assert template.params("room/hall/temp/in") == {"room": "hall", "rest": "temp/in"}
    assert template.params(Topic("room/hall")) == {"room": "hall", "rest": ""}
    assert template.params("house/hall") is None


def test_a_wildcard_at_the_front_does_not_match_a_dollar_mqtt_4_7_2_1() -> None:
    assert TopicTemplate("{any}").params("$SYS") is None


def test_a_template_without_names_has_no_params_where_it_matches() -> None:
    assert TopicTemplate("a/+").params("a/b") == {}


def test_values_make_a_topic() -> None:
    template = TopicTemplate("room/{room}/temp")
    assert template.topic(room="hall") == "room/hall/temp"
    assert TopicTemplate("a/{rest#}").topic() == "a"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a/{b", "write {name} for a level, and double a brace that is meant"),
        ("x{a}", "{name} must stand alone in its level, as a wildcard must"),
        ("{1}", "a name must be a letter or _, followed by letters, digits and _"),
        ("{a}/{a}", "each name may come once"),
        ("{a#}/b", "{name#} must stand in the last level"),
        ("a+", "a wildcard must fill its level, and # must be the last level"),
    ],
)
def test_what_is_no_template_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"^Invalid template") as caught:
        TopicTemplate(text)
    assert str(caught.value) == f'Invalid template "{text}": {problem}.'


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, "there is no value for room"),
        ({"romo": "hall"}, "it has no name romo"),
        ({"room": "a/b"}, "the value of room must be one level, without a /"),
    ],
)
def test_values_that_make_no_topic_are_refused(values: dict[str, str], problem: str) -> None:
    with pytest.raises(ValueError, match="Cannot fill in template") as caught:
        TopicTemplate("room/{room}").topic(**values)
    assert str(caught.value) == f'Cannot fill in template "room/{{room}}": {problem}.'


def test_a_number_stands_for_its_digits() -> None:
    assert TopicTemplate("room/{room}/temp").topic(room=7) == "room/7/temp"
    for value in (True, 1.5, None):
        with pytest.raises(TypeError, match="room must be str or int, not "):
            TopicTemplate("room/{room}").topic(room=value)  # type: ignore[arg-type]


def test_wrong_types_are_refused() -> None:
    with pytest.raises(TypeError):
        TopicTemplate(b"a")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        TopicTemplate("{a}").topic(a=b"1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="topic must be str or Topic, not int"):
        TopicTemplate("{a}").params(1)  # type: ignore[arg-type]
    for wrong in ("", "a/+", "\ud800"):
        with pytest.raises(ValueError, match="topic"):
            TopicTemplate("{a}").params(wrong)


def test_a_template_is_a_value() -> None:
    template = TopicTemplate("a/{b}")
    for other in (TopicTemplate("a/{b}"), copy.deepcopy(template), _through_pickle(template)):
        assert other == template
        assert hash(other) == hash(template)
    assert template != TopicTemplate("a/{c}")
    assert str(template) == template.value == "a/{b}"
    assert repr(template) == "TopicTemplate('a/{b}')"


def _through_pickle(template: TopicTemplate) -> object:
    return pickle.loads(pickle.dumps(template))
