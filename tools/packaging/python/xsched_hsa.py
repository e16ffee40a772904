"""Says to xsched-hsa what a program's queues don't show: requests, deadlines, priorities.

Nothing but the standard library is needed. Where the layer (libxsched-hsa.so) is not in this process,
every call is a no-op: present() is False, request() still runs its block.

    import xsched_hsa

    with xsched_hsa.request(deadline_ms=50):
        answer = model(batch)
        torch.cuda.synchronize()
"""

import contextlib
import ctypes
import os

__all__ = ["present", "request", "request_begin", "request_end", "set_queue_priority",
           "set_thread_priority", "state", "LOW", "NORMAL", "HIGH", "DEFAULT"]

LOW, NORMAL, HIGH, DEFAULT = 0, 7, 15, -1

_OK, _ABSENT, _BAD_ARGUMENT, _NOT_FOUND, _FULL = range(5)
_TEXTS = {_BAD_ARGUMENT: "a priority is one of 0..15, or DEFAULT",
          _NOT_FOUND: "the layer knows no such queue",
          _FULL: "too many open requests; is request_end missing somewhere?"}


class _State(ctypes.Structure):
    _fields_ = [("size_bytes", ctypes.c_uint32), ("attached", ctypes.c_uint32),
                ("priority", ctypes.c_int32), ("queues", ctypes.c_uint32),
                ("queues_held", ctypes.c_uint32), ("queues_restricted", ctypes.c_uint32),
                ("packets_held", ctypes.c_uint64), ("holds", ctypes.c_uint64),
                ("held_us", ctypes.c_uint64), ("requests_begun", ctypes.c_uint64),
                ("requests_ended", ctypes.c_uint64), ("requests_missed", ctypes.c_uint64)]


_layer = None


def _find():
    """The layer, if ROCr has loaded it into this process by now."""
    global _layer
    if _layer is None:
        try:
            _layer = ctypes.CDLL("libxsched-hsa.so", mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
            _layer.xsched_hsa_layer_request_begin.argtypes = [
                ctypes.c_uint64, ctypes.POINTER(ctypes.c_uint64)]
            _layer.xsched_hsa_layer_request_end.argtypes = [ctypes.c_uint64]
            _layer.xsched_hsa_layer_set_queue_priority.argtypes = [ctypes.c_void_p, ctypes.c_int32]
            _layer.xsched_hsa_layer_set_thread_priority.argtypes = [ctypes.c_int32]
            _layer.xsched_hsa_layer_get_state.argtypes = [ctypes.POINTER(_State)]
        except (OSError, AttributeError):
            _layer = None
    return _layer


def _check(status):
    if status in _TEXTS:
        raise ValueError("xsched_hsa: " + _TEXTS[status])
    return status == _OK


def present():
    """True if the layer is in this process, whether or not a controller is there."""
    return _find() is not None


def request_begin(deadline_ms=None):
    """A request begins; its name, for request_end. 0 without the layer."""
    layer = _find()
    if layer is None:
        return 0
    name = ctypes.c_uint64(0)
    deadline_us = 0 if deadline_ms is None else max(1, int(deadline_ms * 1000))
    # Too many open ones: this one is not counted, and the program goes on.
    layer.xsched_hsa_layer_request_begin(deadline_us, ctypes.byref(name))
    return name.value


def request_end(name):
    layer = _find()
    if layer is not None and name:
        layer.xsched_hsa_layer_request_end(name)


@contextlib.contextmanager
def request(deadline_ms=None):
    """A request for the time of a `with` block. Wait for the device inside it."""
    name = request_begin(deadline_ms)
    try:
        yield name
    finally:
        request_end(name)


def set_queue_priority(queue, priority):
    """`queue` is the address of an hsa_queue_t. True if the layer has taken it."""
    layer = _find()
    return layer is not None and _check(layer.xsched_hsa_layer_set_queue_priority(queue, priority))


def set_thread_priority(priority):
    """Of the queues that this thread makes from now on. True if the layer has taken it."""
    layer = _find()
    return layer is not None and _check(layer.xsched_hsa_layer_set_thread_priority(priority))


def state():
    """What the layer knows of this process, as a dict; None without the layer."""
    layer = _find()
    if layer is None:
        return None
    state_ = _State(size_bytes=ctypes.sizeof(_State))
    if layer.xsched_hsa_layer_get_state(ctypes.byref(state_)) != _OK:
        return None
    return {name: getattr(state_, name) for name, _ in _State._fields_ if name != "size_bytes"}
