"""A mail server and a webhook's receiver on real sockets, which may refuse as often as a test wants."""

from __future__ import annotations

import base64
import contextlib
import socketserver
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Heard:
    """What came, and how many of the next ones are refused."""

    messages: list[Any] = field(default_factory=list)
    refuse: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, message: Any) -> bool:
        with self.lock:
            if self.refuse > 0:
                self.refuse -= 1
                return False
            self.messages.append(message)
            return True


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class Receiver:
    """A server in a thread; `stop` ends it. `port` is any free one."""

    def __init__(self, server: socketserver.BaseServer, heard: Heard) -> None:
        self.heard, self._server = heard, server
        self.port: int = server.server_address[1]  # type: ignore[index]
        self._thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def webhook() -> Receiver:
    """Takes POSTs: (path, headers, body) each; refused ones are answered 503."""
    heard = Heard()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            took = heard.take((self.path, dict(self.headers), body))
            self.send_response(204 if took else 503)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Receiver(ThreadingHTTPServer(("127.0.0.1", 0), Handler), heard)


def mail_server(tls: tuple[Path, Path] | None = None, password: str = "") -> Receiver:
    """Speaks SMTP, with STARTTLS where it has a certificate; takes (sender, recipients, text) each."""
    heard = Heard()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
    if context is not None and tls is not None:
        context.load_cert_chain(*tls)

    class Handler(socketserver.StreamRequestHandler):
        def say(self, words: str) -> None:
            self.wfile.write(words.encode() + b"\r\n")
            self.wfile.flush()

        def finish(self) -> None:
            for one in (self.wfile, self.rfile, self.connection):
                with contextlib.suppress(OSError):
                    one.close()

        def handle(self) -> None:
            with contextlib.suppress(OSError):  # who does not believe us goes away
                self.talk()

        def talk(self) -> None:
            sender, to, secured, known = "", [], False, not password
            self.say("220 mail.example")
            while line := self.rfile.readline().decode("ascii", "replace").strip():
                verb = line.split(" ")[0].upper()
                if verb == "EHLO":
                    self.say("250-mail.example")
                    if context is not None and not secured:
                        self.say("250-STARTTLS")
                    self.say("250 AUTH PLAIN" if secured else "250 HELP")
                elif verb == "STARTTLS" and context is not None:
                    self.say("220 go ahead")
                    self.connection = context.wrap_socket(self.connection, server_side=True)
                    self.rfile = self.connection.makefile("rb")
                    self.wfile = self.connection.makefile("wb")
                    secured = True
                elif verb == "AUTH":
                    known = base64.b64decode(line.split(" ")[2]).split(b"\0")[2].decode() == password
                    self.say("235 welcome" if known else "535 no")
                elif verb == "MAIL":
                    sender, to = line, []
                    self.say("250 ok" if known else "530 who are you")
                elif verb == "RCPT":
                    to.append(line)
                    self.say("550 nobody" if "nobody@" in line else "250 ok")
                elif verb == "DATA":
                    self.say("354 go on")
                    text = b""
                    while (row := self.rfile.readline()) != b".\r\n":
                        text += row
                    took = heard.take((sender, tuple(to), text.decode()))
                    self.say("250 taken" if took else "451 later")
                elif verb == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")

    return Receiver(_Server(("127.0.0.1", 0), Handler), heard)
