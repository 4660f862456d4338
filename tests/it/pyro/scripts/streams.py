# Takes the items of streams of workers. Each line of the output is one thing that was seen.
import Pyro5.api
from Pyro5 import config
from Pyro5.errors import TimeoutError

for serializer in ("serpent", "json", "msgpack", "marshal"):
    config.SERIALIZER = serializer
    with Pyro5.api.Proxy("PYRONAME:echo") as echo:
        print(serializer, "items", list(echo.count(5)))
        print(serializer, "a list as a stream", echo.collect([1, "two"])["items"])

config.SERIALIZER = "serpent"
echo = Pyro5.api.Proxy("PYRONAME:echo")
one, other = echo.count(3), echo.count(n=3)
print("side by side", [next(one), next(other), next(one), next(other)], echo.echo("between"), list(one))
other.close()
print("closed early", list(other))

slow = echo.count(5, interval_ms=400)
echo._pyroTimeout = 0.15
seen, timeouts = [], 0
while True:
    try:
        seen.append(next(slow))
        echo._pyroTimeout = 0.15
    except TimeoutError:
        timeouts += 1
        # The first request for an item is given up, and the second one, and the third one waits.
        echo._pyroTimeout = 0.15 if timeouts % 2 else 10
        echo._pyroReconnect()
    except StopIteration:
        break
print("after timeouts", seen, timeouts > 2)
