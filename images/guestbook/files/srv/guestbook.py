"""A guestbook over HTTP: GET / is the page, GET /lines what was written, POST /lines with a line writes it.

GET /healthz says whether both redis servers answer, and who tells: the page is served by several.
"""

import html
import http.server
import os
import socket

LEADER = os.environ.get("REDIS_LEADER", "redis-leader")
FOLLOWER = os.environ.get("REDIS_FOLLOWER", "redis-follower")
LINES, LINE_CHARACTERS_MAX, SECONDS_MAX = "guestbook", 200, 2.0
PAGE = """<!doctype html><title>Guestbook</title><h1>Guestbook</h1>
<form method=post action=/lines><input name=line autofocus maxlength=200><button>Sign</button></form><ul>%s</ul>
<p><small>told by %s</small></p>"""


def redis(host, *words):
    """What a redis server answers to a command: a text, a number, or a list of texts."""
    sent = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(one), one) for one in map(str.encode, words))
    with socket.create_connection((host, 6379), SECONDS_MAX) as connection, connection.makefile("rb") as answer:
        connection.sendall(sent)
        return read(answer)


def read(answer):
    kind, rest = (line := answer.readline().rstrip())[:1], line[1:]
    if kind == b"-":
        raise OSError(rest.decode())
    if kind == b"$":
        return answer.read(int(rest) + 2)[:-2].decode()
    if kind == b"*":
        return [read(answer) for _ in range(int(rest))]
    return int(rest) if kind == b":" else rest.decode()


class Guestbook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/healthz":
            self.answer_with(lambda: f"{redis(LEADER, 'PING')} {redis(FOLLOWER, 'PING')} {socket.gethostname()}\n")
        elif self.path == "/lines":
            self.answer_with(lambda: "".join(f"{line}\n" for line in lines()))
        elif self.path == "/":
            self.answer_with(lambda: PAGE % (shown(lines()), socket.gethostname()), "text/html")
        else:
            self.say(404, "there is / and /lines\n")

    def do_POST(self):
        size = int(self.headers.get("content-length") or 0)
        if self.path != "/lines" or not 0 < size <= 4 * LINE_CHARACTERS_MAX:
            return self.say(400, "write a line to /lines\n")
        line = self.rfile.read(size).decode(errors="replace").removeprefix("line=").strip()[:LINE_CHARACTERS_MAX]
        self.answer_with(lambda: f"{redis(LEADER, 'RPUSH', LINES, line)} lines\n")

    def answer_with(self, make, kind="text/plain"):
        try:
            self.say(200, make(), kind)
        except OSError as error:
            self.say(503, f"redis does not answer: {error}\n")

    def say(self, code, text, kind="text/plain"):
        body = text.encode()
        self.send_response(code)
        self.send_header("content-type", f"{kind}; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def shown(written):
    return "".join(f"<li>{html.escape(line)}" for line in written)


def lines():
    return redis(FOLLOWER, "LRANGE", LINES, "0", "-1")


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("", 80), Guestbook).serve_forever()
