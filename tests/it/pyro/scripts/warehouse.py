# One of several warehouses of one name: python warehouse.py NAME
import os
import sys
import time

import Pyro5.api


closed = 0


@Pyro5.api.expose
@Pyro5.api.behavior(instance_mode="single")
class Warehouse:
    def __init__(self):
        self.items = ["chair", "bike"]

    def who(self):
        return sys.argv[1]

    def take(self, item):
        if item not in self.items:
            raise ValueError("there is no " + item)
        self.items.remove(item)
        return "took the " + item

    def echo(self, *args, **kwargs):
        return [list(args), kwargs]

    def values(self):
        return {"big": 2 ** 100, "bytes": b"\x00\xff", "tuple": (1, None), "float": 1.5}

    def items_one_by_one(self):
        yield from self.items

    def endless(self):
        global closed
        try:
            while True:
                yield "more"
        finally:
            closed += 1

    def closed(self):
        return closed

    def how_many(self, items):
        return len(items)

    def slow_who(self):
        print("began", flush=True)
        time.sleep(1.5)
        return self.who()

    def hang_up(self):
        raise Pyro5.errors.ConnectionClosedError("somewhere else")


daemon = Pyro5.server.Daemon()
uri = daemon.register(Warehouse)
Pyro5.api.locate_ns().register("Example.warehouse", uri, metadata={"pyroxene.instance", "pyroxene.idempotent=who,slow_who"})
print("ready", os.getpid(), flush=True)
daemon.requestLoop()
