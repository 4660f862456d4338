"""Runs Pyro5's own tests with this broker in the place of Pyro's name server and of its daemon.

    python foreign_tests.py SOURCE PROGRAM LOCATION

SOURCE is the unpacked source distribution of Pyro5, PROGRAM is `pyroxene`, and at LOCATION are the objects of the
tests, in Rust. The tests are not changed: what they start is. For each test one line is printed: passed, failed, or
left out with the reason.
"""
import itertools
import os
import socket
import subprocess
import sys

import pytest

SOURCE, PROGRAM, LOCATION = sys.argv[1:4]
sys.path.insert(0, os.path.join(SOURCE, "tests"))

import Pyro5.client
import Pyro5.core
import Pyro5.nameserver
import Pyro5.utils.echoserver
from Pyro5 import config

OFFLINE = ("TestOfflineNameServer", "TestOfflineNameServerTestsSqlStorage")

# Why a test is left out.
IN_PROCESS = "it looks into a name server within the same process"
LEFT_OUT = {
    "TestBCSetup::testBCstart": IN_PROCESS,
    "TestNameServer::testAutoClean": IN_PROCESS,
    **{f"{group}::testNameserverWithStmt": IN_PROCESS for group in OFFLINE},
    **{f"{group}::testStartNSfunc": IN_PROCESS for group in OFFLINE},
    **{f"{group}::testNSmain": "the command line of Pyro's own name server" for group in OFFLINE},
    **{f"{group}::testNAT": "its second half looks into a name server within the same process" for group in OFFLINE},
    **{f"{group}::testRemoveNameThreadSafe": IN_PROCESS for group in OFFLINE},
    **{f"{group}::testEmptyMetadata": "an empty set arrives as () also from Pyro itself" for group in OFFLINE},
}

SERVERS = ("TestServerThreadNoTimeout", "TestServerThreadTimeout")
IN_DAEMON = "it looks into a daemon within the same process"
LOCAL = "it calls no server"
LEFT_OUT |= {
    "TestServerBrokenHandshake::testDaemonConnectFail": IN_DAEMON,
    **{
        f"TestServerOnce::{name}": reason
        for name, reason in {
            "testAutoProxy": IN_DAEMON,
            "testCleanup": IN_DAEMON,
            "testExposedRequired": IN_DAEMON,
            "testNatPortIPv6": IN_DAEMON,
            "testRegisterWeak": IN_DAEMON,
            "testResourceFreeing": IN_DAEMON,
            "testSerializedBlob": LOCAL,
            "testSerializedBlobMessage": LOCAL,
            "testProxySerializedBlobArg": "arguments that stay serialized are not supported",
            "testProxyAnnotations": "annotations do not reach the objects",
            "testPyroTracebackNormal": "the traceback shows a line of Python",
            "testPyroTracebackBatch": "the traceback shows a line of Python",
        }.items()
    },
    **{
        f"{group}::{name}": reason
        for group in SERVERS
        for name, reason in {
            "testTimeoutConnect": IN_DAEMON,
            "testGeneratorLinger": "it changes how long a daemon in the same process keeps streams",
            "testGeneratorNoLinger": "it changes how long a daemon in the same process keeps streams",
        }.items()
    },
    "TestServerThreadTimeout::testException": "it is empty",
    "TestEchoserver::testExposed": LOCAL,
}

# Groups of tests that are left out.
GROUPS_LEFT_OUT = {
    "TestServerMultiplexNoTimeout": "the same tests for another kind of Pyro's own server",
    "TestServerMultiplexTimeout": "the same tests for another kind of Pyro's own server",
    "TestMetaAndExpose": LOCAL,
}


def why_left_out(name):
    group = name.split("::")[0]
    return LEFT_OUT.get(name) or GROUPS_LEFT_OUT.get(group)


