"""Unlearning algorithms, one a file: `name(original, forget, retain, fit, *, settings) -> unlearned`.

What one declares about itself, such as that it ignores the forget set's targets, are its marks: see
`softtargets.marks.Algorithm`.
"""
