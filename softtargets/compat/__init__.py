"""Private and young names of libraries, and what only a traceback says: one module a library.

Each says what goes wrong without it. tests/test_shape.py lets no other module use such names.
"""