class Broker:
    """A name server of this broker."""

    def __init__(self, host, *flags):
        listen = f"{host or '0.0.0.0'}:0"
        command = [PROGRAM, "nameserver", "--listen", listen, "--insecure", "--exit-with-parent", *flags]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        line = self.process.stdout.readline().decode()
        assert line.startswith("ready nameserver "), line
        self.location = line.split()[2]

    def close(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    shutdown = close

    def requestLoop(self):
        """It serves by itself."""


class Broadcast:
    """Its answers to broadcasts."""

    def __init__(self, port):
        self.port = port

    def getPort(self):
        return self.port

    def runInThread(self):
        return self

    def join(self):
        pass

    close = join


def start_ns(host=None, port=None, enableBroadcast=True, bchost=None, bcport=None, **_):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("", 0))
        free = probe.getsockname()[1]
    flags = ["--pyro-broadcast", f"0.0.0.0:{free}"] if enableBroadcast else []
    broker = Broker(host, "--store", "memory:", *flags)
    uri = Pyro5.core.URI(f"PYRO:{Pyro5.core.NAMESERVER_NAME}@{broker.location}")
    return uri, broker, Broadcast(free) if enableBroadcast else None


class NameServer:
    """What the tests take for a name server object in their process. It has no entry of its own."""

    def __init__(self, storageProvider=None):
        self.storage = self
        is_sql = isinstance(storageProvider, Pyro5.nameserver.SqlStorage)
        self.file = f"pyroxene-test-{id(self)}.db" if is_sql else None
        self.broker = Broker("127.0.0.1", "--store", f"sqlite:{self.file}" if is_sql else "memory:")
        self.proxy = Pyro5.client.Proxy(f"PYRO:{Pyro5.core.NAMESERVER_NAME}@{self.broker.location}")
        self.own_name_registered = False
        running.append(self)

    def __getattr__(self, name):
        return getattr(self.proxy, name)

    def register(self, name, *args, **kwargs):
        if name == Pyro5.core.NAMESERVER_NAME:
            self.own_name_registered = True
        return self.proxy.register(name, *args, **kwargs)

    def list(self, *args, **kwargs):
        found = self.proxy.list(*args, **kwargs)
        if not self.own_name_registered:
            found.pop(Pyro5.core.NAMESERVER_NAME, None)
        return found

    def count(self):
        return self.proxy.count() - (0 if self.own_name_registered else 1)

    def close(self):
        self.proxy._pyroRelease()
        self.broker.close()
        if self.file:
            for suffix in ("", "-wal", "-shm"):
                if os.path.exists(self.file + suffix):
                    os.remove(self.file + suffix)


running = []
Pyro5.nameserver.start_ns = start_ns
Pyro5.nameserver.NameServer = NameServer

import test_echoserver
import test_server
import test_server_timeout

numbers = itertools.count()


def setup_once(self):
    config.SERIALIZER = "serpent"
    # Every test has an object of its own.
    self.objectUri = Pyro5.core.URI(f"PYRO:something-{next(numbers)}@{LOCATION}")


def setup_server(self):
    setup_once(self)
    config.POLLTIMEOUT = 0.1
    config.COMMTIMEOUT = self.COMMTIMEOUT


def setup_echo(self):
    self.uri = Pyro5.core.URI(f"PYRO:test.echoserver@{LOCATION}")


def teardown(self):
    config.COMMTIMEOUT = None


for group, setup in (
    (test_server.TestServerOnce, setup_once),
    (test_server.TestServerThreadNoTimeout, setup_server),
    (test_echoserver.TestEchoserver, setup_echo),
):
    group.setup_method, group.teardown_method = setup, teardown


class Report:
    def pytest_collection_modifyitems(self, items):
        kept = []
        for item in items:
            name = item.nodeid.split("::", 1)[1]
            reason = why_left_out(name)
            if reason:
                print(f"left out {name}: {reason}")
            else:
                kept.append(item)
        items[:] = kept

    def pytest_runtest_logreport(self, report):
        name = report.nodeid.split("::", 1)[1]
        if report.when == "call" or report.failed:
            print(f"{report.outcome} {name}")
            if report.failed:
                print(report.longreprtext)

    def pytest_runtest_teardown(self):
        while running:
            running.pop().close()


FILES = ("test_naming.py", "test_server.py", "test_server_timeout.py", "test_echoserver.py")
code = pytest.main(
    ["-p", "no:cacheprovider", "-p", "no:terminal", *(os.path.join(SOURCE, "tests", file) for file in FILES)],
    plugins=[Report()],
)
sys.exit(code)
