#!/usr/bin/env bash
# Pyro5 5.17: a name server with the SQL storage (pyro5-ns -s sql:FILE) takes a prefix for a pattern of SQL's
# LIKE. remove(prefix="a_") removes names that do not begin with "a_", without an error.
#
# One would expect: what the storage in memory does, which lists and removes "a_c" alone.
# Seen: five names are listed and removed, among them "ABC" and "axc".
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check Pyro5==5.17 serpent==1.43
cat > "$dir/try.py" <<'PY'
import sys
from Pyro5.nameserver import MemoryStorage, NameServer, SqlStorage

for storage in (MemoryStorage(), SqlStorage(sys.argv[1])):
    names = NameServer(storage)
    for name in ("ABC", "a%c", "a_c", "abc", "axc", "b"):
        names.register(name, "PYRO:object@host:1")
    listed = sorted(names.list(prefix="a_"))
    print(type(storage).__name__, listed, names.remove(prefix="a_"))
PY
"$dir/venv/bin/python" "$dir/try.py" "$dir/names.sql" | tee "$dir/seen"
diff "$dir/seen" - <<'SEEN'
MemoryStorage ['a_c'] 1
SqlStorage ['ABC', 'a%c', 'a_c', 'abc', 'axc'] 5
SEEN
echo "Pyro5 5.17 still removes names that do not begin with the prefix"
