"""Conversations that nobody wrote down, and a ledger that knows what every party is owed in them.

`steps` is the alphabet of a conversation, `player` plays it on any controller, `ledger`, `tasks` and `views` say what
must come of it, beside the rules that watch all traffic. `machine` lets Hypothesis invent conversations, `hunt` does so
without end, and `vectors` keeps the shortest that failed, for anybody to play again.
"""
