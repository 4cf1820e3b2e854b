"""What a peer speaks, told from what it does: `ippkit which-dialect`.

* `signs`   one message, or one socket -> what it shows of the dialect of whoever sent it
* `verdict` many signs -> which dialect they fit
* `asking`  a few harmless questions to a running controller or kernel, for signs

Nothing here judges anybody: a dialect is no mistake.
"""
