"""The least a TLS server in Python does: the limit that start-up, memory and rates are held against."""

SERVER = r"""
import asyncio, sys, os, uvloop, httptools, orjson, ssl, sqlite3
from pathlib import Path
sys.path.insert(0, os.environ.get("PETSET_SOURCE", ""))
from petset.base import pki

directory = Path(sys.argv[1])
authority = pki.authority(directory)
tls = pki.server_context(authority.server("api", ["localhost", "127.0.0.1"]), authority.certificate_pem)
client = authority.client("admin", "admin", ("system:masters",))
BODY = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"c"},"data":{"k":"' + b"v" * 900 + b'"}}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY

FRAME = b'{"type":"MODIFIED","object":' + BODY + b"}\n"
CHUNK = b"%x\r\n%b\r\n" % (len(FRAME), FRAME)
watching = []

class Connection(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.parser = transport, httptools.HttpRequestParser(self)
    def data_received(self, data):
        self.parser.feed_data(data)
    def on_url(self, url):
        self.watches = b"watch=true" in url
    def on_message_complete(self):
        if self.watches:
            self.transport.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + CHUNK)
            watching.append(self.transport)
            return
        if self.parser.get_method() == b"PUT":
            for transport in watching:
                transport.write(CHUNK)
        self.transport.write(ANSWER)

async def main():
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
"""

WRITER = r"""
import sqlite3, sys, time
# One table, WAL, synchronous=FULL: `batch` rows of 1 kB a commit, as group commit does at best.
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("pragma journal_mode=wal")
connection.execute("pragma synchronous=full")
connection.execute("create table changes (revision integer primary key, key text, value blob)")
batch, seconds = int(sys.argv[2]), float(sys.argv[3])
value, written, began = b"v" * 1000, 0, time.monotonic()
while time.monotonic() - began < seconds:
    connection.execute("begin")
    connection.executemany("insert into changes (key, value) values (?, ?)", [("k", value)] * batch)
    connection.execute("commit")
    written += batch
print(written / (time.monotonic() - began))
"""
