"""Results on disk → paired statistics → tables, figures and a page. Nothing here trains.

Only an audit, which makes the result that it reports on, needs torch.
"""
