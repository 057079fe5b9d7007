"""Whose requests the demo page answers: those that were meant for it, by the page itself."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

LOCAL = ('127.0.0.1', 'localhost', '::1')
AUTHORITY = re.compile(r'(\[[0-9a-f:.]+\]|[\w.-]+)(?::(\d{1,5}))?', re.ASCII | re.IGNORECASE)


class Hosts:
    """Refuses what other pages ask for: under a foreign name (DNS rebinding) or from a foreign origin (cross-site). Its
    own names are those of this machine and of the address listened on; others, such as a proxy's, are allowed."""

    def __init__(self, listening: str, allowed: list[str]):
        self.own = {plain(name) for name in (*LOCAL, listening)}
        self.allowed = {plain(name) for name in allowed}

    def check(self, scope: dict[str, Any]) -> None:
        """Lets a request pass; the address that its connection came to counts as listened on, too.

        If it names another host, or came from a page of another origin, it is answered 403. The port of an origin
        counts as well: another server of this machine is another origin.
        """
        headers = Headers(scope=scope)
        own = self.own | {plain(scope['server'][0])}
        hosts = headers.getlist('host') + [
            host.strip() for line in headers.getlist('x-forwarded-host') for host in line.split(',')
        ]
        named = [_split(host) for host in hosts]
        if not headers.getlist('host') or not all(name in own | self.allowed for name, _ in named):
            raise HTTPException(403, f'the page has no such name: --allow-host lets one in (got Host {_told(hosts)})')
        ports = {port for _, port in named}
        for origin in headers.getlist('origin'):
            scheme, _, authority = origin.partition('://')
            name, port = _split(authority)
            is_own = name in self.allowed or (name in own and port in ports)
            if scheme not in ('http', 'https') or not is_own:
                raise HTTPException(403, f'only the page itself may ask for this (got Origin {_told([origin])})')


def plain(host: str) -> str:
    """One spelling of a name or address: 'LocalHost.' -> 'localhost', '[0::1]' -> '::1'."""
    host = host.strip('[]').removesuffix('.').lower()
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host


def _split(authority: str) -> tuple[str, str | None]:
    """Name and port; '' is the name of what is neither a name nor an address."""
    match = AUTHORITY.fullmatch(authority)
    return (plain(match[1]), match[2]) if match else ('', None)


def _told(values: list[str]) -> str:
    return ', '.join(ascii(value[:100]) for value in values) or 'none'
