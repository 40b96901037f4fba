"""The shape of the tree: arrows between folders point down only, foreign headers stay behind their one file, every
header compiles alone, and the files are formatted."""
import glob
import os
import re
import subprocess

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
MAY_USE = {
    'common': {'common'},
    'proto': {'common', 'proto'},
    'collector': {'common', 'proto', 'collector'},
    'profiler': {'common', 'proto', 'profiler'},
    'cli': {'common', 'proto', 'collector', 'profiler', 'cli'},
}
# A foreign library is known to one .c file of a folder and to no header that others include.
FOREIGN = ['rocksdb/', 'microhttpd.h', 'simdjson.h', 'curl/', 'waymark.pb-c.h', 'protobuf-c', 'zlib.h', 'librdkafka', 'hiredis', 'openssl', 'gnutls/']
# Those that a family of files knows, and that only by its names.
FAMILIES = {'librdkafka': (r'kafka_\w+\.c$', 'kafka_*.c'), 'rocksdb/': (r'(profiler/|common/log_)store\w*\.c$', 'store*.c'),
            'waymark.pb-c.h': (r'proto/(codec\w*|internal)\.c$', 'proto/codec*.c'),
            'protobuf-c': (r'proto/(pb|codec\w*|internal)\.c$', 'proto/codec*.c')}
# Headers for the one or two files that know the library; nobody else includes them.
PRIVATE = {'proto/pb.h'}


def sources(folder):
    return sorted(glob.glob(f'{ROOT}/{folder}/*.[ch]') + glob.glob(f'{ROOT}/{folder}/*.cc'))


def includes(path):
    with open(path) as f:
        return re.findall(r'^\s*#\s*include\s+[<"]([^">]+)[">]', f.read(), re.M)


def test_arrows_point_down():
    for folder, allowed in MAY_USE.items():
        files = sources(folder)
        assert files, folder
        for path in files:
            for name in includes(path):
                top = name.split('/')[0]
                assert top not in MAY_USE or '/' not in name or top in allowed, f'{path} includes {name}'


def test_foreign_headers_stay_behind_one_file():
    for folder in MAY_USE:
        for foreign in FOREIGN:
            users = [os.path.relpath(p, ROOT) for p in sources(folder) if any(i.startswith(foreign) for i in includes(p))]
            users = [u for u in users if u not in PRIVATE]
            assert all(not u.endswith('.h') for u in users), f'{foreign} in a header: {users}'
            if foreign in FAMILIES:
                pattern, family = FAMILIES[foreign]
                users = sorted({re.sub(pattern, family, u) for u in users})
            assert len(users) <= 1, f'{foreign} is known to several files of {folder}: {users}'


def test_headers_compile_alone():
    for folder in MAY_USE:
        for path in glob.glob(f'{ROOT}/{folder}/*.h'):
            r = subprocess.run(['gcc', '-std=c11', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', '-fsyntax-only', '-I', ROOT,
                                '-x', 'c', '-'], input=f'#include "{os.path.relpath(path, ROOT)}"\n', capture_output=True,
                               text=True)
            assert r.returncode == 0, r.stderr


def test_the_json_shim_is_the_only_cpp():
    found = [f for f in subprocess.run(['git', 'ls-files'], cwd=ROOT, capture_output=True, text=True).stdout.split()
             if re.search(r'\.(cc|cpp|cxx|hpp)$', f)]
    assert found == ['common/json_simdjson.cc'], found


def test_formatted():
    files = [p for folder in [*MAY_USE, 'tests/unit', 'tests/integ', 'tests/fuzz', 'bench'] for p in sources(folder)]
    r = subprocess.run(['clang-format', '--dry-run', '--Werror', *files], capture_output=True, text=True, cwd=ROOT)
    assert r.returncode == 0, r.stderr[:4000]
