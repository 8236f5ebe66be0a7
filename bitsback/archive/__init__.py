"""Files of many chunks, written and read by one process or by several."""
