#!/usr/bin/env bash
# Pyro5 5.17: with MAX_RETRIES set, a call that ran into the proxy's own timeout is sent again, so
# one call of the program runs the method MAX_RETRIES + 1 times at once.
#
# One would expect: retries are for connections that failed; a timeout is the caller's own limit,
# after which the method may still be running, and ends the call.
# Seen: one call with a timeout of 0.3 s and two retries raises TimeoutError after about 0.9 s, and
# the method has begun three times, each of which runs to its end.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check Pyro5==5.17 serpent==1.43
cat > "$dir/try.py" <<'PY'
import threading
import time
import Pyro5.api as pyro
import Pyro5.errors

begun, ended = [], []


@pyro.expose
class Till:
    def charge(self, amount):
        begun.append(amount)
        time.sleep(1.2)
        ended.append(amount)
        return amount


pyro.config.MAX_RETRIES = 2
with pyro.Daemon() as daemon:
    uri = daemon.register(Till())
    threading.Thread(target=daemon.requestLoop, daemon=True).start()
    started = time.monotonic()
    with pyro.Proxy(uri) as till:
        till._pyroTimeout = 0.3
        try:
            till.charge(5)
            print("no error")
        except Pyro5.errors.TimeoutError:
            print("TimeoutError, later than one timeout:", time.monotonic() - started > 0.6)
    limit = time.monotonic() + 30
    while len(ended) < 3 and time.monotonic() < limit:
        time.sleep(0.05)
    print("begun", len(begun), "ended", len(ended))
    daemon.shutdown()
PY
"$dir/venv/bin/python" "$dir/try.py" | tee "$dir/seen"
diff "$dir/seen" - <<'SEEN'
TimeoutError, later than one timeout: True
begun 3 ended 3
SEEN
echo "Pyro5 5.17 still repeats a call that timed out"
