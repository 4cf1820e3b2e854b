"""Switches for what libzmq does and its documents do not say, with the measured way as default."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """How the sockets of a context behave where one could expect something else.

    `throttle`: the probability that a socket which has just looked into its mailbox sends without looking again, within
    the millisecond in which libzmq would do so; a full pipe then stays full for it although it was read.
    `duplicate_is_zombie`: a second peer with an identity that is taken is connected, and neither heard nor reached. If
    not, its connection is closed, and it tries again as after any other loss.
    `handover_leaves_zombie`: whose identity was handed over keeps its connection, through which nothing comes. If not,
    its connection is closed.
    `publisher_keeps_subscriptions`: a publisher that connects, and whose subscriber went away, keeps what that one had
    subscribed to, and queues for the next one.
    `malformed_reply_is_final`: a reply that a REQ cannot read ends the connection for good, without another attempt.
    """

    throttle: float = 1.0
    duplicate_is_zombie: bool = True
    handover_leaves_zombie: bool = True
    publisher_keeps_subscriptions: bool = True
    malformed_reply_is_final: bool = True
