"""`bitsback.benchmarks.cluster`, by the name that it had first."""

import runpy

MODULE = "bitsback.benchmarks.cluster"

if __name__ == "__main__":
    runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
