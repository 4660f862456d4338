# A daemon that no name server knows.
import Pyro5.api


@Pyro5.api.expose
class Bare:
    def ping(self):
        return "pong"


daemon = Pyro5.api.Daemon()
print("ready", daemon.register(Bare), flush=True)
daemon.requestLoop()
