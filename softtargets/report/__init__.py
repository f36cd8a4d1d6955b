"""Results on disk → paired statistics → tables, figures and a page. Nothing here trains or needs torch."""
