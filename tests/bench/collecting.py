"""A program as it is, which collects its garbage whole whenever it is sent SIGUSR1.

Run as a program: module word...
"""

import gc
import runpy
import signal
import sys

if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, lambda *_: gc.collect())
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
