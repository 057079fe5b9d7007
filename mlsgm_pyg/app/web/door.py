"""The door of the demo page: what a visitor's page needs passes, made anew from what was understood of it."""

from __future__ import annotations

import json
import re
import reprlib
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from mlsgm_pyg.app.web.hosts import Hosts
from mlsgm_pyg.app.web.uploads import Uploads

API = '/gradio_api'
UPLOAD, PROGRESS, JOIN, HEAR = (f'{API}/{name}' for name in ('upload', 'upload_progress', 'queue/join', 'queue/data'))
SESSION = re.compile(r'\w{1,40}', re.ASCII)
READ = re.compile(  # What a page reads, beside the small pictures of the examples.
    r'/|/(config|favicon\.ico|manifest\.json|robots\.txt|theme\.css)|/(assets|static)(/(?!\.)[\w.@+-]{1,100}){1,6}'
    rf'|{HEAR}|{API}/(app_id|startup-events|heartbeat/\w{{1,40}})',
    re.ASCII,
)
SLACK = 10_000  # Bytes of a form beside its file.
MAX_STEP = 100_000  # Bytes of a step's request.
PASSED = ('host', 'origin', 'accept', 'if-none-match', 'if-modified-since', 'x-forwarded-host', 'x-forwarded-proto')
# The browser asks no other host for anything, and no other page shows this one in a frame. Gradio's HTML needs eval.
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; base-uri 'self'; frame-ancestors 'none'"
HEADERS = [
    (b'content-security-policy', POLICY.encode()),
    (b'x-frame-options', b'DENY'),
    (b'x-content-type-options', b'nosniff'),
]


@dataclass(frozen=True)
class Step:
    """What the page may ask for: 'uploaded', 'clicked' or 'moved', by the component that starts it."""

    kind: str
    trigger: int


