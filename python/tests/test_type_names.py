"""`scripts/type_names.py`, a part of `make lint`: a name means one type in the crates."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from type_names import ALLOWED, ROOT, check


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write(tmp_path, "crates/mqtt-core/src/options.rs", "pub struct Options {\n    a: u8,\n}\n")
    return tmp_path


def write(tree: Path, file: str, text: str) -> None:
    path = tree / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "struct Options;\n",
        "pub(crate) enum Options {\n    A,\n}\n",
        "pub(in crate::client) trait Options {}\n",
        "type Options<'a> = &'a str;\n",
        "mod inner {\n    pub struct Options;\n}\n",
        "#[cfg(test)]\nmod tests {\n    struct A;\n}\n\nstruct Options;\n",
    ],
)
def test_a_name_of_two_types_is_reported_with_both_places(tree: Path, text: str) -> None:
    write(tree, "crates/client/src/client.rs", text)
    (found,) = check(tree, {})
    line = text[: text.index("Options")].count("\n") + 1
    places = f"crates/client/src/client.rs:{line}, crates/mqtt-core/src/options.rs:1"
    assert found.startswith(f"`Options` is the name of 2 types ({places})")


@pytest.mark.parametrize(
    "text",
    [
        "struct OptionsError;\n",
        "// struct Options;\n",
        "impl Trait for Client {\n    type Options = u8;\n}\n",
        "trait Trait {\n    type Options;\n}\n",
        "#[cfg(test)]\nmod tests {\n    struct Options;\n}\n",
        "#[cfg(test)]\nstruct Options;\n",
    ],
)
def test_what_defines_no_type_of_the_name_is_right(tree: Path, text: str) -> None:
    write(tree, "crates/client/src/client.rs", text)
    assert list(check(tree, {})) == []


@pytest.mark.parametrize("file", ["tests/options.rs", "tests.rs", "a/outbound_tests.rs"])
def test_types_of_tests_do_not_count(tree: Path, file: str) -> None:
    write(tree, f"crates/client/src/{file}", "struct Options;\n")
    assert list(check(tree, {})) == []


@pytest.mark.parametrize(
    "said",
    [
        "/// Where to connect. Wraps [`mqtt_core::Options`].\n",
        "/// Where to connect.\n/// Builds an [`mqtt_core::options::Options`].\n#[derive(Debug)]\n",
        "// Python's form of `mqtt_core::Options`.\n/// Help.\n#[pyclass(\n    frozen,\n)]\n",
    ],
)
def test_a_wrapper_that_says_so_has_the_name_of_what_it_wraps(tree: Path, said: str) -> None:
    write(tree, "crates/client/src/client.rs", f"{said}pub struct Options;\n")
    assert list(check(tree, {})) == []


@pytest.mark.parametrize(
    "said",
    [
        "/// Where to connect.\n",
        "/// Where to connect. Wraps [`other::Options`].\n",
        "/// Where to connect, as [`mqtt_core::Options`].\n",
        "/// Where to connect.\n///\n/// Wraps [`mqtt_core::Options`].\n",
    ],
)
def test_a_wrapper_says_so_in_its_first_paragraph(tree: Path, said: str) -> None:
    write(tree, "crates/client/src/client.rs", f"{said}pub struct Options;\n")
    assert len(list(check(tree, {}))) == 1


@pytest.mark.parametrize("file", ["blocking.rs", "blocking/options.rs"])
def test_a_blocking_form_has_the_name_of_the_other(tree: Path, file: str) -> None:
    write(tree, f"crates/client/src/{file}", "pub struct Options;\n")
    assert list(check(tree, {})) == []


def test_two_blocking_forms_of_one_name_are_reported(tree: Path) -> None:
    for file in ("options.rs", "client.rs"):
        write(tree, f"crates/client/src/blocking/{file}", "pub struct Client;\n")
    (found,) = check(tree, {})
    assert found.startswith("`Client` is the name of 2 types")


def test_one_file_may_define_a_type_for_each_platform(tree: Path) -> None:
    text = "#[cfg(unix)]\nstruct Socket;\n\n#[cfg(not(unix))]\nstruct Socket;\n"
    write(tree, "crates/client/src/client.rs", text)
    assert list(check(tree, {})) == []


def test_a_name_that_is_allowed_is_not_reported_and_one_that_need_not_be_is(tree: Path) -> None:
    write(tree, "crates/client/src/client.rs", "struct Options;\n")
    assert list(check(tree, {"Options": "a reason"})) == []
    assert list(check(tree, {"Options": "a reason", "Client": "a reason"})) == [
        "`Client` is the name of one type: remove it from ALLOWED"
    ]


def test_the_crates_have_one_type_for_each_name() -> None:
    assert list(check(ROOT, ALLOWED)) == []
