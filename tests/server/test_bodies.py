"""What is wrong in a body is answered with a clear 4xx, and nothing of it is stored."""

import json
from collections.abc import Callable

import pytest

from observatory import Dataset

from .conftest import Caller, Contents

EARLY = "0001-01-01T00:00:00+10:00"
DEEP = 100_000

# Sentences, and the bodies of an organisation that they are about.
NO_JSON: dict[str, list[str | bytes]] = {
    "a body that is not whole": ["", " ", "{", '{"name":', '{"name":"a', "[" * DEEP, '{"a":' * DEEP],
    "more than one value": ['{"name":"a"}x', '{"name":"a"}{"name":"b"}'],
    "what only looks like JSON": ["{'name':'a'}", '{"name":"a",}', '//\n{"name":"a"}', '{name:"a"}'],
    "numbers that JSON does not have": [
        '{"name":"a","extras":{"b":NaN}}',
        '{"name":"a","extras":{"b":-Infinity}}',
        '{"name":"a","extras":{"b":01}}',
    ],
    "text that is not UTF-8": [
        b'{"name":"\xff"}',
        b'{"name":"\xed\xa0\x80"}',
        '{"name":"a"}'.encode("utf-16"),
        b'{"name":"\xc0\xaf"}',
    ],
    "half a surrogate pair": [
        r'{"name":"\ud800"}',
        r'{"name":"a\ud83dz"}',
        r'{"name":"a","extras":{"b":"\udfff"}}',
        r'{"name":"a","extras":{"\ud800":1}}',
    ],
    "control characters as they are": ['{"name":"\x01"}', '{"name":"a\nb"}'],
    "a byte order mark": ['\ufeff{"name":"a"}'],
}

# The place that is named, and the bodies of an organisation in which it is wrong.
WRONG: list[tuple[str, list[str]]] = [
    ("body", ["null", "[]", "5", '"a"', "true", "[[]]"]),
    ("name", ["{}", '{"extras":{}}']),
    ("name", [f'{{"name":{wrong}}}' for wrong in ("null", "5", "[]", "{}", "true", '""')]),
    ("name", [f'{{"name":"{wrong}"}}' for wrong in (r"\u0000", r"a\nb", r"a\u007f", r"\u0085", "x" * 251)]),
    ("nmae", ['{"name":"a","nmae":"b"}', '{"nmae":"b"}']),
    ("Name", ['{"Name":"a"}']),
    (
        "id",
        [f'{{"name":"a","id":{wrong}}}' for wrong in ("-1", "0", str(2**63), "1.0", "true", '"1"', "null")],
    ),
    ("id", ['{"name":"a","id":' + "9" * 200_000 + "}"]),
    ("version", ['{"name":"a","version":0}', '{"name":"a","version":"1"}']),
    ("created", ['{"name":"a","created":"2021-01-01T00:00:00"}', f'{{"name":"a","created":"{EARLY}"}}']),
    ("extras", [f'{{"name":"a","extras":{wrong}}}' for wrong in ("null", "[]", '"a"', "1")]),
    ("extras", [f'{{"name":"a","extras":{{"b":{wrong}}}}}' for wrong in (str(2**63), str(-(2**63) - 1))]),
    ("extras", [r'{"name":"a","extras":{"b":"\u0000"}}', r'{"name":"a","extras":{"\u0000":1}}']),
    ("extras", ['{"name":"a","extras":{"b":"' + "x" * 2**16 + '"}}']),
    ("extras", ['{"name":"a","extras":' + '{"b":' * 17 + "1" + "}" * 17 + "}"]),
    ("extras", ['{"name":"a","extras":{"b":' + "[" * 17 + "]" * 17 + "}}"]),
    ("extras[...]", [f'{{"name":"a","extras":{{"b":{wrong}}}}}' for wrong in ("1e400", "9" * 200_000)]),
    (
        "body",
        [
            '{"name":"a","extras":' + '{"b":' * DEEP + "1" + "}" * DEEP + "}",
            '{"name":"a","extras":{"b":' + "[" * DEEP + "]" * DEEP + "}}",
        ],
    ),
]

TAGS = ["x", "[1]", '["a", null]', '{"a": 1}', "null", "[NaN]", '[""]', r'["\u0000"]', r'["\ud800"]']
TAGS += [r'["a\nb"]', json.dumps(["x" * 251]), "[" * DEEP, json.dumps([f"tag {i}" for i in range(10_000)])]


def test_what_is_no_json_is_refused(caller: Caller, contents: Callable[[], Contents]) -> None:
    before = contents()
    for sentence, bodies in NO_JSON.items():
        answered = {str(body)[:40]: caller.problem("POST", "/organisations", body).status for body in bodies}
        assert set(answered.values()) <= {400, 422}, (sentence, answered)

    assert contents() == before


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_what_is_wrong_in_a_record_is_named(
    caller: Caller, contents: Callable[[], Contents], method: str
) -> None:
    assert caller.send("POST", "/organisations", '{"name": "kept"}').status_code == 201
    before = contents()
    path = "/organisations" if method == "POST" else "/organisations/1"
    # What is not given of a change stays as it is.
    bodies = [(place, body) for place, wrong in WRONG for body in wrong]
    if method == "PATCH":
        bodies = [(place, body) for place, body in bodies if body not in ("{}", '{"extras":{}}')]
    problems = [(place, body[:60], caller.problem(method, path, body)) for place, body in bodies]

    assert [told for told in problems if told[2].status != 422 or told[0] not in told[2].fields] == []
    assert contents() == before


def test_wrong_tags_are_refused(caller: Caller, dataset: Dataset) -> None:
    for tags in TAGS:
        problem = caller.problem("PATCH", "/workflows/1", json.dumps({"tags": tags}))
        assert (problem.status, problem.fields) == (422, {"tags"}), tags[:40]


def test_tags_that_are_no_text_are_told_how_to_be_one(caller: Caller, dataset: Dataset) -> None:
    for path, body in (("/workflows/1", {"tags": ["a"]}), ("/datasets/1", {"workflow": {"tags": None}})):
        problem = caller.problem("PATCH", path, json.dumps(body))
        assert problem.status == 422
        [said] = json.loads(problem.text)["fields"].values()
        assert said == 'must be a text that holds a JSON list, as in "[\\"sales\\"]"'


def test_a_body_that_is_not_declared_as_json_is_not_read(
    caller: Caller, contents: Callable[[], Contents]
) -> None:
    before = contents()
    for kind in (
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        ";;",
        "*/*",
    ):
        assert caller.problem("POST", "/organisations", '{"name": "a"}', kind).status == 415

    assert contents() == before


def test_of_a_key_that_is_there_twice_the_last_one_counts(caller: Caller) -> None:
    created = caller.send("POST", "/organisations", '{"name": "a", "name": "b"}').json()

    assert created["name"] == "b"
    assert caller.problem("POST", "/organisations", '{"name": "c", "name": 1}').fields == {"name"}
