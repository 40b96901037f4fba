"""Compares our reader of JSON with Python's: the same documents accepted, the same trees. Usage: json_check.py PROGRAM
[SEED [COUNT]]; PROGRAM --serve reads documents from standard input and writes trees. Prints the seed of a failure."""
import json
import random
import subprocess
import struct
import sys

sys.setrecursionlimit(20000)
MAX_DEPTH = 1000


class Number(str):
    pass


def no_constant(name):
    raise ValueError(name)


def utf8(text):
    return ''.join('\ufffd' if 0xD800 <= ord(c) <= 0xDFFF else c for c in text).encode()


def dump(v):
    """The form that the program writes too; the depth beside it."""
    if v is None:
        return b'n', 0
    if v is True:
        return b't', 0
    if v is False:
        return b'f', 0
    if isinstance(v, Number):
        return b'#' + v.encode(), 0
    if isinstance(v, str):
        return b'"' + utf8(v).hex().encode(), 0
    children, depth = [], 0
    is_list = isinstance(v, list)
    for item in v if is_list else v.pairs:
        text, d = dump(item if is_list else item[1])
        children.append(text if is_list else b'"' + utf8(item[0]).hex().encode() + b':' + text)
        depth = max(depth, d)
    return (b'[' if is_list else b'{') + b','.join(children) + (b']' if is_list else b'}'), depth + 1


class Pairs:
    def __init__(self, pairs):
        self.pairs = pairs


def expected(doc):
    try:
        value = json.loads(doc.decode(), object_pairs_hook=Pairs, parse_float=Number, parse_int=Number,
                           parse_constant=no_constant)
    except (ValueError, RecursionError):
        return b'invalid'
    text, depth = dump(value)
    return b'invalid' if depth > MAX_DEPTH else text


TEXT = ['a', 'key', ' ', '\n', '\t', '"', '\\', '/', '\0', '\x1f', '\x7f', 'é', '中文', '\u2028', '\u2029', '😀', '\ufffd',
        '\ud83d', '\ude00', '\ud800', '\udfff', '\ud83d\ude00', '\uffff', '\ufeff', 'x' * 70]


def random_string(r):
    out = '"'
    for c in ''.join(r.choice(TEXT) for _ in range(r.choice([0, 1, 1, 2, 3, 8]))):
        o = ord(c)
        if o > 0xFFFF and r.random() < .5:
            o -= 0x10000
            out += '\\u%04x\\u%04X' % (0xD800 + (o >> 10), 0xDC00 + (o & 0x3FF))
        elif 0xD800 <= o <= 0xDFFF or (o <= 0xFFFF and r.random() < .2) or o < 0x20:
            short = {'\n': '\\n', '\t': '\\t'}.get(c)
            out += short if short and r.random() < .5 else r.choice(['\\u%04x', '\\u%04X']) % o
        elif c in '"\\' or (c == '/' and r.random() < .5):
            out += '\\' + c
        else:
            out += c
    return out + '"'


NUMBERS = ['0', '-0', '1', '-1', '10', '0.5', '-0.000001', '1e5', '1E+5', '1e-5', '1e400', '-1e-400', '18446744073709551616',
           '123456789012345678901234567890', '59.970000000000006', '0e0', '0.0', '9' * 80, '1.' + '3' * 40]
BROKEN = ['01', '1.', '.5', '+1', '-', '1e', '1e+', '--1', '0x10', '1_0', 'NaN', 'Infinity', '-Infinity', 'nul', 'nulll',
          'True', "'a'", '"\\x"', '"\\u12g4"', '"\\u12', '"a', 'a"', '[', ']', '{', '}', '[1,]', '{"a":1,}', '{,}', '[,]',
          '{"a"}', '{"a":}', '{1:2}', '{a:1}', '[1 2]', '["a" "b"]', '1"a"', '"a"1', 'null1', '{"a":1 "b":2}', '{"a"::1}',
          '[1]]', '{}{}', '// x', '/**/1', '\f1', '\v1', '\0', '1\0', '\ufeff1', '\u00a01', '', ' ', '"\t"', '"\n"', '"\0"',
          '-01', '1.e5', '0.', '00', '-a', 'tru', 'truefalse', '1,2', ':', ',', '"a":1', '\x1a', '[\x0c]', '{"a"\x1a1}']


