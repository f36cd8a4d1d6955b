"""What only the stack says of torch while it is imported: nothing here imports it."""

import types


def is_under_way(frame: types.FrameType | None) -> bool:
    """Return whether `frame`, where a signal came, lies within `import torch`.

    torch takes an exception that is raised there for a lack of NumPy, and goes on: the signal would be lost.
    """
    while frame is not None and (frame.f_globals.get("__name__"), frame.f_code.co_name) != ("torch", "<module>"):
        frame = frame.f_back
    return frame is not None
