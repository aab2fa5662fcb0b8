"""No raw address stands outside the settings, and no program is started but in one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.source_rules import ADDRESS, ALLOWED, FOLDERS, PROCESS, findings, refused


def planted(root: Path, code: str) -> Path:
    """A tree with one module."""
    (root / "ingest").mkdir()
    (root / "ingest" / "planted.py").write_text(code, encoding="utf-8")
    return root


def test_nothing_stands_where_it_must_not(checkout: Path) -> None:
    found = refused(checkout)
    assert not found, (
        "\n"
        + "\n".join(map(str, found))
        + (
            "\nAn address belongs into the settings (docs/settings.md), a program is started by"
            " runtime.process_exec; what is neither, tests/source_rules.py allows with a reason"
        )
    )


def test_every_exception_is_needed(checkout: Path) -> None:
    assert {(each.file, each.rule) for each in findings(checkout)} >= set(ALLOWED)
    assert all(ALLOWED.values())


def test_every_package_is_looked_at(checkout: Path) -> None:
    packages = {path.parent.name for path in checkout.glob("*/__init__.py")}
    assert packages | {"examples"} == set(FOLDERS)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("URL = 'http://localhost:8080/x'", "localhost"),
        ("URL = 'https://127.0.0.1/'", "127.0.0.1"),
        ("URL = 'http://127.1.2.3'", "127.1.2.3"),
        ("HOST = '0.0.0.0'", "0.0.0.0"),
        ("HOST = '::'", "::"),
        ("URL = f'http://[::1]:{port}'", "::1"),
        ("URL = f'http://{host}:8080/'", "{}:8080"),
        ("URL = 'http://' + 'local' + 'host'", "localhost"),
        ("URL = 'http://' + host + ':9000'", "{}:9000"),
        ("URL = f'''\nhttp://{'127.0.0.1'}\n'''", "127.0.0.1"),
        ("URL = 'http://nexus.tools.svc/health'", "nexus.tools.svc"),
        ("URL = 'http://nexus.tools.svc.cluster.local'", "nexus.tools.svc"),
        ("HOST = b'nexus.cluster.local'", ".cluster.local"),
        ("HOST = '10.1.2.3'", "10.1.2.3"),
        ("HOST = '172.16.0.9'", "172.16.0.9"),
        ("HOST = '192.168.1.1'", "192.168.1.1"),
        ("HOST = '169.254.169.254'", "169.254.169.254"),
        ("HOST = 'fe80::1'", "fe80::1"),
        ("TEMPORAL = 'temporal:7233'", "temporal:7233"),
        ("TEMPORAL = 'temporal.example:7233'", "temporal.example:7233"),
        ("def f(host='localhost'):\n    '''http://localhost'''", "localhost"),
        ("x = {'url': ('a', ['http://localhost'])}", "localhost"),
        ("URL = 'http://%s:8080' % host", "{}:8080"),
        ("URL = 'http://{}:{}'.format('localhost', port)", "localhost"),
        ("URL = 'http://{}'.format(f('localhost'))", "localhost"),
        ("URL = 'http://%s/' % ('10.0.0.1',)", "10.0.0.1"),
        ("HOST = '.'.join(['10', '0', '0', '1'])", "10.0.0.1"),
        ("HOST = '.'.join(('10', '0', part, '1'))", "10.0.{}.1"),
        ("URL = ''.join(['http://', 'local', 'host'])", "localhost"),
        ("URL = f'http://10.0.{net}.1/'", "10.0.{}.1"),
        ("HOST = '192.168.1.' + str(number)", "192.168.1.{}"),
        ("HOST = f'10.{rest}'", "10.{}"),
        ("URL = 'http://2130706433/'", "//2130706433"),
        ("URL = 'http://0x7f.1:80'", "//0x7f.1"),
        ("URL = 'http://127.1'", "//127.1"),
        ("URL = 'http://[::ffff:7f00:1]/'", "//[::ffff:7f00:1]"),
        ("URL = 'http://[0:0:0:0:0:0:0:1]/'", "//[0:0:0:0:0:0:0:1]"),
        ("URL = f'http://{name}.{namespace}.svc/'", "{}.{}.svc"),
        ("HOST = '\uff4cocalhost'", "localhost"),
        ("URL = 'http://metadata.google.internal/'", "metadata.google.internal"),
        ("import ipaddress\nipaddress.ip_address(2130706433)", "ipaddress.ip_address(2130706433)"),
    ],
)
def test_a_planted_address_is_found(tmp_path: Path, code: str, found: str) -> None:
    told = refused(planted(tmp_path, code))
    assert [each.rule for each in told] == [ADDRESS] * len(told)
    assert found in [each.found for each in told]
    assert told[0].file == "ingest/planted.py"


@pytest.mark.parametrize(
    "code",
    [
        '"""http://localhost:8080 in a docstring."""',
        "def f():\n    '''See http://127.0.0.1.'''",
        "PORT = 1\n'''As in http://localhost.'''",
        "# http://localhost\nTIME = '2026-11-28T10:00:00Z'",
        "TIME, ZONE, DAY = '10:30', '+01:00', 'T10:30'",
        "TIME = f'{day}T10:30'",
        "IRI = 'http://www.w3.org/2001/XMLSchema#string'",
        "URL = 'https://platform.example/health'",
        "VERSION = '1.2.3'",
        "HOST = '192.0.2.7'",
        "TEXT = 'a local host of the services'",
        "IRI = 'http://{}/{}'.format(host, 10)",
        "TEXT = ', '.join(['10', '20'])",
        "TEXT = f'{major}.10'",
    ],
)
def test_what_is_no_address_is_left_alone(tmp_path: Path, code: str) -> None:
    assert not refused(planted(tmp_path, code))


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import subprocess", "subprocess"),
        ("import subprocess as quiet", "subprocess"),
        ("from subprocess import run", "subprocess"),
        ("def f():\n    import pty", "pty"),
        ("import ctypes\nctypes.CDLL(None).system(b'x')", "ctypes"),
        ("from ctypes.util import find_library", "ctypes.util"),
        ("import os\nos.system('x')", "os.system"),
        ("import os\nos.popen('x')", "os.popen"),
        ("import os\nos.execvp('x', ['x'])", "os.execvp"),
        ("import os\nos.spawnlp(0, 'x', 'x')", "os.spawnlp"),
        ("import os\nos.posix_spawn('x', ['x'], {})", "os.posix_spawn"),
        ("import os\nos.fork()", "os.fork"),
        ("import os\nrun = os.execv", "os.execv"),
        ("from os import system", "os.system"),
        ("import os\ngetattr(os, 'system')('x')", "getattr(os, 'system')"),
        ("import asyncio\nasyncio.create_subprocess_exec('x')", "asyncio.create_subprocess_exec"),
        ("from asyncio import create_subprocess_shell", "asyncio.create_subprocess_shell"),
        ("loop.subprocess_exec(p, 'x')", "loop.subprocess_exec"),
        ("import multiprocessing\nmultiprocessing.set_executable('x')", None),
        ("import importlib\nimportlib.import_module('subprocess')", "'subprocess'"),
        ("__import__('_posixsubprocess')", "'_posixsubprocess'"),
        ("import paramiko", "paramiko"),
        ("import os as quiet\nquiet.system('x')", "os.system"),
        ("import os\nquiet = os\nquiet.system('x')", "os"),
        ("import os\nf(os)", "os"),
        ("import os\ngetattr(os, name)('x')", "os"),
        ("import os\nvars(os)['system']('x')", "os"),
        ("import os\nos.__dict__['system']('x')", "os.__dict__"),
        ("import shutil\nshutil.os.system('x')", "shutil.os.system"),
        ("import shutil\nquiet = shutil.os", "shutil.os"),
        ("from shutil import os as quiet", "shutil.os"),
        ("from os import *\nsystem('x')", "os.*"),
        ("import posix as p\np.execv('x', ['x'])", "posix.execv"),
        ("from asyncio import create_subprocess_exec as go", "asyncio.create_subprocess_exec"),
        ("f = loop.subprocess_exec\nf(p, 'x')", "loop.subprocess_exec"),
        ("import importlib as i\ni.import_module('sub' + 'process')", "importlib"),
        ("from importlib import import_module as get", "importlib"),
        ("import importlib.util", "importlib.util"),
        ("get = __import__\nget('sub' + 'process')", "__import__"),
        ("import sys\nsys.modules['sub' + 'process']", "sys.modules"),
        ("from sys import modules", "sys.modules"),
        ("import builtins", "builtins"),
        ("exec('import sub' + 'process')", "exec"),
        ("import runpy", "runpy"),
        ("from pkgutil import resolve_name", "pkgutil.resolve_name"),
    ],
)
def test_a_planted_program_is_found(tmp_path: Path, code: str, found: str | None) -> None:
    told = refused(planted(tmp_path, code))
    assert told
    assert {each.rule for each in told} == {PROCESS}
    assert found in [each.found for each in told] or found is None


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.kill(1, 0)\nos.execution = 1",
        "from importlib.resources import files\nfrom importlib import metadata",
        "import re\nre.compile('x')\ngraph.compile()",
        "import multiprocessing\nmultiprocessing.get_context('spawn').Process(target=f)",
        "from multiprocessing.connection import Connection",
        "database.system('x')",
        "'''import subprocess'''",
    ],
)
def test_what_starts_no_program_is_left_alone(tmp_path: Path, code: str) -> None:
    assert not refused(planted(tmp_path, code))
