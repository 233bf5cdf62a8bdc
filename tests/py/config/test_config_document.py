"""The YAML reader: plain values only, every fault with its place, `${NAME}` as data."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sentinel.config.document import Document, read_document
from sentinel.config.faults import format_path


def messages(document: Document) -> dict[str, str]:
    return {format_path(fault.where): fault.message for fault in document.found}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", {"a": 1}),
        ("a: 1.5", {"a": 1.5}),
        ("a: true", {"a": True}),
        ("a: ~", {"a": None}),
        ("a:", {"a": None}),
        ("a: [x, 'y', \"z\"]", {"a": ["x", "y", "z"]}),
        ("a: '1'", {"a": "1"}),
        ("4: x", {"4": "x"}),
        ("a: &b {c: 1}\nd: *b", {"a": {"c": 1}, "d": {"c": 1}}),
    ],
)
def test_plain_yaml_reads_as_plain_values(text: str, value: object) -> None:
    document = read_document(text, {})
    assert document.value == value
    assert not document.found


@pytest.mark.parametrize("text", ["2024-06-01", "1:30", "0x10", "1_000", "yes", "off", ".inf"])
def test_what_older_yaml_turns_into_something_else_stays_text(text: str) -> None:
    assert read_document(f"a: {text}", {}).value == {"a": text}


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['true']",
        "!!python/name:os.system",
        "!!timestamp 2024-06-01",
        "!!binary aGVsbG8=",
        "!!set {x}",
        "!mine x",
    ],
)
def test_s15_a_tag_constructs_nothing_and_is_a_fault_at_its_place(value: str) -> None:
    document = read_document(f"server:\n  host: {value}", {})
    assert document.value == {"server": {"host": None}}
    assert "tags are not allowed" in messages(document)["server.host"]


def test_b5_a_key_written_twice_is_a_fault_with_both_lines() -> None:
    document = read_document("server:\n  port: 1\n  port: 2\n", {})
    assert messages(document) == {"server.port": "is written twice, again on line 3"}
    assert document.lines["server", "port"] == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("# only this", "is empty"),
        ("a: [", "is not YAML"),
        ("a: 1\n---\nb: 2", "is not YAML"),
        ("a: *nowhere", "is not YAML"),
        ('a: "\\UFFFFFFFF"', "is not YAML"),
        ("[" * 5000, "nested deeper"),
        ("a: \ue000", "private-use"),
        ("a: " + "[" * 60 + "]" * 60, "nested deeper"),
    ],
)
def test_text_that_cannot_be_read_is_one_fault(text: str, problem: str) -> None:
    assert any(problem in message for message in messages(read_document(text, {})).values())


def test_aliases_cannot_make_a_small_file_large() -> None:
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 9))
    document = read_document(f"l0: &l0 [x]\n{levels}", {})
    assert "holds more than" in messages(document)[""]


def test_an_alias_to_its_own_parent_ends() -> None:
    assert read_document("a: &a [*a]", {}).found


def test_variables_are_expanded_in_flow_and_block_and_inside_text() -> None:
    text = "a: {key: ${K}, next: [${K}, 'x-${K}-${L}']}\nb: ${K}\n# ${COMMENT}\n"
    value = read_document(text, {"K": "one", "L": "two"}).value
    assert value == {"a": {"key": "one", "next": ["one", "x-one-two"]}, "b": "one"}


def test_a_doubled_dollar_is_the_text_itself() -> None:
    assert read_document("a: {b: $${K}}", {"K": "v"}).value == {"a": {"b": "${K}"}}


@pytest.mark.parametrize(
    "held", ["1, port: 2", "!!python/name:os.system", "${L}", "]", "\ue000", ""]
)
def test_s15_what_a_variable_holds_is_data_and_never_read_again(held: str) -> None:
    assert read_document("a: ${K}", {"K": held, "L": "no"}).value == {"a": held}


@pytest.mark.parametrize("text", ["${MISSING}", "${}", "${not-a-name}", "${HALF", "${HOME:-x}"])
def test_b5_a_reference_that_cannot_be_followed_is_a_fault_at_its_place(text: str) -> None:
    document = read_document(f'a: ["{text}"]', {"HALF": "x", "HOME": "y"})
    assert list(messages(document)) == ["a[0]"]


def test_s8_a_syntax_fault_does_not_quote_the_file() -> None:
    document = read_document("key: [sk-very-secret-canary\nport: 1", {})
    assert document.found
    assert "canary" not in str(messages(document))


@given(st.text(max_size=200))
def test_no_text_makes_the_reader_raise(text: str) -> None:
    assert isinstance(read_document(text, {"A": "b"}), Document)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text("abc:{}[]#-'\" $\n", max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc.-", min_size=1, max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(VALUES.filter(lambda value: value is not None))
def test_whatever_a_yaml_writer_wrote_is_read_back(value: object) -> None:
    document = read_document(yaml.safe_dump(value), {})
    if not document.found:
        assert document.value == value
    else:
        assert "${" in str(value)
