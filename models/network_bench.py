"""`bitsback.models.benchmarks.network_bench`, by the name that it had first."""

import runpy

MODULE = "bitsback.models.benchmarks.network_bench"

if __name__ == "__main__":
    runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
