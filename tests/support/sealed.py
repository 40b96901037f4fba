"""What collectors have sealed to the profilers, opened as anybody with their keys would."""
import base64
import ctypes
import os


def opened(cluster, sealed):
    """What a profiler's key opens, with libsodium itself: format, key's id, ephemeral key, nonce, box."""
    with open(os.path.join(cluster.dir, 'keys', 'profiler.key')) as f:
        keys = dict(line.split() for line in f if line.strip() and not line.startswith('#'))
    sodium = ctypes.CDLL('libsodium.so.23')
    head, nonce, box = sealed[:41], sealed[41:65], sealed[65:]
    assert head[0] == 1
    shared, plain = ctypes.create_string_buffer(32), ctypes.create_string_buffer(len(box) - 16)
    assert sodium.crypto_box_beforenm(shared, head[9:], base64.b64decode(keys[head[1:9].hex()])) == 0
    assert sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
        plain, None, None, box, ctypes.c_ulonglong(len(box)), head, ctypes.c_ulonglong(len(head)), nonce, shared) == 0
    return plain.raw