def white(r):
    return ''.join(r.choice(' \n\r\t') for _ in range(r.choice([0, 0, 0, 0, 1, 2, 9, 70])))


def random_value(r, depth):
    k = r.random()
    if depth <= 0 or k < .45:
        return r.choice([random_string(r), random_string(r), r.choice(NUMBERS), r.choice(['true', 'false', 'null'])])
    n = r.choice([0, 1, 2, 3, 5])
    if k < .7:
        parts = [white(r) + random_value(r, depth - 1) + white(r) for _ in range(n)]
        return '[' + (','.join(parts) or white(r)) + ']'
    parts = [white(r) + r.choice([random_string(r), '"a"', '"中文"']) + white(r) + ':' + white(r) +
             random_value(r, depth - 1) + white(r) for _ in range(n)]
    return '{' + (','.join(parts) or white(r)) + '}'


def mutate(r, doc):
    doc = bytearray(doc)
    for _ in range(r.choice([1, 1, 1, 2, 4])):
        i = r.randrange(len(doc) + 1)
        k = r.randrange(7)
        if k == 0 and doc:
            doc[i % len(doc)] = r.choice(b'{}[]",:\\0-.eE+ntf \n\x00\x0c\x1a\x1f\x7f\x80\xc0\xe2\xed\xf0\xf4\xff')
        elif k == 1:
            del doc[i:i + r.choice([1, 1, 2, 5])]
        elif k == 2:
            doc[i:i] = r.choice(BROKEN).encode()
        elif k == 3:
            doc[i:i] = bytes([r.randrange(256)])
        elif k == 4:
            del doc[i:]
        elif k == 5 and doc:
            j = r.randrange(len(doc))
            doc[i:i] = doc[min(i, j):max(i, j)][:40]
        else:
            doc[i:i] = r.choice([b'\xed\xa0\x80', b'\xc0\x80', b'\xf4\x90\x80\x80', b'\xe2\x82', b'\\ud83d', b'\\', b'"'])
    return bytes(doc)


def documents(r, count):
    for text in BROKEN + NUMBERS:
        yield text.encode()
        yield ('[%s]' % text).encode()
        yield ('{"a":%s}' % text).encode()
    for d in (1, 31, 32, 33, 999, 1000, 1001, 5000):
        yield b'[' * d + b']' * d
        yield b'{"a":' * d + b'1' + b'}' * d
        yield b'[' * d
    for n in list(range(1, 140)) + [4095, 4096, 70000]:    # every place in a block of 64 bytes
        yield b'"' + b'a' * n + b'"'
        yield b' ' * n + b'{"k":"' + b'\\n' * n + b'"}' + b' ' * n
        yield b'"' + b'\\' * n + b'"'
        yield b'[' + b'a' * n + b'"' + b']'
        yield b' ' * n + b'1"a"'
        yield b' ' * n + b'"a"1'
        yield b' ' * n + b'"a""b"'
    for _ in range(count):
        doc = random_value(r, r.choice([0, 1, 2, 4, 7]))
        doc = (white(r) + doc + white(r)).encode()
        yield doc
        yield mutate(r, doc)
        yield mutate(r, doc)


def main():
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 4000
    docs = list(documents(random.Random(seed), count))
    feed = b''.join(struct.pack('<I', len(d)) + d for d in docs)
    out = subprocess.run([sys.argv[1], '--serve'], input=feed, stdout=subprocess.PIPE)
    lines = out.stdout.split(b'\n')
    if out.returncode != 0:
        sys.exit(f'seed {seed}: the program ended with {out.returncode} after {len(lines) - 1} documents')
    accepted = 0
    for doc, got in zip(docs, lines):
        want = expected(doc)
        accepted += want != b'invalid'
        if got != want:
            sys.exit(f'seed {seed}: {doc[:2000]!r}\n got {got[:2000]!r}\nwant {want[:2000]!r}')
    if len(lines) != len(docs) + 1 or not 0.2 < accepted / len(docs) < 0.9:
        sys.exit(f'seed {seed}: {len(lines) - 1} answers to {len(docs)} documents, {accepted} accepted')
    print(f'seed {seed}: {len(docs)} documents alike, {accepted} of them accepted')


main()
