# The client of Pyro5's own tutorial.
import Pyro5.api

greeting_maker = Pyro5.api.Proxy("PYRONAME:example.greeting")
print(greeting_maker.get_fortune("Ana"))
