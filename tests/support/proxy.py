"""A TCP proxy on loopback whose network a test can cut, stall or slow, in the middle of whatever goes on."""
import contextlib
import socket
import struct
import threading
import time

BLOCK = 65536


class Proxy:
    """Two threads a connection. `cut()` resets every connection and refuses others until `mend()`; `pause()` lets
    nothing pass until `resume()`; `delay` holds each block for so many seconds, each way; `cut_after(n)` cuts once n
    more bytes have passed, which is in the middle of something. Both ends may come and go meanwhile."""

    def __init__(self, target, port=0):
        self.target, self.delay = target, 0.0
        self.server = socket.create_server(('127.0.0.1', port), backlog=256)
        self.port = self.server.getsockname()[1]
        self._lock = threading.Lock()
        self._flows = threading.Condition(self._lock)
        self._cut = self._paused = self._closed = False
        self._left = None  # bytes until the cut
        self._pairs = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def cut(self):
        with self._lock:
            self._do_cut()

    def mend(self):
        with self._lock:
            self._cut, self._left = False, None

    def cut_after(self, n):
        with self._lock:
            self._left = max(n, 1)

    def is_cut(self):
        return self._cut

    def pause(self):
        with self._lock:
            self._paused = True

    def resume(self):
        with self._lock:
            self._paused = False
            self._flows.notify_all()

    def close(self):
        with self._lock:
            self._closed, self._paused = True, False
            self._do_cut()
            self._flows.notify_all()
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        for t in self._threads:
            t.join(10)

    def _do_cut(self):
        self._cut, self._left = True, None
        for pair in self._pairs:
            for s in pair:
                _reset(s)
        self._pairs.clear()

    def _accept(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            with self._lock:
                refused = self._cut or self._closed
            try:
                target = None if refused else socket.create_connection(('127.0.0.1', self.target), timeout=5)
            except OSError:
                refused = True
            if refused:
                _reset(client)
                client.close()
                continue
            pair = (client, target)
            with self._lock:
                self._pairs.add(pair)
            for source, sink in (pair, pair[::-1]):
                source.settimeout(None)
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                t = threading.Thread(target=self._carry, args=(pair, source, sink), daemon=True)
                self._threads.append(t)
                t.start()

    def _carry(self, pair, source, sink):
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(BLOCK)
                if self.delay:
                    time.sleep(self.delay)
                data, last = self._allowed(data)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)
                if last:
                    self.cut()
        with self._lock:
            self._pairs.discard(pair)
        for s in pair:
            _reset(s)

    def _allowed(self, data):
        """What of it may pass, once it may, and whether nothing may after it."""
        with self._lock:
            while self._paused:
                self._flows.wait()
            if self._left is None:
                return data, False
            data = data[:self._left]
            self._left -= len(data)
            return data, not self._left


def _reset(s):
    """Ends the connection with RST; the threads that use it close it by letting go."""
    with contextlib.suppress(OSError):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    with contextlib.suppress(OSError):
        s.shutdown(socket.SHUT_RDWR)
