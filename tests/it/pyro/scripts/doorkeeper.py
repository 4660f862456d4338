# A program whose daemon lets nobody in.
import Pyro5.api


class Daemon(Pyro5.api.Daemon):
    def validateHandshake(self, conn, data):
        raise ValueError("no entry for you")


@Pyro5.api.expose
class Closed:
    def ping(self):
        pass


daemon = Daemon()
Pyro5.api.locate_ns().register("Example.closed", daemon.register(Closed))
print("ready", flush=True)
daemon.requestLoop()
