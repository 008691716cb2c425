"""The machine that measures: its processes, the CPU time they take, and what it is called."""

import os
import platform
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".work" / "bench"
TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """Returns a port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def process(
    command: list[str],
    log: Path,
    ready: Callable[[], bool],
    *,
    environment: Mapping[str, str] | None = None,
    user: pwd.struct_passwd | None = None,
    end: signal.Signals = signal.SIGTERM,
) -> Iterator[int]:
    """Runs a server with all its children until the end of the block, and yields its process id.

    Raises RuntimeError with the end of its log where it stops or is not ready within a minute.
    """
    # Of a session of its own, so that Ctrl-C reaches us first and the order of the ends is ours.
    options: dict[str, Any] = {"start_new_session": True, "env": {**os.environ, **(environment or {})}}
    options |= as_user(user)
    with log.open("ab") as output:
        child = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, **options)
    try:
        _await(child, log, ready)
        yield child.pid
    finally:
        _stop(child, end)


def as_user(user: pwd.struct_passwd | None) -> dict[str, Any]:
    """Returns what starts a process as another user."""
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}


def _await(child: "subprocess.Popen[bytes]", log: Path, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        if child.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{child.args!r} does not run:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)


def _stop(child: "subprocess.Popen[bytes]", end: signal.Signals) -> None:
    child.send_signal(end)
    with suppress(subprocess.TimeoutExpired):
        child.wait(20)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def cpu_seconds(pid: int) -> float:
    """Returns the CPU time of a process and its descendants, those that have ended included."""
    return sum(_family(pid).values()) / TICKS


@contextmanager
def apart(*pids: int) -> Iterator[None]:
    """Keeps processes with their descendants off one core, and to that core us and whom we start."""
    cores = sorted(os.sched_getaffinity(0))
    for pid in pids:
        _keep(pid, cores[:-1] or cores)
    os.sched_setaffinity(0, cores[-1:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
        for pid in pids:
            _keep(pid, cores)


def _keep(pid: int, cores: list[int]) -> None:
    for member in _family(pid):
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{member}/task"):
                os.sched_setaffinity(int(thread), cores)


def _family(pid: int) -> dict[int, int]:
    """Returns a process and its descendants, each with the ticks of CPU it and its ended children took."""
    children: dict[int, list[int]] = {}
    used: dict[int, int] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                stat = Path(entry.path, "stat").read_text()
            except OSError:
                continue
            # The name of the command, in parentheses, may hold anything; behind it are fields 3, 4, …
            fields = stat.rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(entry.name))
            used[int(entry.name)] = sum(map(int, fields[11:15]))
    tree, family = [pid], {}
    while tree:
        member = tree.pop()
        family[member] = used.get(member, 0)
        tree += children.get(member, [])
    return family


def quiet(pid: int) -> None:
    """Waits until a process and its descendants do nothing: then all workers of a server have started."""
    deadline = time.monotonic() + 30
    before = -1.0
    while (now := cpu_seconds(pid)) > before and time.monotonic() < deadline:
        before = now
        time.sleep(0.7)


def named() -> str:
    """Returns what the machine is: its processor, cores, memory and system."""
    info = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kind = models[0] if models else platform.machine()
    return f"{kind}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}"
