"""An HTTP server that webhooks are posted to, and the check of what it got."""
import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import threading
import time

from support.instance import free_ports

KEY = b'a key of four and twenty'
SECRET = 'whsec_' + base64.b64encode(KEY).decode()


class Receiver:
    """Keeps what it is told; `answer` says what it answers to a request, 0: nothing at all."""

    def __init__(self, answer=None):
        self.answer, self.got, self.lock = answer or (lambda r: 204), [], threading.Lock()
        self.port, = free_ports(1)
        self.server = None

    def start(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers['Content-Length']))
                request = {'path': self.path, 'headers': {k.lower(): v for k, v in self.headers.items()}, 'body': body,
                           'at': time.time(), 'id': self.headers['webhook-id'], 'json': json.loads(body)}
                status = outer.answer(request)
                request['status'] = status
                with outer.lock:
                    outer.got.append(request)
                if not status:
                    self.close_connection = True
                    return
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    self.send_header('Content-Length', '0')
                    self.end_headers()

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self.server = Server(('127.0.0.1', self.port), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={'poll_interval': 0.02})
        self.thread.start()
        return self

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.thread.join()
            self.server = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()

    def taken(self):
        """What was answered with success."""
        with self.lock:
            return [r for r in self.got if r['status'] and 200 <= r['status'] < 300]

    def told(self):
        """Changes by person and audience, each once, in the order in which they were taken first."""
        out, seen = {}, set()
        for r in self.taken():
            if r['id'] not in seen:
                seen.add(r['id'])
                d = r['json']['data']
                out.setdefault((d['id'], d['audience']), []).append(r['json']['type'].split('.')[1])
        return out

    def url(self, path='/hook'):
        return f'http://127.0.0.1:{self.port}{path}'


def hook(name, url, more=''):
    return f'    - {{name: {name}, url: "{url}", secret: {SECRET}, {more or "audiences: all"}}}\n'


def check_signed(r, key=KEY):
    h = r['headers']
    want = base64.b64encode(hmac.new(key, f"{h['webhook-id']}.{h['webhook-timestamp']}.".encode() + r['body'], hashlib.sha256).digest())
    assert h['webhook-signature'] == 'v1,' + want.decode()
    assert abs(int(h['webhook-timestamp']) - r['at']) < 30
    assert h['content-type'] == 'application/json' and 'authorization' not in h and 'x-waymark-forwarded' not in h
