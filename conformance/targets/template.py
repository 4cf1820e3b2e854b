"""A descriptor to start from: everything that one has to say, with what it means beside it."""

from collections.abc import Sequence
from typing import Final

from conformance.targets.profiles import PROFILES, core_of
from conformance.targets.vocabulary import FEATURES, RUN_CODE, Role

_HEAD: Final = """\
# A target of ippkit: what your implementation is, how it is started, and what it claims.
# Judge it: ippkit doctor {name}.toml, then ippkit next {name}.toml, then ippkit test -t ./{name}.toml
# All keys: the page "Getting started" of the documentation, or ippkit schema --descriptor.

name = "{name}"
dialect = "ipyparallel-9"                   # also: documented; see ippkit dialects
roles = [{roles}]

# What it claims as a whole. A core profile has no opt-outs; remove the # where the claim is true.
profile = [
{profiles}]
# What it claims besides, feature by feature:
{features}
features = []
"""
_STARTS: Final[dict[Role, str]] = {
    "controller": """\
[controller]
# {dir} is a private directory, which is also where the command runs. The kit waits for both files, and for an answer.
command = ["my-controller", "--dir", "{dir}", "--heartbeat-ms", "{heartbeat_period_ms}"]
client_file = "{dir}/ipcontroller-client.json"
engine_file = "{dir}/ipcontroller-engine.json"
# A controller that runs already, in place of the command; cases that would disturb it are left out:
# attach = true

# By which arguments a case may ask for other settings; without them those cases are left out.
[controller.options]
# scheme = ["--scheme", "{scheme}"]
# hwm = ["--hwm", "{hwm}"]
""",
    "engine": """\
[engine]
# The kit is the controller: it writes {engine_file}, starts this, and waits for the registration_request.
command = ["my-engine", "--file", "{engine_file}"]
""",
    "client": """\
[client]
# A driver around your client: it is told lines of JSON on its standard input, and answers on its standard output.
command = ["my-driver"]
""",
    "kernel": """\
[kernel]
# The kit writes {kernel_file}, and your kernel binds what it says.
command = ["my-kernel", "-f", "{kernel_file}"]
""",
}
_SAMPLES: Final = """\
# Code in your language. The kit writes its own words in place of {text}, {seconds}, {count} and {name}.
[samples]
print = "print('{text}')"
raise = "raise ValueError('{text}')"
sleep = "import time; time.sleep({seconds})"
define = "{name} = 1"
recall = "{name}"
value = "'{text}'"
stderr = "import sys; print('{text}', file=sys.stderr)"
many_lines = "for number in range({count}): print(number, flush=True)"
input = "input('{text}')"
read_line = "print(input('{text}'))"
# hold_interpreter takes {seconds} seconds, in which no other code of the language runs.
"""
_TIMING: Final = """\
# Your own timers, as the command sets them. Short ones make short runs; placeholders such as {heartbeat_period_ms}
# save you from writing a number twice.
[timing]
heartbeat_period_ms = 100
reply_deadline_s = 5.0
# allowed_misses = 10, registration_timeout_s = 30, engine_timeout_s = 5.0, engine_misses = 50, ...

# A violation that you know and can argue; ippkit test --update-deviations writes them, without the reason.
# [[deviation]]
# slug = "wire.delimiter-present"
# case = "*"
# versions = "<=1.0"
# evidence = "what was sent, and what came back"
# reason = "why it is so"
"""


def descriptor(name: str, roles: Sequence[Role]) -> str:
    """The text of a commented descriptor of this name for a target of these roles."""
    mine = {each: profile for each, profile in PROFILES.items() if profile.role in roles}
    cores = {core_of(role) for role in roles}
    profiles = "".join(
        f"    {'' if each in cores else '# '}{f'{chr(34)}{each}{chr(34)},':<26} # {profile.text}\n"
        for each, profile in mine.items()
    )
    claimed = {feature for profile in mine.values() for feature in profile.features}
    features = "\n".join(
        f"#   {word:<16} {text}" for role in roles for word, text in FEATURES[role].items() if word not in claimed
    )
    named = ", ".join(f'"{role}"' for role in roles)
    parts = [
        _HEAD.format(name=name, roles=named, profiles=profiles, features=features or "#   (none beyond the profiles)"),
        *(_STARTS[role] for role in roles),
        *([_SAMPLES] if RUN_CODE.intersection(roles) else []),
        _TIMING,
    ]
    return "\n".join(parts)
