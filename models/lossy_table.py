"""`bitsback.benchmarks.lossy_table`, by the name that it had first."""

import runpy

MODULE = "bitsback.benchmarks.lossy_table"

if __name__ == "__main__":
    runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
