"""The real Pyro5, for the benchmark `pyro`: servers to compare with, and unmodified clients.

    peer.py serve | nameserver        prints `ready ADDRESS`, and ends when its standard input closes
    peer.py call URI AT SECONDS       null calls from the Unix time AT on; prints {"calls", "seconds"}
    peer.py bytes URI AT SECONDS      the same with 8 MB of bytes in MessagePack, which are checked
    peer.py oneway URI PAIRS          prints {"median_ms"} of the calls that follow a oneway call
"""
import json
import os
import sys
import threading
import time

import Pyro5.api
import Pyro5.nameserver
from Pyro5 import config

# As many as the clients of a run: Pyro's own limit is 80.
config.THREADPOOL_SIZE = 300

SIZE = 8 * 1000 * 1000


@Pyro5.api.expose
@Pyro5.api.behavior(instance_mode="single")
class Echo:
    def echo(self, payload):
        return payload

    def other(self):
        pass


def end_with_parent():
    sys.stdin.read()
    os._exit(0)


def loop(daemon):
    threading.Thread(target=end_with_parent, daemon=True).start()
    print("ready", daemon.locationStr, flush=True)
    daemon.requestLoop()


def measured(once, at, seconds):
    once()
    time.sleep(max(0, float(at) - time.time()))
    began, count, seconds = time.perf_counter(), 0, float(seconds)
    while time.perf_counter() - began < seconds:
        once()
        count += 1
    print(json.dumps({"calls": count, "seconds": time.perf_counter() - began}))


def main(mode, *arguments):
    if mode == "serve":
        daemon = Pyro5.api.Daemon(host="127.0.0.1")
        daemon.register(Echo, "bench.echo")
        loop(daemon)
    elif mode == "nameserver":
        _, daemon, _ = Pyro5.nameserver.start_ns(host="127.0.0.1", port=0, enableBroadcast=False)
        loop(daemon)
    elif mode == "call":
        uri, at, seconds = arguments
        measured(Pyro5.api.Proxy(uri).other, at, seconds)
    elif mode == "bytes":
        uri, at, seconds = arguments
        config.SERIALIZER = "msgpack"
        echo, payload = Pyro5.api.Proxy(uri), os.urandom(SIZE)

        def once():
            assert echo.echo(payload) == payload

        measured(once, at, seconds)
    elif mode == "oneway":
        uri, pairs = arguments
        echo, times = Pyro5.api.Proxy(uri), []
        echo._pyroBind()
        for _ in range(int(pairs)):
            # The call is a oneway call by the wish of the client, whatever the server says.
            echo._pyroOneway = {"other"}
            echo.other()
            echo._pyroOneway = set()
            began = time.perf_counter()
            echo.other()
            times.append(time.perf_counter() - began)
        print(json.dumps({"median_ms": sorted(times)[len(times) // 2] * 1000}))


main(*sys.argv[1:])
