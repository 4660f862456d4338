# Calls by way of the name server where callers have to log in. Each line of the output is one thing that was seen.
import Pyro5.api

from raised import raised


def who():
    seen = []
    while len(seen) < 500 and len({one["worker"] for one in seen}) < 2:
        seen.append(echo.whoami())
    return seen[0]["user"], seen[0]["role"], sorted({one["worker"] for one in seen})


echo = Pyro5.api.Proxy("PYRONAME:echo")
said = raised(who)
print("who", said if isinstance(said, str) else "%s %s" % (said[:2], said[2]))
warehouse = Pyro5.api.Proxy("PYRONAME:Example.warehouse")
print("warehouse", raised(warehouse.who), flush=True)
