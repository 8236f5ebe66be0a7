"""`bitsback.models.benchmarks.ruler`, by the name that it had first."""

import runpy

MODULE = "bitsback.models.benchmarks.ruler"

if __name__ == "__main__":
    runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
