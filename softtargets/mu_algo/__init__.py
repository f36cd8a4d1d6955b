"""Unlearning algorithms, one a file: `name(original, forget, retain, fit, *, settings) -> unlearned`.

One on which the forget set's targets have no influence is marked `name.ignores_forget_targets = True`, so that
a run is not judged by them. One with a loss that is defined for distributions alone is marked
`name.needs_distribution = True`, and is refused signed targets before any work. One that does not call `fit` is
marked `name.has_no_loop = True`: it has no first update to be diagnosed. One that does more with a network than
to train it has `name.check_network(model, batch)`, tried before any work: what it raises refuses the network.
"""
