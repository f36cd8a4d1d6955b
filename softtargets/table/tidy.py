"""The table as CSV: table.csv has a row for every field, ranking.csv one for every arm across cells."""

from softtargets.report.csv_files import Row, csv_text
from softtargets.report.runs import typed
from softtargets.report.standing import Against, nearest_simple
from softtargets.table.fields import FIRST, Field, Table

TABLE = ("algorithm", "targets", "row", "dataset", "images", "network", "recipe", "forget_set", "cost")
TABLE += ("n", "distance", "floor", "nothing", "left", "left_low", "left_high", "utility_kept", "verdict")
TABLE += ("cost_share", "cost_share_seconds", "cost_prepared_share")
TABLE += ("against_nothing", "p_against_nothing", "retrain", "against_retrain", "p_against_retrain")
TABLE += ("finetune", "against_finetune", "p_against_finetune")
TABLE += ("first_day", "last_day", "code_sha256", "older_runs")
RANKING = ("ranking", "row", "rank", "rank_low", "rank_high", "probability_of_improvement", "cells", "opponents")
RANKING += ("pairs_lost", "pairs")


def table_csv(table: Table) -> str:
    """Return a row for every field of the table."""
    return csv_text(map(_row, table.fields), TABLE)


def ranking_csv(table: Table) -> str:
    """Return a row for every arm that is ranked across cells."""
    lines = [
        {
            "ranking": title,
            "row": one.name,
            "rank": one.rank,
            "rank_low": one.low,
            "rank_high": one.high,
            "probability_of_improvement": one.probability,
            "cells": one.cells,
            "opponents": one.opponents,
            "pairs_lost": one.lost,
            "pairs": one.pairs,
        }
        for title, ranks in table.rankings
        for one in ranks
    ]
    return csv_text(lines, RANKING)


def _row(field: Field) -> Row:
    entry, standing, face = field.entry, field.entry.standing, field.entry.standing.faces[0]
    way, days = entry.ways[FIRST.name], field.dates
    cell = {name.replace(" ", "_"): typed(value) for name, value in field.column.values}
    left = {"left": way.mean, "left_low": way.low, "left_high": way.high}
    nothing, simple = face.against[0], nearest_simple(face.against)
    return (
        {"algorithm": entry.algorithm, "targets": entry.targets, "row": field.row}
        | cell
        | {"n": standing.design.pairs, "distance": face.mean, "floor": face.floor, "nothing": face.nothing}
        | left
        | {"utility_kept": standing.gate.passed, "verdict": field.ranked.cells[5]}
        | {"cost_share": standing.share, "cost_share_seconds": standing.seconds}
        | {"cost_prepared_share": standing.prepared}
        | _against("nothing", nothing)
        | {column: one.reference for column, one in simple.items()}
        | {column: value for name, one in simple.items() for column, value in _against(name, one).items()}
        | {"first_day": days[0], "last_day": days[1]}
        | {"code_sha256": " ".join(field.codes), "older_runs": field.older}
    )


def _against(name: str, one: Against) -> Row:
    """Return the difference to a reference, below 0 where the arm is nearer, and its Holm-adjusted p."""
    return {f"against_{name}": one.paired and one.paired.mean, f"p_against_{name}": one.p}
