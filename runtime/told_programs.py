"""Programs that do what their arguments say: interpreters, and those that start other programs.

Invariant: it errs towards a person. A program is known by its name, whatever its folder, version or
ending; one that isn't listed is known by what it is told: an option that names a command, or a
shell with arguments of its own. What a program of somebody's own does with them nobody here knows:
whoever permits it with open arguments answers for that.
Source: https://gtfobins.github.io (what runs what)
"""

from __future__ import annotations

import re
from collections.abc import Sequence

SHELLS = frozenset(
    {
        *("ash", "bash", "busybox", "cmd", "csh", "dash", "elvish", "fish", "ksh", "mksh", "nu"),
        *("powershell", "pwsh", "rbash", "sh", "tcsh", "toybox", "xonsh", "yash", "zsh"),
        *("awk", "bun", "deno", "gawk", "ipython", "jython", "lua", "luajit", "mawk", "nawk"),
        *("node", "nodejs", "perl", "php", "pypy", "python", "ruby", "tclsh"),
    }
)
"""Shells and interpreters: one of them among the arguments, with some of its own, is a command."""

STARTERS = frozenset(
    {
        # As somebody else, somewhere else, at another time, or under other conditions.
        *("at", "batch", "bwrap", "capsh", "catchsegv", "cgexec", "chpst", "chroot", "chrt"),
        *("command", "crontab", "daemonize", "doas", "dtach", "entr", "env", "eval", "exec"),
        *("expect", "fakeroot", "faketime", "firejail", "flock", "gosu", "ionice", "ip", "ld"),
        *("linux", "logsave", "machinectl", "nice", "nohup", "nsenter", "numactl", "parallel"),
        *("pkexec", "prlimit", "proot", "rlwrap", "run-parts", "runuser", "screen", "script"),
        *("setarch", "setpriv", "setsid", "setuidgid", "start-stop-daemon", "stdbuf", "su"),
        *("sudo", "systemd-run", "taskset", "time", "timeout", "tmux", "unbuffer", "unshare"),
        *("watch", "xargs", "xvfb-run"),
        # On other machines and in containers.
        *("ansible", "crictl", "ctr", "docker", "flatpak", "helm", "incus", "kubectl", "lxc"),
        *("mosh", "nc", "ncat", "nerdctl", "oc", "pct", "podman", "qm", "rsh", "rsync", "runc"),
        *("salt", "scp", "sftp", "snap", "socat", "ssh", "sshpass", "terraform", "vagrant"),
        *("virsh", "wget"),
        # By an option, a file they read, or a word of their own language.
        *("ant", "apt", "bazel", "bundle", "bundler", "cargo", "cc", "cmake", "composer", "cpan"),
        *("cpio", "dc", "dnf", "dotnet", "dpkg", "ed", "elixir", "emacs", "erl", "ex", "find"),
        *("ftp", "gcc", "gdb", "gem", "ghci", "git", "gmake", "go", "gradle", "groovy", "guile"),
        *("hg", "iex", "irb", "java", "jshell", "julia", "jupyter", "kotlin", "less", "lldb"),
        *("ltrace", "m4", "make", "man", "mariadb", "meson", "mongo", "mongosh", "mono", "more"),
        *("mvn", "mysql", "nano", "ninja", "nmap", "npm", "npx", "nvim", "ocaml", "octave"),
        *("pacman", "perf", "pip", "pipenv", "pipx", "pnpm", "poetry", "psql", "pytest", "racket"),
        *("rake", "redis-cli", "rpm", "rscript", "runghc", "sbcl", "scala", "sed", "sqlite"),
        *("strace", "svn", "swift", "tar", "tcc", "tcpdump", "ts", "tsx", "uv", "uvx"),
        *("valgrind", "vi", "view", "vim", "wish", "yarn", "yum", "zip"),
    }
)
"""Programs that start others which their arguments name."""

_TELLING = frozenset(
    {
        *("checkpoint-action", "command", "compress-program", "editor", "eval", "exec", "execdir"),
        *(
            "filter",
            "hook",
            "info-script",
            "init-command",
            "init-file",
            "load",
            "new-volume-script",
        ),
        *("ok", "okdir", "pager", "plugin", "preload", "rcfile", "receive-pack", "require", "rsh"),
        *("rsh-command", "rsync-path", "script", "shell", "strip-program", "to-command"),
        *("upload-pack", "use-askpass", "use-compress-program", "wrapper"),
    }
)
"""Options whose values programs carry out."""
_FAMILIES = ("ansible-", "apt-", "docker-", "git-", "incus-", "ld-", "lxc-", "salt-")
_WORD = re.compile(r"[a-z]+")
_EDITION = re.compile(r"[-_.]?[0-9]|\.|-(?:basic|dbg|debug|minimal|nox|real|static|tiny)$")
"""What stands behind a program's name and leaves it the same program: version, edition, ending."""


def is_told(program: str) -> bool:
    """Whether a program does what its arguments say. It is known by its name, whatever its version
    or edition: python3.11, bash-static, node.exe."""
    name = _name(program)
    return _is_of(name, SHELLS) or _is_of(name, STARTERS) or name.startswith(_FAMILIES)


def is_shell(program: str) -> bool:
    """Whether an argument is the name of a shell or an interpreter."""
    return _is_of(_name(program), SHELLS)


def tells(argument: str) -> bool:
    """Whether an argument is an option whose value some program carries out."""
    return argument.startswith("-") and argument.lstrip("-").partition("=")[0].lower() in _TELLING


def starts_a_shell(arguments: Sequence[str]) -> bool:
    """Whether there is a shell or interpreter among arguments that are anybody's to choose, with
    some of its own."""
    return any(is_shell(argument) for argument in arguments[:-1])


def _name(program: str) -> str:
    return program.rstrip("/").rpartition("/")[2].lower()


def _is_of(name: str, names: frozenset[str]) -> bool:
    word = _WORD.match(name)
    if name in names or word is None:
        return name in names
    rest = name[word.end() :]
    return word.group() in names and _EDITION.match(rest) is not None
