# Requests of Pyro's gateway to HTTP: python http_calls.py BASE. Each line of the output is one thing that was seen.
import sys
import urllib.error
import urllib.request

BASE = sys.argv[1]


def page(path, data=None, **headers):
    request = urllib.request.Request(BASE + path, data, {name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


print("python", *page("example.greeting/get_fortune?name=Ana"))
print("worker", *page("echo/echo?data=hello"))
print("type", "TypeError" in page("calculator/factorial?n=x")[1])
print("meta", "whoami" in page("echo/$meta")[1])
print("index", page("")[0], "calculator" in page("")[1])
print("names", "Pyro5.core.URI" in page("Pyro.NameServer/lookup?name=example.greeting")[1])
print("missing", "unknown name: echo.nosuch" in page("echo.nosuch/x")[1])
print("oneway", *page("echo/echo?data=x", X_Pyro_Options="oneway"))
print("form", "missing 1 required positional argument: 'data'" in page("echo/echo", b"data=hello")[1])
