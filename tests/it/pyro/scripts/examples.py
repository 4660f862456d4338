"""Runs Pyro5's own examples with this broker in the place of Pyro's name server.

    python examples.py SOURCE

SOURCE is the unpacked source distribution of Pyro5. The name server's address is in the environment. One line is
printed for each example.
"""
import os
import subprocess
import sys
import tempfile
import time

SOURCE = sys.argv[1]
ONLY = sys.argv[2:]

# The folder, the servers, the client, and what is typed.
EXAMPLES = [
    ("banks", ["server.py"], "client.py", ""),
    ("callback", ["server.py"], "client.py", ""),
    ("circular", ["servA.py", "servB.py", "servC.py"], "client.py", ""),
    ("instancemode", ["server.py"], "client.py", ""),
    ("ns-metadata", [], "example.py", ""),
    ("oneway", ["server.py"], "client.py", ""),
    ("usersession", ["server.py"], "client.py", "\n" * 20),
    ("warehouse/phase3", ["warehouse.py"], "visit.py", "\n" * 20),
]


def run(folder, servers, client, typed):
    folder = os.path.join(SOURCE, "examples", folder)
    with tempfile.TemporaryFile() as log:
        start = dict(cwd=folder, stdin=subprocess.PIPE, stdout=log, stderr=log)
        running = [subprocess.Popen([sys.executable, server], **start) for server in servers]
        try:
            for _ in range(12):
                # The servers may not have registered yet.
                done = subprocess.run(
                    [sys.executable, client], cwd=folder, input=typed.encode(), capture_output=True, timeout=90
                )
                if done.returncode == 0:
                    return "passed", ""
                time.sleep(0.5)
            log.seek(0)
            return "failed", (done.stdout + done.stderr + log.read()).decode(errors="replace")
        except subprocess.TimeoutExpired as error:
            return "failed", repr(error)
        finally:
            for server in running:
                server.kill()
                server.wait()


failed = 0
for folder, servers, client, typed in EXAMPLES:
    if ONLY and folder not in ONLY:
        continue
    outcome, reason = run(folder, servers, client, typed)
    print(outcome, folder, reason, flush=True)
    failed += outcome == "failed"
sys.exit(1 if failed else 0)
