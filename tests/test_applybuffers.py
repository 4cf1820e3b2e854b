"""The buffers of apply messages: those that ipyparallel makes are described, those that nobody may send are refused."""

import functools
import operator
import pickle
from collections import OrderedDict, deque
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ipyparallel.serialize import pack_apply_message, serialize_object, unpack_apply_message

from protocol import pickles
from protocol.applybuffers import Function, Info, describe_reply, describe_request, pack_object, pack_request
from protocol.errors import RemoteProtocolError
from protocol.pickles import Dictionary, Global, Instance, PickleError, trace, write

BIG = b"b" * (1 << 20)


def shifted(x, by=1):
    return x + by


def closure(offset):
    def inner(x):
        return x + offset

    return inner


def roles(call):
    return [
        (part.role, part.position if part.keyword is None else part.keyword, part.out_of_band) for part in call.parts
    ]


def test_a_call_without_arguments_has_two_buffers():
    call = describe_request(pack_apply_message(operator.add, (), {}))
    assert call.function == Function("reference", "_operator.add")
    assert call.info == Info(0, 0, ())
    assert roles(call) == [("function", None, False), ("info", None, False)]


def test_arguments_and_keywords_are_told_apart():
    call = describe_request(pack_apply_message(operator.add, (1, [2, "x"]), {"b": {"k": 1}, "a": None}))
    assert call.info == Info(2, 2, ("a", "b"))
    assert roles(call)[2:] == [
        ("argument", 0, False),
        ("argument", 1, False),
        ("keyword", "a", False),
        ("keyword", "b", False),
    ]
    assert [part.holds for part in call.parts[2:]] == ["1", "list of 2", "None", "dict of 1"]


def test_large_pieces_follow_the_pickle_they_were_taken_from():
    sent = pack_apply_message(len, (BIG, [b"small", BIG, memoryview(BIG)]), {"key": {"z": BIG, "a": b"small"}})
    call = describe_request(sent)
    assert call.info == Info(2, 5, ("key",))
    assert roles(call)[2:] == [
        ("argument", 0, False),
        ("argument", 0, True),
        ("argument", 1, False),
        ("argument", 1, True),
        ("argument", 1, True),
        ("keyword", "key", False),
        ("keyword", "key", True),
    ]
    assert [part.size for part in call.parts if part.out_of_band] == [len(BIG)] * 4


def test_pieces_in_long_containers_stay_where_they_are():
    call = describe_request(pack_apply_message(len, ([BIG] * 64,), {}))
    assert call.info.narg_bufs == 1


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (len, Function("reference", "builtins.len")),
        (shifted, Function("canned", f"{__name__}.shifted")),
        (closure(3), Function("canned", f"{__name__}.inner")),
        (lambda: None, Function("canned", f"{__name__}.<lambda>")),
        (functools.partial(operator.add, 1), Function("canned", "_operator.add")),
        (functools.partial(shifted, BIG), Function("canned", f"{__name__}.shifted")),
        (operator.attrgetter("x"), Function("other", "an object made by operator.attrgetter")),
    ],
)
def test_a_function_is_named_without_loading_it(function, expected):
    assert describe_request(pack_apply_message(function, (1,), {})).function == expected


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_pickle_protocol_is_traced(protocol):
    value = {"a": [1, -2, 3.5, True, None, "é", b"x", 1 << 70, (), (1, 2, 3, 4), {5}], "b": operator.add}
    traced = trace(pickle.dumps(value, protocol))
    assert isinstance(traced, Dictionary)
    assert traced.get("b") == Global("_operator", "add")
    items = traced.get("a")
    assert items[:6] == [1, -2, 3.5, True, None, "é"]
    assert items[7:10] == [1 << 70, (), (1, 2, 3, 4)]


def test_objects_are_never_built():
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    sent = [pickle.dumps(Trap()), pickle.dumps({"nargs": 0, "narg_bufs": 0, "kw_keys": []})]
    assert describe_request(sent).function.by == "other"


def test_results_are_described():
    parts = describe_reply(serialize_object([1, BIG]))
    assert [(part.role, part.out_of_band) for part in parts] == [("result", False), ("result", True)]


def test_several_results_follow_each_other():
    sent = [*serialize_object(BIG), *serialize_object(None), *serialize_object({"a": BIG})]
    assert [part.position for part in describe_reply(sent, results=3)] == [0, 0, 1, 2, 2]
    assert describe_reply(sent, results=None) == describe_reply(sent, results=3)


def test_our_buffers_are_loaded_by_ipyparallel():
    sent = pack_request(Global("operator", "add"), BIG, [1, b"x", BIG], keywords={"b": -3, "a": {"k": BIG, "j": 2.5}})
    function, args, keywords = unpack_apply_message(sent)
    assert function is operator.add
    assert args == (BIG, [1, b"x", BIG])
    assert keywords == {"a": {"j": 2.5, "k": BIG}, "b": -3}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
        max_leaves=12,
    )
)
def test_written_pickles_load_to_what_was_written(value):
    assert pickle.loads(write(value)) == value


def test_only_plain_values_are_written():
    with pytest.raises(TypeError, match="set"):
        write({1})


GOOD = pack_request(Global("operator", "add"), b"x" * 2000, 2, keywords={"k": [b"y" * 2000]})
INFO = {"nargs": 0, "narg_bufs": 0, "kw_keys": []}


