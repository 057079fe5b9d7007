"""A model hub on this machine: the few routes that huggingface_hub asks for to make a repository, push and fetch."""

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = 'hf_stand_in'
COMMIT = 'c0ffee' + '0' * 34


class Hub(ThreadingHTTPServer):
    """Serves :obj:`files`, by (OWNER/NAME, name of a file); keeps what is pushed to it with :obj:`TOKEN`."""

    daemon_threads = True

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.files: dict[tuple[str, str], bytes] = {}
        self.repos: set[str] = set()
        self.stored: dict[str, bytes] = {}  # Large files, by their hash.
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.server_address[1]}'


class Handler(BaseHTTPRequestHandler):
    def handle_one(self) -> None:
        server, length = self.server, int(self.headers.get('Content-Length') or 0)
        body = self.rfile.read(length) if self.command != 'HEAD' else b''
        server.asked.append(f'{self.command} {self.path}')
        is_known = self.headers.get('Authorization') == f'Bearer {TOKEN}'
        owner, _, rest = self.path.lstrip('/').partition('/')
        name, _, rest = rest.partition('/')
        if self.command in ('HEAD', 'GET') and rest.startswith('resolve/'):
            return self.give(f'{owner}/{name}', *rest.split('/', 2)[1:])
        if self.command == 'PUT':  # To an address that was given out.
            server.stored[self.path.rpartition('/')[2]] = body
            return self.answer({})
        if not is_known:
            return self.answer({'error': 'Invalid username or password.'}, 401)
        if self.path == '/api/repos/create':
            made = json.loads(body)
            server.repos.add(f'{made["organization"]}/{made["name"]}' if made.get('organization') else made['name'])
            return self.answer({'url': f'{server.url}/{made.get("organization")}/{made["name"]}'})
        if self.path == '/api/validate-yaml':
            return self.answer({'errors': [], 'warnings': []})
        repo = '/'.join(self.path.split('/')[3:5]) if self.path.startswith('/api/') else f'{owner}/{name}'
        if self.path.endswith('/info/lfs/objects/batch'):
            large = [one | self.upload(one) for one in json.loads(body)['objects']]
            return self.answer({'transfer': 'basic', 'objects': large})
        if '/preupload/' in self.path:
            modes = [
                (one['path'], 'regular' if one['path'].endswith('.md') else 'lfs') for one in json.loads(body)['files']
            ]
            return self.answer(
                {'files': [{'path': path, 'uploadMode': mode, 'shouldIgnore': False} for path, mode in modes]}
            )
        if '/commit/' in self.path:
            for line in map(json.loads, body.splitlines()):
                value = line['value']
                if line['key'] == 'file':
                    server.files[repo, value['path']] = base64.b64decode(value['content'])
                elif line['key'] == 'lfsFile':
                    server.files[repo, value['path']] = server.stored[value['oid']]
            return self.answer({'commitUrl': f'{server.url}/{repo}/commit/{COMMIT}', 'commitOid': COMMIT})
        return self.answer({'error': f'the stand-in has no {self.path}'}, 404)

    do_GET = do_HEAD = do_POST = do_PUT = handle_one

    def upload(self, one: dict) -> dict:
        return {'actions': {'upload': {'href': f'{self.server.url}/api/store/{one["oid"]}', 'header': {}}}}

    def give(self, repo: str, revision: str, path: str) -> None:
        content = self.server.files.get((repo, path))
        if content is None or revision not in ('main', 'v1', COMMIT):
            is_there = any(repo == other for other, _ in self.server.files)
            code = 'RepoNotFound' if not is_there else 'EntryNotFound' if revision == 'main' else 'RevisionNotFound'
            return self.answer({'error': code}, 404, {'X-Error-Code': code})
        return self.answer(content, 200, {'X-Repo-Commit': COMMIT, 'ETag': f'"{hashlib.sha256(content).hexdigest()}"'})

    def answer(self, content: dict | bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        kind = 'application/octet-stream' if isinstance(content, bytes) else 'application/json'
        for key, value in {'Content-Type': kind, 'Content-Length': str(len(data)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(data)

    def log_message(self, *args) -> None:
        pass
