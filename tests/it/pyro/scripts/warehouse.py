# One of several warehouses of one name: python warehouse.py NAME
import os
import sys

import Pyro5.api


class OutOfStock(Exception):
    pass


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

    def hang_up(self):
        raise Pyro5.errors.ConnectionClosedError("somewhere else")


daemon = Pyro5.server.Daemon()
uri = daemon.register(Warehouse)
Pyro5.api.locate_ns().register("Example.warehouse", uri, metadata={"pyroxene.instance", "example"})
print("ready", os.getpid(), flush=True)
daemon.requestLoop()