@pytest.mark.parametrize(
    ("buffers", "path", "rule", "expected"),
    [
        ([], "", "apply.request-buffers-at-least-two", "2 buffers at least"),
        (GOOD[:1], "", "apply.request-buffers-at-least-two", "2 buffers at least"),
        ([b"", GOOD[1]], "[0]", "apply.request-buffers", "the pickle of the function"),
        ([b"garbage", GOOD[1]], "[0]", "apply.request-buffers", "the pickle of the function"),
        ([GOOD[0][:-1], GOOD[1]], "[0]", "apply.request-buffers", "the pickle of the function"),
        ([GOOD[0], b"garbage"], "[1]", "apply.request-buffers", "of plain values"),
        ([GOOD[0], GOOD[0]], "[1]", "apply.request-buffers", "of plain values"),
        ([GOOD[0], write([1])], "[1]", "apply.request-buffers", "the info dictionary"),
        (GOOD[:3], "[3]", "apply.argument-counts-true", "3 buffers of arguments"),
        (GOOD[:-2], "[5]", "apply.argument-counts-true", "the pickle of keyword argument 'k'"),
        (GOOD[:-1], "[5]", "apply.request-buffers", "1 buffers taken out of keyword argument 'k'"),
        ([*GOOD, b"more"], "[7]", "apply.argument-counts-true", "no further buffer"),
        (
            [GOOD[0], write(INFO | {"narg_bufs": 1}), write(1)],
            "[2]",
            "apply.argument-counts-true",
            "no further buffer among",
        ),
        ([GOOD[0], write(INFO | {"nargs": 10**18})], "[2]", "apply.argument-counts-true", "the pickle of argument 0"),
    ],
)
def test_wrong_buffers_are_refused(buffers, path, rule, expected):
    with pytest.raises(RemoteProtocolError) as caught:
        describe_request(buffers)
    (problem,) = caught.value.problems
    assert (problem.frame, problem.path, problem.rule) == ("buffers", path, rule)
    assert expected in problem.expected


def test_every_problem_of_the_info_dictionary_is_listed():
    with pytest.raises(RemoteProtocolError) as caught:
        describe_request([GOOD[0], write({"nargs": -1, "narg_bufs": "2", "kw_keys": [None]})])
    assert [(problem.path, problem.found) for problem in caught.value.problems] == [
        ("[1]", "-1"),
        ("[1]", "str of 1"),
        ("[1]", "list of 1"),
    ]


def test_arguments_and_keywords_are_judged_apart():
    with pytest.raises(RemoteProtocolError) as caught:
        describe_request([GOOD[0], write({"nargs": 1, "narg_bufs": 1, "kw_keys": ["k"]}), b"bad", b"worse"])
    assert [problem.path for problem in caught.value.problems] == ["[2]", "[3]"]


@pytest.mark.parametrize(
    ("buffers", "results", "path"),
    [
        ([], 1, ""),
        ([b"x"], 1, "[0]"),
        ([write(1), write(2)], 1, "[1]"),
        ([*pack_object(b"x" * 2000), write(1)], 3, "[3]"),
    ],
)
def test_wrong_results_are_refused(buffers, results, path):
    with pytest.raises(RemoteProtocolError) as caught:
        describe_reply(buffers, results)
    assert [problem.path for problem in caught.value.problems] == [path]


def test_a_pickle_that_contains_itself_is_no_trouble():
    # state["func"] is the object itself: MEMOIZE 0 after NEWOBJ, GET 0 as the value.
    canned = b"\x80\x04" + pickles._write(Global("ipyparallel.serialize.canning", "CannedPartial")) + b")\x81\x94"
    loop = canned + b"}(" + pickles._write("func") + b"h\x00ub."
    assert isinstance(trace(loop), Instance)
    assert describe_request([loop, write(INFO)]).function == Function("canned", "CannedPartial")


def test_what_an_object_is_filled_with_stays_with_it():
    mapping, queue = trace(pickle.dumps(OrderedDict(a=1, b=2))), trace(pickle.dumps(deque([1, 2])))
    assert isinstance(mapping, Instance)
    assert isinstance(queue, Instance)
    assert (mapping.items, queue.items) == ([("a", 1), ("b", 2)], [1, 2])


def test_numpy_like_arrays_are_counted_by_their_holes():
    # What canning makes of an array: an object of the canning module whose data stay outside.
    array = Instance(Global("ipyparallel.serialize.canning", "CannedArray"), ())
    array.state = {"shape": (1000, 1000), "dtype": "<f8", "pickled": False, "buffers": [None]}
    info = write({"nargs": 2, "narg_bufs": 3, "kw_keys": []})
    call = describe_request([write(Global("operator", "add")), info, write([array]), BIG, write(1)])
    assert roles(call)[2:] == [("argument", 0, False), ("argument", 0, True), ("argument", 1, False)]
    # An object of another module that looks alike is not taken apart.
    other = Instance(Global("elsewhere", "CannedArray"), ())
    other.state = array.state
    assert len(describe_reply([write([other])])) == 1


@settings(max_examples=400)
@given(
    st.binary() | st.binary().map(lambda tail: b"\x80\x04" + tail) | st.binary().map(lambda tail: GOOD[1][:-1] + tail)
)
def test_any_bytes_are_described_or_refused(data):
    with suppress(PickleError):
        trace(data)
    for buffers in ([data, data], [GOOD[0], data], [GOOD[0], write(INFO | {"nargs": 1, "narg_bufs": 1}), data]):
        with suppress(RemoteProtocolError):
            assert describe_request(buffers).parts
