# Calls what workers host, in every serializer. Each line of the output is one thing that was seen.
import time

import Pyro5.api
from Pyro5 import config
from Pyro5.errors import DaemonError, NamingError

from raised import raised

for serializer in ("serpent", "json", "msgpack", "marshal"):
    config.SERIALIZER = serializer
    with Pyro5.api.Proxy("PYRONAME:calculator") as calculator:
        print(serializer, "positional", calculator.sum([1, 2, 3.5]))
        print(serializer, "named", calculator.sum(values=[1, 2]))
        print(serializer, "big", calculator.factorial(30) == 265252859812191058636308480000000)
        print(serializer, "error", raised(lambda: calculator.factorial(10 ** 12)).split(":")[0])
        print(serializer, "missing", raised(lambda: calculator.sum()))
        print(serializer, "too many", raised(lambda: calculator.sum([1], 2)))
        print(serializer, "unknown", raised(lambda: calculator._pyroInvoke("nosuch", (), {})))
        print(serializer, "type", raised(lambda: calculator.factorial("x")).split(":")[0])

config.SERIALIZER = "serpent"
calculator = Pyro5.api.Proxy("PYRONAME:calculator")
batch = Pyro5.api.BatchProxy(calculator)
batch.sum([1, 2])
batch.factorial(5)
print("batch", list(batch()))
batch = Pyro5.api.BatchProxy(calculator)
batch.sum([1])
batch.factorial(10 ** 12)
results = iter(batch())
print("batch first", next(results))
print("batch error", raised(lambda: next(results)).split(":")[0])

calculator._pyroBind()
calculator._pyroOneway.add("sum")
times = []
for _ in range(31):
    assert calculator.sum([1]) is None
    began = time.perf_counter()
    calculator.factorial(3)
    times.append(time.perf_counter() - began)
# Every one of them took 44 ms otherwise.
print("a call after a oneway waits for no acknowledgement", sorted(times)[15] < 0.035)

ns = Pyro5.api.locate_ns()
uri = ns.lookup("calculator")
daemon = Pyro5.api.Proxy("PYRO:Pyro.Daemon@" + uri.location)
print("daemon", daemon.ping(), daemon.registered()[:2], raised(lambda: daemon.get_metadata("zz")))
print("unknown object", raised(lambda: Pyro5.api.Proxy("PYRO:zz@" + uri.location)._pyroBind()))
print("unknown name", raised(lambda: ns.lookup("zz")))
config.COMPRESSION = True
print("compressed", Pyro5.api.Proxy(uri).sum(list(range(1000))))
