#!/usr/bin/env bash
# Pyro5 5.17: a method that lets a communication error of Pyro5's own through (what it gets when an
# object that it calls itself cannot be reached) sends no answer; the daemon closes the connection.
#
# One would expect: the caller gets the CommunicationError, as it gets any other exception.
# Seen: ValueError and NamingError arrive as themselves. A CommunicationError, which a method meets as
# soon as a second daemon is down, arrives as "connection closed", as if the first daemon had died; with
# MAX_RETRIES = 2 the method then runs three times.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check Pyro5==5.17 serpent==1.43
cat > "$dir/try.py" <<'PY'
import socket
import threading
import Pyro5.api as pyro
import Pyro5.errors

runs = []

with socket.socket() as unused:
    unused.bind(("127.0.0.1", 0))
    nobody = "PYRO:stock@127.0.0.1:%d" % unused.getsockname()[1]


@pyro.expose
class Shop:
    def order(self, kind):
        runs.append(kind)
        if kind == "ValueError":
            raise ValueError("no such thing")
        if kind == "NamingError":
            raise Pyro5.errors.NamingError("unknown name")
        with pyro.Proxy(nobody) as stock:
            stock.take()


with pyro.Daemon() as daemon:
    uri = daemon.register(Shop())
    threading.Thread(target=daemon.requestLoop, daemon=True).start()
    for kind, retries in (("ValueError", 0), ("NamingError", 0), ("nested", 0), ("nested", 2)):
        runs.clear()
        pyro.config.MAX_RETRIES = 0
        with pyro.Proxy(uri) as shop:
            shop._pyroMaxRetries = retries
            try:
                shop.order(kind)
            except Exception as error:
                remote = hasattr(error, "_pyroTraceback")
                print(kind, "->", type(error).__name__, "remote" if remote else "local", "runs", len(runs))
    daemon.shutdown()
PY
"$dir/venv/bin/python" "$dir/try.py" | tee "$dir/seen"
diff "$dir/seen" - <<'SEEN'
ValueError -> ValueError remote runs 1
NamingError -> NamingError remote runs 1
nested -> ConnectionClosedError local runs 1
nested -> ConnectionClosedError local runs 3
SEEN
echo "Pyro5 5.17 still sends no answer for a communication error of a nested call"
