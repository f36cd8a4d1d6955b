"""Unlearning algorithms, one a file: `name(original, forget, retain, fit, *, settings) -> unlearned`.

`original` and the model that is returned map inputs (n, ...) to logits (n, k); `original` must stay unchanged.
`forget` and `retain` are `Samples`; `fit` is the training loop, which minimises what it is given. An algorithm
declares by marks what a run has to know of it, such as that it ignores the forget set's targets: see
`softtargets.marks.Algorithm`. An algorithm that needs more than these four arguments takes it by a keyword from
`INPUTS`; no setting has such a name.

In the docstrings y is the label of a sample, e_y its one-hot, q its target, p = softmax(logits) the prediction, θ0
the parameters of the original. CE_f and CE_r are mean cross entropies over a batch of the forget and the retain
set.
`α → alpha` says which argument a symbol of the formula is.
"""

INPUTS = ("initialise", "validation", "early_original", "out_of_fold", "train")
"""`initialise()`: a new model by the architecture's own builder, from an initialisation that no other model has.
`validation`: the samples of the validation set. `early_original`: the original's best checkpoint by the likelihood
of the validation labels. `out_of_fold` (n, k): the forget set's logits, each from the teacher that never saw the
sample, for as many folds as the algorithm's setting `folds` says. `train(name, samples, fit)`: a new model,
trained on `samples` and their targets by the run's own recipe; `name` decides its initialisation and batches, and
`fit`, the one that the algorithm has, counts and shows its steps."""