class Door:
    """Lets through what the page asks for, and answers all else in one line. Uploads end here; of a step, Gradio gets
    a new request with the server's own path of an upload, the number of an example, and numbers: it never sees a word
    of the client's that it could take for a path or an address.

    Args:
        app: The ASGI application behind it.
        hosts (Hosts): Who may ask.
        uploads (Uploads): Where uploads go.
        steps (dict[int, Step]): What may be asked for, by Gradio's number of it.
        examples (list[str]): The small pictures that may be read, one for each example.
        waiting (Collection[str]): The sessions that have something to hear.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        hosts: Hosts,
        uploads: Uploads,
        steps: dict[int, Step],
        examples: list[str],
        waiting: Collection[str],
    ):
        self.app, self.hosts, self.uploads, self.steps = app, hosts, uploads, steps
        self.small, self.waiting = [f'{API}/file={path}' for path in examples], waiting

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope['type'] == 'lifespan':
            return await self.app(scope, receive, send)
        if scope['type'] != 'http':
            return await send({'type': 'websocket.close'})

        async def marked(message: dict[str, Any]) -> None:
            if message['type'] == 'http.response.start':
                message['headers'] = [*message['headers'], *HEADERS]
            await send(message)

        try:
            self.hosts.check(scope)
            await self._pass(scope, receive, marked)
        except ClientDisconnect:  # Nobody is left to be answered.
            return
        except HTTPException as error:
            is_step = scope['path'] == JOIN  # The page reads why as JSON, and of an upload as text.
            told = json.dumps({'detail': error.detail}) if is_step else error.detail
            await _answer(
                marked, error.status_code, told, 'application/json' if is_step else 'text/plain; charset=utf-8'
            )

    async def _pass(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        method, path = scope['method'], scope['path']
        if method in ('GET', 'HEAD') and (READ.fullmatch(path) or path in self.small):
            query = self._query(scope) if path == HEAR else ''
            await self.app(_anew(scope, query), receive, send)
        elif (method, path) == ('POST', UPLOAD):
            most = self.uploads.max_bytes + SLACK
            token = await self._upload(Request(scope, _bounded(scope, receive, most)))
            await _answer(send, 200, json.dumps([token]), 'application/json')
        elif (method, path) == ('GET', PROGRESS):  # Not measured: the page is told once that it need not ask.
            await _answer(send, 200, 'data: {"msg": "done"}\n\n', 'text/event-stream')
        elif (method, path) == ('POST', JOIN):
            asked = await Request(scope, _bounded(scope, receive, MAX_STEP)).body()
            body = json.dumps(self._step(asked)).encode()
            await self.app(_anew(scope, body=body), _once(body, receive), send)
        else:
            raise HTTPException(404, 'the page has nothing there')

    def _query(self, scope: dict[str, Any]) -> str:
        session = Request(scope).query_params.get('session_hash', '')
        if session not in self.waiting:
            raise HTTPException(404, 'this session waits for nothing')
        return f'session_hash={session}'

    async def _upload(self, request: Request) -> str:
        try:
            return await self.uploads.take(request)
        except OSError as error:  # A full disk.
            self.uploads.sweep(0)
            told = f'the picture could not be taken in: {error.strerror or error}'
            print(f'error: {told}', file=sys.stderr, flush=True)
            raise HTTPException(507, told) from error

    def _step(self, body: bytes) -> dict[str, Any]:
        """A step of the page, of which nothing but tokens, the number of an example and numbers is the client's; 422 if
        the request is not one that the page makes."""
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise HTTPException(422, 'a step of the page must be JSON') from error
        number = asked.get('fn_index') if isinstance(asked, dict) else None
        step = self.steps.get(number) if type(number) is int else None
        if step is None:
            raise HTTPException(422, f"'fn_index' must be a step of the page: one of {[*self.steps]} {_got(number)}")
        session, data, event = (asked.get(name) for name in ('session_hash', 'data', 'event_data'))
        if not isinstance(session, str) or not SESSION.fullmatch(session):
            raise HTTPException(422, f"'session_hash' must be 1 to 40 letters and digits {_got(session)}")
        length = 4 if step.kind == 'uploaded' else 3
        if not isinstance(data, list) or len(data) != length:
            raise HTTPException(422, f"'data' must be a list of {length} {_got(data)}")
        numbers = [_share(name, value) for name, value in zip(('gamma', 'threshold'), data[-2:])]
        given = [self._picture(data[0])] if step.kind == 'uploaded' else []
        return {
            'data': [*given, None, *numbers],  # What the visitor saw before is kept here, not by the client.
            'event_data': self._example(event) if step.kind == 'clicked' else None,
            'fn_index': number,
            'trigger_id': step.trigger,
            'session_hash': session,
        }

    def _picture(self, given: object) -> dict[str, Any]:
        token = given.get('path') if isinstance(given, dict) else given
        path = self.uploads.find(token)
        if path is None:
            raise HTTPException(422, f'the picture must be one that was uploaded here and not yet shown {_got(token)}')
        return {'path': str(path), 'meta': {'_type': 'gradio.FileData'}}

    def _example(self, event: object) -> dict[str, Any]:
        index = event.get('index') if isinstance(event, dict) else None
        if type(index) is not int or not 0 <= index < len(self.small):
            raise HTTPException(422, f'an example must be a number from 0 below {len(self.small)} {_got(index)}')
        return {'index': index, 'value': None}


def _share(name: str, value: object) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise HTTPException(422, f"'{name}' must be a number in [0, 1] {_got(value)}")
    return float(value)


def _got(value: object) -> str:
    return f'(got {reprlib.repr(value)})'


def _bounded(scope: dict[str, Any], receive: Any, most: int) -> Any:
    """Counts the bytes of a request while they arrive; 413 as soon as there are too many, or are said to come."""
    told = Headers(scope=scope).get('content-length', '0')
    taken = 0
    if int(told) > most:
        raise HTTPException(413, f'a request may have {most:,} bytes (got {int(told):,})')

    async def bounded() -> dict[str, Any]:
        nonlocal taken
        message = await receive()
        taken += len(message.get('body', b''))
        if taken > most:
            raise HTTPException(413, f'a request may have {most:,} bytes (got more)')
        return message

    return bounded


def _once(body: bytes, receive: Any) -> Any:
    """Gives this body, then what happens to the connection."""
    messages = [{'type': 'http.request', 'body': body, 'more_body': False}]

    async def once() -> dict[str, Any]:
        return messages.pop() if messages else await receive()

    return once


def _anew(scope: dict[str, Any], query: str = '', body: bytes | None = None) -> dict[str, Any]:
    """The scope of a request with the headers and the query that are needed, and no others."""
    headers: Iterable[tuple[bytes, bytes]] = [(k, v) for k, v in scope['headers'] if k.decode('latin-1') in PASSED]
    if body is not None:
        headers = [*headers, (b'content-type', b'application/json'), (b'content-length', str(len(body)).encode())]
    return scope | {'headers': [*headers], 'query_string': query.encode()}


async def _answer(send: Any, status: int, text: str, kind: str) -> None:
    body = text.encode()
    headers = [(b'content-type', kind.encode()), (b'content-length', str(len(body)).encode())]
    await send({'type': 'http.response.start', 'status': status, 'headers': headers})
    await send({'type': 'http.response.body', 'body': body})
