import json
import time

from raw import Cluster, Peer, client, conclude

CODE = {"code": "print(1)", "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
TRIES = 5

with Cluster(engines=1) as cluster:
    name = next(iter(cluster.wait_for_engines(1).values())).encode()
    honest, other = client(cluster, "mux"), Peer(cluster, "mux")
    honest.ask("execute_request", CODE, to=[name])
    longest = 0.0
    for _ in range(TRIES):
        for _ in range(3):
            header = json.dumps(other.header("execute_request")).encode()
            header = b'{"note": "\\ud800", ' + header[1:]
            other.socket.send_multipart(other.frames(header, CODE | {"code": "", "silent": True}, to=[name]))
        print("  a second client has sent three requests, with half a character in their headers")
        sent = time.monotonic()
        honest.ask("execute_request", CODE, seconds=60.0, to=[name])
        longest = max(longest, time.monotonic() - sent)
        print(f"  after {time.monotonic() - sent:.1f} s")
        if longest > 5:
            break
    conclude(longest > 5, "requests with half a character in their headers hold an engine up, ten seconds each time")
