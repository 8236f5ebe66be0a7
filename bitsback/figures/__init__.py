"""The paper's figures from the shipped models: `paper` has a function for each."""
