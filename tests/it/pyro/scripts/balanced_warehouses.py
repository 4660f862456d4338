# Calls warehouses in Python by way of the name server. Each line of the output is one thing that was seen.
import sys
import threading
import time

import Pyro5.api

from raised import raised

ns = Pyro5.api.locate_ns()
warehouse = Pyro5.api.Proxy("PYRO:Example.warehouse@" + ns._pyroUri.location)
values = ((1, None), {2, 3}, {(1, 2): 2 ** 100, 5: 1.5}, "é\n")
print("values", warehouse.echo(*values, x=values) == [list(values), {"x": values}])
print("bytes", warehouse.values()["bytes"])
print("attribute", warehouse.count)
warehouse.count = 2
print("set", raised(lambda: setattr(warehouse, "nosuch", 1)).split(":")[0])
print("error", raised(lambda: warehouse.take("boat")))
error = None
try:
    warehouse.take("boat")
except ValueError as caught:
    error = caught
print("traceback", any("there is no " in line for line in error._pyroTraceback))
print("items", list(warehouse.items_one_by_one()))
print("oneway", warehouse.quietly())
print("hang up", raised(warehouse.hang_up).split(":")[0], "may have run" in raised(warehouse.hang_up))
blob = Pyro5.client.SerializedBlob("name", [1, 2])
print("blob", raised(lambda: warehouse.blob(blob)).split(":")[0])


def seen(count):
    # One caller alone may stay with one program that answers quickly, so several call at the same time. One that hung up
    # gets no calls for some time.
    found = set()
    end = time.monotonic() + 30

    def call(proxy):
        proxy._pyroClaimOwnership()
        while len(found) < count and time.monotonic() < end:
            found.add(proxy.who())

    proxies = [warehouse] + [Pyro5.api.Proxy(warehouse._pyroUri) for _ in range(5)]
    threads = [threading.Thread(target=call, args=[proxy]) for proxy in proxies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    warehouse._pyroClaimOwnership()
    return sorted(found)


print("seen", seen(3), flush=True)
opened = warehouse._pyroConnection
for line in sys.stdin:
    print("seen", seen(2), opened is warehouse._pyroConnection, flush=True)
