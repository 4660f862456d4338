"""Times one kernel. Arguments: KERNEL SIZE REPEATS. Prints a JSON list of seconds, without the warm-up run."""

import hashlib
import json
import math
import sys
import time

try:
    import numpy
except ImportError:
    numpy = None

kernel, size, repeats = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def prepare():
    """Returns the function of one run. Its input is made before the measured time."""
    if kernel == "sort":
        return lambda numbers=source.copy(): numbers.sort()
    if kernel == "product":
        return lambda: source @ other
    if kernel == "sha256":
        return lambda: hashlib.sha256(source).hexdigest()
    if kernel == "digits":
        return lambda: str(source)
    return lambda: math.factorial(size)


if kernel == "about":
    version = "%d.%d.%d" % sys.version_info[:3]
    print(json.dumps({"python": version, "numpy": numpy and numpy.__version__}))
    sys.exit()
if kernel in ("sort", "product"):
    random = numpy.random.default_rng(1)
if kernel == "sort":
    source = random.random(size)
elif kernel == "product":
    source, other = random.random((size, size)), random.random((size, size))
elif kernel == "sha256":
    source = b"x" * size
elif kernel == "digits":
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)
    source = math.factorial(size)

times = []
for _ in range(repeats + 1):
    run = prepare()
    start = time.perf_counter()
    run()
    times.append(time.perf_counter() - start)
print(json.dumps(times[1:]))
