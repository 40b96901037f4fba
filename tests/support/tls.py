"""An instance that serves TLS on both ports, and talk with it byte by byte. Standard library only."""
import base64
import contextlib
import json
import os
import socket
import ssl
import struct

from support.certificates import Authority, replace
from support.instance import BEACON, Instance


class TlsInstance(Instance):
    """Its files can be replaced: `show`."""

    def __init__(self, rsa=False, **how):
        self.shown = {}
        lines = {}
        for part in ('collector', 'profiler'):
            lines['more_' + part] = f'  tls: {{certificate: {part}.pem, key: {part}.key}}\n' + how.pop('more_' + part, '')
        super().__init__(**lines, **how)
        self.authority = Authority(os.path.join(self.dir, 'authority'))
        self.tls = self.authority.client()
        self.show(*self.authority.sign('first', rsa=rsa))

    def file(self, part, kind):
        return os.path.join(self.dir, f'{part}.{kind}')

    def show(self, cert, key, parts=('collector', 'profiler')):
        for part in parts:
            replace(cert, self.file(part, 'pem'))
            replace(key, self.file(part, 'key'))
            os.chmod(self.file(part, 'key'), 0o600)

    @contextlib.contextmanager
    def connected(self, port=None, context=None):
        with socket.create_connection(('127.0.0.1', port or self.cport), timeout=30) as s, \
                (context or self.tls).wrap_socket(s, server_hostname='127.0.0.1') as t:
            yield t


def post(body, path='/v1/batch', key=BEACON, length=None):
    """The bytes of a request."""
    auth = base64.b64encode((key + ':').encode()).decode()
    return (f'POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {auth}\r\nContent-Type: application/json\r\n'
            f'Content-Length: {len(body) if length is None else length}\r\n\r\n').encode() + body


def batch(*ids, user='u1'):
    return json.dumps({'batch': [{'type': 'track', 'event': 'Seen', 'userId': user, 'messageId': i} for i in ids]}).encode()


class Answers:
    """Reads the answers of one connection in their order."""

    def __init__(self, sock):
        self.sock, self.rest = sock, b''

    def more(self, n=65536):
        got = self.sock.recv(n)
        if not got:
            raise OSError('the connection ended')
        self.rest += got

    def next(self, piece=65536):
        while b'\r\n\r\n' not in self.rest:
            self.more(piece)
        head, _, self.rest = self.rest.partition(b'\r\n\r\n')
        lines = head.decode().split('\r\n')
        fields = {k.lower(): v for k, v in (x.split(': ', 1) for x in lines[1:])}
        length = int(fields.get('content-length', 0))
        while len(self.rest) < length:
            self.more(piece)
        body, self.rest = self.rest[:length], self.rest[length:]
        return int(lines[0].split()[1]), fields, body


def ends(sock):
    """Reads until the peer has ended the connection, in whatever way; what came before."""
    got = b''
    with contextlib.suppress(OSError, ssl.SSLError):
        while True:
            piece = sock.recv(65536)
            if not piece:
                break
            got += piece
    return got


def reset(sock):
    """Ends it without a word."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    sock.close()


def client_hello(context=None):
    """The first bytes of a handshake."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    o = (context or ssl.create_default_context()).wrap_bio(into, out, server_hostname='localhost')
    with contextlib.suppress(ssl.SSLWantReadError):
        o.do_handshake()
    return out.read()
