#!/usr/bin/env bash
# Pyro5 5.17: a class with instance_mode="single" whose objects are falsy (len() == 0) gets a new
# object for every call, so what a call stores is gone at the next one.
#
# One would expect: one object for the life of the daemon, as the mode's name says.
# Seen: a queue that counts what passed through it counts to 1 three times, because it is empty after
# each call; the same queue, never falsy, counts to 3.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check Pyro5==5.17 serpent==1.43
cat > "$dir/try.py" <<'PY'
import threading
import Pyro5.api as pyro


@pyro.expose
@pyro.behavior(instance_mode="single")
class Queue:
    """A queue that is as long as what waits in it, and counts what passed through."""

    def __init__(self):
        self.waiting = []
        self.passed = 0

    def __len__(self):
        return len(self.waiting)

    def handle(self, item):
        self.waiting.append(item)
        self.waiting.pop(0)
        self.passed += 1
        return self.passed


@pyro.expose
@pyro.behavior(instance_mode="single")
class TruthyQueue(Queue):
    """The same, but never falsy."""

    def __bool__(self):
        return True


def counts(cls):
    with pyro.Daemon() as daemon:
        uri = daemon.register(cls)
        threading.Thread(target=daemon.requestLoop, daemon=True).start()
        with pyro.Proxy(uri) as queue:
            answers = [queue.handle(name) for name in ("pen", "ink", "nib")]
        daemon.shutdown()
    return answers


print("falsy when empty:", counts(Queue))
print("never falsy:      ", counts(TruthyQueue))
PY
"$dir/venv/bin/python" "$dir/try.py" | tee "$dir/seen"
diff "$dir/seen" - <<'SEEN'
falsy when empty: [1, 1, 1]
never falsy:       [1, 2, 3]
SEEN
echo "Pyro5 5.17 still makes a new object for every call of a falsy single instance"
