"""Where things are, what is reported, and the processes: each in a group of its own, all of them ended."""

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

SPIRE = "1.13.3"  # the version that ./install pins
HERE = Path(__file__).resolve().parent
CACHE = Path(
    os.environ.get("COUNTERSIGN_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "countersign"
).absolute()
VENV = CACHE / "venv"
SERVER = CACHE / f"spire-v{SPIRE}" / "spire-server"
AGENT = CACHE / f"spire-v{SPIRE}" / "spire-agent"
WORKLOAD = CACHE / "spire-workload" / "workload"  # ./workload, with go-spiffe
CLIENT = CACHE / "go-clients" / "check"  # the stock clients of tests/clients/go
BINARY = Path(os.environ.get("COUNTERSIGN_BIN") or HERE.parents[2] / "target/debug/countersign").absolute()

passed, failed = 0, 0
children = []  # (name, process), in the order of their start
secrets = []  # what is blotted out of logs besides anything shaped like a JWT


class Broken(Exception):
    """The test cannot go on."""


# --- reporting ---------------------------------------------------------------------------


def blot(text):
    for secret in secrets:
        text = text.replace(secret, "<join token>")
    return re.sub(r"eyJ[\w-]+\.[\w-]+(\.[\w-]*)?", "<token>", text)


def heading(text):
    print(f"--- {text}, at {time.monotonic() - began:.0f} s", flush=True)


def note(text):
    print(f"     {blot(text)}", flush=True)


def check(what, good, seen=""):
    """One line a check. `seen` is shown when it fails; it never holds a token."""
    global passed, failed
    if good:
        passed += 1
        print(f"ok   {what}", flush=True)
    else:
        failed += 1
        print(f"FAIL {what}" + (f": {blot(str(seen))}" if seen != "" else ""), flush=True)
    return good


def same(what, got, want):
    return check(what, got == want, f"got {got!r}, want {want!r}")


def tails(work):
    for log in sorted(work.glob("*.log")):
        print(f"--- the end of {log.stem}'s log ---")
        text = log.read_text(errors="replace").splitlines()[-25:]
        print(blot("\n".join(line[:400] for line in text)) or "(empty)")
    sys.stdout.flush()


# --- processes ---------------------------------------------------------------------------


def die_with_parent():
    # PR_SET_PDEATHSIG: should this script be killed outright, its children go too.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def start(name, work, *command, **more):
    """Starts a process that runs until `end`. What it writes is added to <name>.log, unless `more` says otherwise."""
    with open(work / f"{name}.log", "ab") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=work,
            start_new_session=True,  # a process group of its own, with the pid as its id
            preexec_fn=die_with_parent,
            **{"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **more},
        )
    children.append((name, process))
    return process


def end(name):
    """Ends one process, politely first. True: it went by itself after SIGTERM, with code 0."""
    child = next(each for each in children if each[0] == name)
    children.remove(child)
    process = child[1]
    for how, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            pass
        try:
            return process.wait(patience) == 0
        except subprocess.TimeoutExpired:
            print(f"run: {name} did not end within {patience} s of {how.name}", file=sys.stderr)
    return False


def end_all():
    # Newest first: workloads before countersign before the agents before the servers.
    while children:
        end(children[-1][0])


def all_alive():
    for name, process in children:
        if process.poll() is not None:
            raise Broken(f"{name} ended by itself with code {process.returncode}")


def wait_for(what, seconds, probe):
    """Polls until `probe` gives something true, and gives that. Its last word is told on failure."""
    deadline = time.monotonic() + seconds
    last = "nothing"
    while True:
        all_alive()
        try:
            got = probe()
            if got:
                return got
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            last = error
        if time.monotonic() > deadline:
            raise Broken(f"{what}: not within {seconds} s; last seen: {blot(str(last))}")
        time.sleep(0.1)


def run_once(*command, **more):
    """A command that ends by itself: its exit code, stdout and stderr."""
    done = subprocess.run(
        [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, timeout=30, start_new_session=True, preexec_fn=die_with_parent, **more,
    )
    return done.returncode, done.stdout, done.stderr


def now_ms():
    return int(time.time() * 1000)


began = time.monotonic()
