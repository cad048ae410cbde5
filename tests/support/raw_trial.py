"""Trials that speak the protocol by hand, to say what `Session` would not."""

PRELUDE = """
import json, mmap, os, signal, socket, sys, time
spec = json.loads(os.environ["NIGHTSHIFT_SPEC"])
control = socket.socket(fileno=spec["control_fd"])
def send(event, **rest):
    control.sendall(json.dumps({"event": event, **rest}).encode() + b"\\n")
def start():
    send("start", params=1, flops_per_token=1.0, device="cpu")
def progress(step, loss=1.0):
    send("progress", step=step, tokens=step, elapsed_s=0.1, loss=loss)
def asked():
    while b'"score"' not in control.recv(1000):
        pass
def hang():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(1000)
"""
"""Goes before the program; it has no session."""
