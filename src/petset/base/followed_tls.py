"""A listener's TLS that goes on as its certificate is renewed and as the authorities of clients change.

OpenSSL's callback for a client's hello puts the newest context in the place of the one that the listener was made with,
which counts for the authorities, too. The files of the certificate are looked at then, and at no other time: a new pair
is read when one of them or the authorities have changed; one that cannot be read, or whose halves do not fit yet,
leaves what was until it can.
"""

from __future__ import annotations

import logging
import os
import ssl

from petset.base import pki

log = logging.getLogger("petset.listener")


class FollowedTls:
    def __init__(self, issued: pki.Issued):
        """Raises OSError where the pair cannot be read, or is none."""
        self._issued, self._authorities = issued, ""
        self._seen = self._files()
        self._now = self._made()
        self.context = self._made()  # For the listener; it stays.
        self.context.sni_callback = self._begin

    def believe(self, authorities_pem: str) -> None:
        """Clients may present certificates of these authorities, and of no others, from the next connection on."""
        self._authorities, self._seen = authorities_pem, []

    def _begin(self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        try:
            seen = self._files()
            if seen != self._seen:
                self._now, self._seen = self._made(), seen
        except OSError as error:  # An SSLError is one.
            log.debug("cannot read the certificate in %s yet: %s", self._issued.certificate, error)
        connection.context = self._now

    def _files(self) -> list[tuple[int, int]]:
        found = [os.stat(path) for path in (self._issued.certificate, self._issued.key)]
        return [(one.st_mtime_ns, one.st_ino) for one in found]

    def _made(self) -> ssl.SSLContext:
        made = pki.server_context(self._issued, self._authorities)
        made.verify_mode = ssl.CERT_OPTIONAL  # Of the connection, and so that of its first context, whatever comes.
        return made
