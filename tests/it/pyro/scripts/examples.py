"""Runs Pyro5's own examples with this broker in the place of Pyro's name server.

    python examples.py SOURCE [FOLDER...]

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
RETURN = "\n" * 20

# The folder, the servers, the client, what is typed, and what shows that it works, if a client ends badly or never.
EXAMPLES = [
    ("autoretry", ["server.py"], "client.py", "", ""),
    ("banks", ["server.py"], "client.py", "", ""),
    ("callback", ["server.py"], "client.py", "", ""),
    ("chatbox", ["server.py"], "client.py", "room\nana\nhello\n/quit\n", ""),
    ("circular", ["servA.py", "servB.py", "servC.py"], "client.py", "", ""),
    ("distributed-computing3", ["worker.py", "worker.py"], "client.py", "", ""),
    ("exceptions", ["server.py"], "client.py", "", "End of remote traceback"),
    ("instancemode", ["server.py"], "client.py", "", ""),
    ("messagebus", ["-m messagebus.server -s memory", "subscriber.py"], "publisher.py", "Rome\n", "GOT MESSAGE"),
    ("nameserverstress", [], "stress.py", "", "4 4"),
    ("ns-metadata", [], "example.py", "", ""),
    ("oneway", ["server.py"], "client.py", "", ""),
    ("shoppingcart", ["shopserver.py"], "clients.py", "", "DaemonError: unknown object"),
    ("stockquotes/phase2", ["stockmarket.py"], "viewer.py", "", "NASDAQ."),
    ("stockquotes/phase3", ["stockmarket.py"], "viewer.py", "", "NASDAQ."),
    ("usersession", ["server.py"], "client.py", RETURN, ""),
    ("warehouse/phase3", ["warehouse.py"], "visit.py", RETURN, ""),
]


def start(folder, words, log, typed):
    """Starts a program of an example; what it writes goes to the log."""
    program = subprocess.Popen(
        [sys.executable, *words.split()],
        cwd=folder,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
    )
    program.stdin.write(typed.encode())
    program.stdin.flush()
    return program


def succeeds(client, log, sign):
    """Whether a client ends well, or shows the sign that it works."""
    for _ in range(300):
        has_ended = client.poll() is not None
        if sign and sign in read(log):
            return True
        if has_ended:
            return client.returncode == 0 and not sign
        time.sleep(0.1)
    return False


def read(log):
    with open(log.name, errors="replace") as text:
        return text.read()


def run(folder, servers, client, typed, sign):
    folder = os.path.join(SOURCE, "examples", folder)
    with tempfile.NamedTemporaryFile() as log:
        running, serving = [], {}
        try:
            for _ in range(12):
                # A server may need another one, and the client all of them, which may not have registered yet.
                for number, server in enumerate(servers):
                    if number not in serving or serving[number].poll() is not None:
                        serving[number] = start(folder, server, log, RETURN)
                        running.append(serving[number])
                running.append(start(folder, client, log, typed))
                if succeeds(running[-1], log, sign):
                    return "passed", ""
                time.sleep(0.5)
            return "failed", read(log)
        finally:
            for program in running:
                program.kill()
                program.wait()
                program.stdin.close()


failed = 0
for example in EXAMPLES:
    if ONLY and example[0] not in ONLY:
        continue
    outcome, reason = run(*example)
    print(outcome, example[0], reason, flush=True)
    failed += outcome == "failed"
sys.exit(1 if failed else 0)
