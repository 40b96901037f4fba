"""The messages of proto/waymark.proto by Python's own protobuf: a decoder that shares nothing with ours."""
import functools
import importlib
import os
import subprocess
import sys
import tempfile

PROTO = os.path.join(os.path.dirname(__file__), '..', '..', 'proto')


@functools.lru_cache(None)
def messages():
    """The module with the classes Event, BadEvent, Claim, …"""
    with tempfile.TemporaryDirectory(prefix='waymark-proto-') as folder:
        subprocess.run(['protoc', f'--python_out={folder}', '-I', PROTO, 'waymark.proto'], check=True)
        sys.path.insert(0, folder)
        try:
            return importlib.import_module('waymark_pb2')
        finally:
            sys.path.remove(folder)


def decode(kind, value):
    m = getattr(messages(), kind)()
    m.ParseFromString(value)
    return m


def events(records):
    """The events among records of a topic as confluent_kafka gives them; internal ones have a header and are left out."""
    return [decode('Event', r.value()) for r in records if not r.headers()]
