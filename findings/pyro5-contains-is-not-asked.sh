#!/usr/bin/env bash
# Pyro5 5.17: `x in proxy` never calls the remote object's exposed `__contains__`. It fetches the items of the
# object one by one and compares them at the client.
#
# One would expect: what `x in object` says on the server.
# Seen: the object says that it contains 7, and its proxy that it does not; the proxy has fetched all items.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check Pyro5==5.17 serpent==1.43
cat > "$dir/try.py" <<'PY'
import threading
import Pyro5.api as pyro

fetched = []


@pyro.expose
class Odd:
    """All odd numbers; it can show the first three."""

    def __contains__(self, number):
        return number % 2 == 1

    def __iter__(self):
        for number in (1, 3, 5):
            fetched.append(number)
            yield number

    def __len__(self):
        return 3


odd = Odd()
with pyro.Daemon() as daemon:
    uri = daemon.register(odd)
    threading.Thread(target=daemon.requestLoop, daemon=True).start()
    with pyro.Proxy(uri) as proxy:
        print("object", 7 in odd, "proxy", 7 in proxy, "fetched", fetched)
    daemon.shutdown()
PY
"$dir/venv/bin/python" "$dir/try.py" | tee "$dir/seen"
diff "$dir/seen" - <<'SEEN'
object True proxy False fetched [1, 3, 5]
SEEN
echo "Pyro5 5.17 still does not ask the remote object"
