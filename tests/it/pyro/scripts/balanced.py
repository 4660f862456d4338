# Calls objects by way of the name server. Each line of the output is one thing that was seen; until standard input
# ends, some proxies call `echo` at the same time.
import sys
import threading

import Pyro5.api
from Pyro5 import config

from raised import raised

ns = Pyro5.api.locate_ns()
own = ns._pyroUri.location
print("a tag:", ns.lookup("echo").location == own, ns.list(prefix="echo")["echo"].endswith("@" + own))
ns.register("plain", "PYRO:o@host.example:1")
print("without:", ns.lookup("plain").location == own)
asked = Pyro5.api.Proxy("PYROMETA:calculator,pyroxene.balanced")
print("asked for:", asked.sum([1, 2, 3.5]), asked._pyroConnection.sock.getpeername()[1] == int(own.split(":")[1]))
for serializer in ("serpent", "json", "msgpack", "marshal"):
    config.SERIALIZER = serializer
    with Pyro5.api.Proxy("PYRO:calculator@" + own) as calculator:
        print(
            serializer,
            calculator.sum(values=[1, 2]),
            calculator.factorial(30),
            raised(lambda: calculator.factorial(10 ** 12)).split(":")[0],
            raised(lambda: calculator.sum()),
            raised(lambda: calculator._pyroInvoke("nosuch", (), {})),
        )
config.SERIALIZER = "serpent"
echo = Pyro5.api.Proxy("PYRONAME:echo")
print("items", list(echo.count(3)), echo.collect([1, "two"])["items"], raised(lambda: echo.fail("no")))
batch = Pyro5.api.BatchProxy(echo)
batch.echo(1)
batch.fail("no")
results = iter(batch())
print("batch", next(results), raised(lambda: next(results)))
print("unknown", raised(lambda: Pyro5.api.Proxy("PYRO:zz@" + own)._pyroBind()).split("rejected: ")[-1])
echo._pyroBind()
opened = echo._pyroConnection

done, lock, failures, seen = threading.Event(), threading.Lock(), [], set()


def call(proxy):
    # A refused connection, or a lost one, would be an error: nothing is tried again here.
    proxy._pyroClaimOwnership()
    while not (done.is_set() or failures):
        try:
            worker = proxy.whoami()["worker"]
        except Exception as error:
            failures.append(repr(error))
            return
        with lock:
            seen.add(worker)


def workers():
    with lock:
        found = sorted(seen)
        seen.clear()
    return found


# Calls at the same time go to the instances that are least busy.
proxies = [echo] + [Pyro5.api.Proxy("PYRONAME:echo") for _ in range(8)]
threads = [threading.Thread(target=call, args=[proxy]) for proxy in proxies]
for thread in threads:
    thread.start()
while len(seen) < 3 and not failures:
    done.wait(0.1)
print("seen", workers(), flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
while not (done.wait(0.5) or failures):
    print("calls", " ".join(workers()), flush=True)
for thread in threads:
    thread.join()
if failures:
    sys.exit(" ".join(failures))
print("one connection", opened is echo._pyroConnection, flush=True)
