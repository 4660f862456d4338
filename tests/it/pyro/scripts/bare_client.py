# Calls the daemon that no name server knows: python bare_client.py URI
import sys

import Pyro5.api

print(Pyro5.api.Proxy(sys.argv[1]).ping(), flush=True)
