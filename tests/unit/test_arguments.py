"""Restore parameters as they are typed on the command line."""

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_worker.cli.arguments import add_request


def parameters(*texts):
    parser = argparse.ArgumentParser()
    add_request(parser)
    return parser.parse_args(["latest", *(f"--parameter={text}" for text in texts)]).parameters


def test_none_are_none():
    assert parameters() == {}


def test_they_are_collected_by_target():
    assert parameters("T.a=1", "T#id.a=2", "T.b=3") == {"T": {"a": "1", "b": "3"}, "T#id": {"a": "2"}}
    assert parameters() == {}


@given(
    st.text("OS:.ab", min_size=1),
    st.text("ab.@_-0", min_size=1) | st.none(),
    st.from_regex(r"[a-z_][a-z0-9_]*", fullmatch=True),
    st.text(),
)
def test_every_type_id_and_value_gets_through(resource_type, resource_id, name, value):
    target = resource_type if resource_id is None else f"{resource_type}#{resource_id}"
    assert parameters(f"{target}.{name}={value}") == {target: {name: value}}


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "OS::Nova::Server",
            "restore_name=x",
            "OS::Nova::Server.restore_name",
            "=x",
            ".name=x",
            "#id.name=x",
        ),
        *("T#.name=x", "T#a/b.name=x", "T.9=x", "T#a#b.name=x", "OS Nova.name=x", "T. name=x"),
    ],
)
def test_malformed_ones_are_refused_with_an_example(text, capsys):
    with pytest.raises(SystemExit, match="2"):
        parameters(text)
    assert (
        f"{text!r} is not TYPE.NAME=VALUE or TYPE#ID.NAME=VALUE, such as OS::Nova::Server."
        in capsys.readouterr().err
    )


def test_one_given_twice_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        parameters("T#id.a=1", "T#id.a=1")
    assert "T#id.a is given twice" in capsys.readouterr().err


def networks(*texts):
    parser = argparse.ArgumentParser()
    add_request(parser)
    return parser.parse_args(["latest", *(f"--network={text}" for text in texts)]).networks


def test_networks_are_collected_by_the_old_one():
    assert networks("private=shared net", "6f1c=lan=2") == {"private": "shared net", "6f1c": "lan=2"}
    assert networks() == {}


@pytest.mark.parametrize("texts", [["private"], ["=lan"], ["private="], ["private=a", "private=b"]])
def test_malformed_networks_are_refused(texts, capsys):
    with pytest.raises(SystemExit, match="2"):
        networks(*texts)
    assert "argument --network: " in capsys.readouterr().err
