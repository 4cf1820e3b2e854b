"""Where the documents and ipyparallel 9.2 differ, and how the protocol changed from release to release: two tables.

`DEVIATIONS` compares sentences of the documents with what ipyparallel 9.2 was seen to do. Only a `broken promise` is a
violation, and it is one in every dialect: a dialect may rename, move or add, but not leave a documented request
unanswered or undone. `layout` (sockets, processes, threads) is observed and never demanded.

`RELEASES` is history for readers; the rows that a codec or a role needs are in `protocol.dialects`.

Source: IPython commit a2c57acba (2012), parallel_messages.txt, and the ipyparallel docs, messages.md, against
ipyparallel 9.2.0; the release table was read from the tagged sources.
"""

from typing import Final, Literal, NamedTuple

Kind = Literal["rename", "moved", "addition", "default", "layout", "wording", "broken promise"]
Evidence = Literal["measured", "read", "measured, read"]


class Deviation(NamedTuple):
    """One difference: what the documents say, what ipyparallel 9.2 does, and what kind of difference that makes it."""

    name: str
    kind: Kind
    documents: str
    nine: str
    evidence: Evidence = "measured"


class Release(NamedTuple):
    """One property through the releases; "=" repeats the value to the left, "-" says that there is none."""

    what: str
    draft: str
    ipython_0_11: str
    ipython_1_0: str
    ipyparallel_7: str
    ipyparallel_9_2: str


DEVIATIONS: Final = (
    Deviation("D1", "rename", "result_request asks for `statusonly`",
        "the key is `status_only`, as in the code of 0.11"),
    Deviation("D2", "wording", "result_request has `targets`", "nobody reads it", "read"),
    Deviation("D3", "wording", "values in result_reply are the result messages", "they are records of the Hub's store"),
    Deviation("D4", "addition", "registration_request is {uuid}", "an `id` may be asked for as well"),
    Deviation("D5", "addition", "registration_reply is {status, id}",
        "also hb_period and connection_info; no parent header; errors in the common shape"),
    Deviation("D6", "wording", "an error if the engine asks for ids in use",
        "an id in use is replaced by another one; only a uuid in use is an error"),
    Deviation("D7", "moved", "connection_reply tells addresses, None for what is not available",
        "it tells the engines; addresses stand in the connection file"),
    Deviation("D8", "addition", "queue_reply has one entry per engine", "and one more, `unassigned`"),
    Deviation("D9", "moved", "a failed queue_request is a queue_reply with status error", "it is a hub_error"),
    Deviation("D10", "broken promise", "purging a nonexistent message is explained as an error", "it is ok"),
    Deviation("D11", "broken promise", "abort_request with msg_ids null aborts everything queued",
        "it is never answered; an empty list does it"),
    Deviation("D12", "broken promise", "shutdown_request {} makes a kernel abort its queue, reply and exit",
        "without `restart` it neither replies nor exits; with it, a copy of the reply goes to IOPub"),
    Deviation("D13", "layout", "control messages are handled before any execution request",
        "they have a thread of their own, and no order with respect to shell"),
    Deviation("D14", "wording", "apply_request has at least 3 buffers, apply_reply 1 or 2",
        "at least 2 (a call without arguments); at least 1"),
    Deviation("D15", "rename", "published data has the type data_pub", "data_message, with the topic `datapub`"),
    Deviation("D16", "addition", "all execution is done with apply messages", "execute_request is used too"),
    Deviation("D17", "layout", "three schedulers beside the Hub",
        "also a tree of broadcast schedulers, a heart monitor process, and one nanny per engine"),
    Deviation("D18", "layout", "engines have two DEALERs, queue and heartbeat",
        "one shell ROUTER, one control ROUTER behind the nanny, DEALERs for heart and registrar, all with the uuid"),
    Deviation("D19", "layout", "clients connect one DEALER when they register",
        "five DEALERs and two SUBs, none of them with an identity"),
    Deviation("D20", "layout", "the controller receives and saves all messages and replies",
        "MUX requests to an unknown engine are not recorded"),
    Deviation("D21", "layout", "a heart is a FORWARDER", "a monitored queue, unless the engine's own check is off",
        "measured, read"),
    Deviation("D22", "wording", "no Python code sees a ping between send and receive", "the engine reads a copy"),
    Deviation("D23", "wording", "a kernel locked in extension code still beats", "true; but registration needs a beat"),
    Deviation("D24", "wording", "a ping is a str of the monitor's lifetime, 1.2345678910",
        "the full repr of a float, up to 17 digits, of accumulated monotonic time"),
    Deviation("D25", "wording", "task_destination.engine_id is the engine's IDENTITY", "so it is, despite the name"),
    Deviation("D26", "addition", "types that no document names",
        "hub_error, load, history, db and resubmit queries, unregistration_request, shutdown_notification, "
        "become_dask, stop_distributed, signal_request, new_heart, stopped_heart, iopub_welcome; status aborted; "
        "replies made by the scheduler"),
    Deviation("D27", "wording", "messages are sent in at least 4 parts",
        "four dictionaries, every one mandatory, and a signature"),
    Deviation("D28", "default", "help texts call NoDB the default store", "DictDB is the default", "read"),
)  # fmt: skip

RELEASES: Final = (
    Release("socket names", "XREP, XREQ", "XREP, XREQ; ROUTER, DEALER from 0.12", "ROUTER, DEALER", "=", "="),
    Release("frames", "one part after the other", "signature and 3 dictionaries", "signature and 4, with metadata", "=",
        "="),
    Release("signature", "-", "HMAC-MD5", "configurable, HMAC-SHA256", "=", "="),
    Release("header.version", "-", "-", "absent in 1.x, then 4.1 and 5.x", "5.x", "5.4"),
    Release("task fields", "content", "header", "metadata", "=", "metadata; label from 9.1"),
    Release("registration_request", "queue, heartbeat", "queue, control, heartbeat", "uuid", "uuid, id", "="),
    Release("registration_reply", "id, queue, heartbeat, task, reason", "status, id, addresses",
        "status, id, hb_period", "and connection_info", "="),
    Release("connection_reply", "addresses", "status, addresses, engines", "status, engines", "=", "="),
    Release("notification names the engine by", "queue", "queue", "uuid", "=", "="),
    Release("connection file", "-", "exec_key, url, ssh, location; packers from 0.13", "key and all ports",
        "and broadcast", "and curve_serverkey (7.1)"),
    Release("client IDENTITY", "-", "session id on all DEALERs", "none", "=", "="),
    Release("heartbeat period, misses", "-", "1000 ms (3000 from 0.12.1), 1", "3000 ms, 10",
        "=, in a process of its own", "="),
    Release("hwm default", "-", "0; 1 from 0.13", "1", "=", "="),
    Release("store default", "-", "DictDB; NoDB from 0.13", "NoDB; DictDB from ipyparallel 5", "DictDB", "="),
    Release("broadcast, nanny, requested ids", "-", "-", "-", "yes", "="),
    Release("set of dead engines", "-", "dead_engines", "=", "-", "-"),
)  # fmt: skip

RELEASE_TITLES: Final = (
    "",
    "draft, August 2010",
    "IPython 0.11 to 0.13",
    "IPython 1.0 to ipyparallel 6",
    "ipyparallel 7",
    "ipyparallel 9.2",
)
