# Calls `echo` where callers have to log in: python secured_calls.py LOCATION [USER TOKEN]
# LOCATION is that of the name server. Each line of the output is one thing that was seen.
import sys

import Pyro5.api

from raised import raised

location, *login = sys.argv[1:]
handshake = dict(zip(("user", "token"), login)) or "hello"


def proxy(uri):
    made = Pyro5.api.Proxy(uri)
    made._pyroHandshake = handshake
    return made


def who():
    seen = echo.whoami()
    return seen["user"], seen["role"]


ns = proxy("PYRO:Pyro.NameServer@" + location)
uri = raised(lambda: ns.lookup("echo"))
print("lookup", uri, flush=True)
if isinstance(uri, Pyro5.api.URI):
    echo = proxy(uri)
    print("who", raised(who))
    print("echo", raised(lambda: echo.echo("x")))
    print("register", raised(lambda: ns.register("example.name", "PYRO:o@host.example:1")))
    print("remove", raised(lambda: ns.remove("example.name")), flush=True)
    for line in sys.stdin:
        print("again", raised(who), flush=True)
