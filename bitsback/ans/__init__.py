"""The ANS stack, bits that go last in and come first out, and codecs on it."""

from .message import DEFAULT_HEADS, Message, flatten, unflatten

__all__ = ["DEFAULT_HEADS", "Message", "flatten", "unflatten"]
