# Calls an object of workers until standard input ends: python steady_caller.py COUNT
# Then it prints how many calls succeeded and which failed.
import sys
import threading

import Pyro5.api
from Pyro5 import config

config.MAX_RETRIES = 3
done = threading.Event()
lock = threading.Lock()
succeeded, failures, seen = 0, [], set()


def run():
    global succeeded
    proxy = Pyro5.api.Proxy("PYRONAME:echo")
    while not done.is_set():
        for attempt in range(50):
            try:
                worker = proxy.whoami()["worker"]
                break
            except Pyro5.errors.CommunicationError as error:
                # A refused connect is never tried again by Pyro itself.
                last = error
                if done.wait(0.05):
                    return
        else:
            with lock:
                failures.append(repr(last))
            return
        with lock:
            succeeded += 1
            seen.add(worker)
            if succeeded % 200 == 0:
                print("calls", succeeded, flush=True)


threads = [threading.Thread(target=run) for _ in range(int(sys.argv[1]))]
for thread in threads:
    thread.start()
for line in sys.stdin:
    with lock:
        print("seen", " ".join(sorted(seen)), flush=True)
        seen.clear()
done.set()
for thread in threads:
    thread.join()
print("failures", failures, flush=True)
