"""The paper's figures, drawn from models that ship; each is one function of one module."""
