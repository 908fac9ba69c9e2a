"""A small DNS server for the tests of peer-finder: answers SRV queries from a JSON file, on 127.0.0.1:53, UDP and TCP.

`python dns_server.py answers.json`; the file: {"zone name": {"steps": [[targets], [targets], ...], "truncate": bool,
"rcode": int}}; each query of a name takes its next step and stays at the last. Queries are printed to queries.log
beside the file.
"""

import json
import pathlib
import socketserver
import struct
import sys
import threading

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset

PATH = pathlib.Path(sys.argv[1])
NAMES = json.loads(PATH.read_text())
ASKED: dict[str, int] = {}


def answer(wire: bytes, udp: bool) -> bytes:
    query = dns.message.from_wire(wire)
    question = query.question[0]
    name = question.name.to_text().rstrip(".").lower()
    edns = f" edns={query.payload}" if query.edns >= 0 else ""
    with open(PATH.parent / "queries.log", "a") as log:
        log.write(f"{name} {question.rdtype.name} {'udp' if udp else 'tcp'}{edns}\n")
    reply = dns.message.make_response(query)
    known = NAMES.get(name)
    if known is None:
        reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply.to_wire()
    if known.get("rcode"):
        reply.set_rcode(known["rcode"])
        return reply.to_wire()
    if udp and known.get("truncate"):
        reply.flags |= dns.flags.TC
        return reply.to_wire()
    at = ASKED.get(name, 0)
    ASKED[name] = at + 1
    targets = known["steps"][min(at, len(known["steps"]) - 1)]
    if targets:
        reply.answer.append(
            dns.rrset.from_text_list(question.name, 5, "IN", "SRV", [f"10 50 0 {target}." for target in targets])
        )
    return reply.to_wire(max_size=65535)


class Udp(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request[1].sendto(answer(self.request[0], True), self.client_address)


class Tcp(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        (length,) = struct.unpack("!H", self.rfile.read(2))
        reply = answer(self.rfile.read(length), False)
        self.wfile.write(struct.pack("!H", len(reply)) + reply)


if __name__ == "__main__":
    tcp = socketserver.ThreadingTCPServer(("127.0.0.1", 53), Tcp)
    threading.Thread(target=tcp.serve_forever, daemon=True).start()
    udp = socketserver.UDPServer(("127.0.0.1", 53), Udp)
    pathlib.Path("/mnt/ready").touch()
    udp.serve_forever()
