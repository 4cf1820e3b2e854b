"""Damaged messages at every socket of a running target, among the honest traffic of others.

`blows` makes the damage, an arena of each role (`controllers`, `engines`, `kernels`, `clients`) knows the sockets,
plays the honest peers and says what they missed, and `campaign` sends, judges, and finds the message that does it.
"""
