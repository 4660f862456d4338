# What surprises with Pyro5, tried on what workers host. Each line of the output is one thing that was seen.
import time

import Pyro5.api
from Pyro5 import config
from Pyro5.errors import NamingError, TimeoutError


def raised(call):
    try:
        return call()
    except Exception as error:
        return type(error).__name__ + ": " + str(error).split("'PYRO:")[0]


echo = Pyro5.api.Proxy("PYRONAME:echo")
echo._pyroBind()
opened = echo._pyroConnection

print("an error of its own:", raised(lambda: echo.fail("no")), "|", opened is echo._pyroConnection)
error = None
try:
    echo.fail("with more")
except Exception as caught:
    error = caught
print("its attributes:", error.error, bool(error._pyroTraceback))

batch = Pyro5.api.BatchProxy(echo)
batch.echo(1)
batch.fail("in a batch")
batch.echo(2)
results = iter(batch())
first = next(results)
try:
    next(results)
except Exception as caught:
    print("in a batch:", first, type(caught).__name__, hasattr(caught, "error"), len(list(results)))
batch = Pyro5.api.BatchProxy(echo)
batch.echo(1)
batch.count(3)
results = iter(batch())
print("a stream in a batch:", next(results), raised(lambda: next(results)))
echo._pyroMethods.add("nosuch")
batch = Pyro5.api.BatchProxy(echo)
batch.echo(1)
batch.nosuch()
results = iter(batch())
print("an unknown method in a batch:", next(results), raised(lambda: next(results)))
batch = Pyro5.api.BatchProxy(echo)
batch.sleep(300)
began = time.time()
echo._pyroOneway.add("sleep")
print("oneway by decorator in a batch:", list(batch()), time.time() - began > 0.25)
began = time.time()
print("oneway:", echo.sleep(300), time.time() - began < 0.25)
echo._pyroOneway.clear()

print("list:", raised(lambda: list(echo)))
print("len:", raised(lambda: len(echo)))
print("in:", raised(lambda: "x" in echo))
print("truth:", bool(echo))
print("attribute:", raised(lambda: echo.value))
print("raw attribute:", raised(lambda: echo._pyroInvoke("__getattr__", ("value",), None)))
print("dunder:", raised(lambda: echo._pyroInvoke("__eq__", (1,), {})))
print("None as a key:", raised(lambda: echo.echo({None: 1})))

echo._pyroTimeout = 0.2
echo._pyroMaxRetries = 2
began = time.time()
print("a timed-out call with two retries:", raised(lambda: echo.sleep(2000)), 0.5 < time.time() - began < 1.5)
echo._pyroTimeout, echo._pyroMaxRetries = 0, 0

for serializer in ("serpent", "json", "msgpack", "marshal"):
    config.SERIALIZER = serializer
    with Pyro5.api.Proxy("PYRONAME:calculator") as calculator:
        # The worker hangs up on a client that sends too much; a client hangs up that gets such an error.
        print(serializer, "too large:", raised(lambda: calculator.sum([1] * 40000)).split(":")[0])
        calculator._pyroReconnect()
        connection = calculator._pyroConnection
        answer = raised(lambda: calculator.factorial(6000)).split(" (")[0]
        print(serializer, "large answer:", answer, connection is calculator._pyroConnection)
    with Pyro5.api.locate_ns() as ns:
        ns.register("trap.plain", "PYRO:o@host.example:1")
        found = ns.list(prefix="trap.", return_metadata=True)["trap.plain"]
        print(serializer, "no metadata:", found[0], len(found[1]))
config.SERIALIZER = "serpent"
ns = Pyro5.api.locate_ns()
ns.register("trap.a_c", "PYRO:o@host.example:1")
ns.register("trap.abc", "PYRO:o@host.example:1")
print("prefix:", sorted(ns.list(prefix="trap.a_")), ns.remove(prefix="trap.a_"), sorted(ns.list(prefix="trap.")))
print("regex:", sorted(ns.list(regex="trap.a")), sorted(ns.list(regex="rap.a")))
print("empty name:", raised(lambda: ns.register("", "PYRO:o@host.example:1")).split(":")[0])
