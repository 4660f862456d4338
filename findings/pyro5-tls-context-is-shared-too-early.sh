#!/usr/bin/env bash
# Pyro5 5.17: threads that make the first TLS connections of a process at the same time share a context
# that is not complete yet: the first thread keeps it for all before it loads the certificates.
#
# One would expect: every thread gets a context that trusts PYRO_SSL_CACERTS and has PYRO_SSL_CLIENTCERT.
# Seen: a second thread gets it without them. With 50 threads some fail now and then ("unable to get
# local issuer certificate", "certificate required"). One connection before the threads start avoids it.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check Pyro5==5.17 serpent==1.43
cat > "$dir/ca.crt" <<'PEM'
-----BEGIN CERTIFICATE-----
MIIBfDCCASOgAwIBAgIUDI1d6AzDDm+8TBey9UK8sLZYQpYwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJYXV0aG9yaXR5MB4XDTI2MTEzMDExMjcxNloXDTM2MTEyNzEx
MjcxNlowFDESMBAGA1UEAwwJYXV0aG9yaXR5MFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAE2gDgH61KCWDWKWy9tVc+ex+H47dTneCV17dSfZdtxigifvyqSCCcSuu7
MmPtyIgZpI+D3Z8GophWK8TrEWVRlaNTMFEwHQYDVR0OBBYEFBtIjUzYuw4HwoTH
BdYZZ/mx2dqdMB8GA1UdIwQYMBaAFBtIjUzYuw4HwoTHBdYZZ/mx2dqdMA8GA1Ud
EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgWizXREH/ymJd3zwgSsc/jN+g
lCKTqNfdhnSOSxa8iUACICmT4VSjUtVkbLUfPbBEJ3AJCf6lhVsV4jPu5sPVMXFe
-----END CERTIFICATE-----
PEM
cat > "$dir/try.py" <<'PY'
import os
import sys
import threading
import time

from Pyro5 import socketutil

folder = sys.argv[1]
# A file of certificates that is slow to read: nothing comes until somebody writes.
slow = os.path.join(folder, "slow.crt")
os.mkfifo(slow)
found = {}


def connect(name):
    context = socketutil.get_ssl_context(cacerts=slow)
    subjects = [dict(part[0] for part in ca["subject"]).get("commonName") for ca in context.get_ca_certs()]
    found[name] = "authority" in subjects


first = threading.Thread(target=connect, args=["first"])
first.start()
time.sleep(1)
second = threading.Thread(target=connect, args=["second"])
second.start()
second.join(5)
with open(slow, "w") as pipe:
    pipe.write(open(os.path.join(folder, "ca.crt")).read())
first.join()
for name in ("first", "second"):
    print(name, "thread trusts the authority:", found.get(name))
PY
"$dir/venv/bin/python" "$dir/try.py" "$dir" | tee "$dir/seen"
diff "$dir/seen" - <<'SEEN'
first thread trusts the authority: True
second thread trusts the authority: False
SEEN
echo "Pyro5 5.17 still gives threads a TLS context that is not complete"
