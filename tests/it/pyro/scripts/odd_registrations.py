# Registers instances that nobody can use, each odd in its own way, and ends.
import socket
import sys

import Pyro5.api
import Pyro5.errors

ns = Pyro5.api.locate_ns()
tags = {"pyroxene.instance"}
# It accepts connections, and never says anything.
silent = socket.create_server(("127.0.0.1", 0))
for name, uri in (
    ("odd.unknown-host", "PYRO:o@no-such-host.invalid:1"),
    ("odd.silent", "PYRO:o@127.0.0.1:%d" % silent.getsockname()[1]),
    ("odd.socket", "PYRO:o@./u:/nowhere/socket"),
    ("odd.name", "PYRONAME:odd.silent"),
    ("odd.meta", "PYROMETA:odd"),
):
    ns.register(name, uri, metadata=tags)
try:
    ns.register("odd.name-server", "PYRO:o@%s" % ns._pyroUri.location, metadata=tags)
    raise AssertionError("a name leads to the name server itself")
except Pyro5.errors.NamingError as error:
    assert "is this name server" in str(error), error
print("ready", flush=True)
sys.stdin.read()
