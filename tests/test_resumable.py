"""Sweeps that resume, of this app and of others: how they are cut, and what is run again."""

import pytest

from softtargets.resumable.arrays import cut, described


@pytest.mark.parametrize(
    ("cells", "cells_per_job", "array_size", "arrays"),
    [
        (3, 1, 1001, [[[0], [1], [2]]]),
        (5, 1, 2, [[[0], [1]], [[2], [3]], [[4]]]),
        (7, 3, 2, [[[0, 3, 6], [1, 4]], [[2, 5]]]),
        (2, 9, 5, [[[0, 1]]]),
        (0, 1, 5, []),
    ],
)
def test_cells_are_cut_into_jobs_and_arrays(cells, cells_per_job, array_size, arrays):
    assert cut(range(cells), cells_per_job, array_size) == arrays


def test_every_cell_is_in_one_job_and_no_array_is_too_large():
    arrays = cut(range(5000), 3, 100)
    jobs = [job for array in arrays for job in array]
    assert sorted(cell for job in jobs for cell in job) == list(range(5000))
    assert {len(job) for job in jobs} == {2, 3}
    assert [len(array) for array in arrays] == [100] * 16 + [67]


def test_a_cut_is_described_in_words():
    assert described(cut(range(1500), 1, 1001)) == "1,500 cells: 2 arrays of at most 1,001 jobs"
    assert described(cut(range(300), 2, 1001)) == "300 cells: 150 jobs of at most 2 cells, in 1 array"
