import pytest

from generic_worker.cli.trial.ids import other_id


@pytest.mark.parametrize(
    ("known", "other"),
    [
        (["8"], "1000008"),
        (["8.pbs1"], "1000008.pbs1"),
        (["12ab"], "87ab"),
        (["arn:1/task/3f"], "arn:1/task/6f"),
        (["1.pbs1", "2.pbs1", "13.pbs1"], "1000001.pbs1"),
        (["node7-12", "node7-13"], "node7-1000012"),
        (["12.0", "13.0"], "1000012.0"),
        (["1234-5-1", "1238-9-1"], "8765-4-1"),
        (["pf-3fa0-000000", "pf-41b2-000000"], "pf-6fa9-000000"),
        (["calm-panda", "calm-otter"], "calm-cnaqn"),
        (["1", "1"], "1000001"),
    ],
)
def test_an_id_that_nobody_has_differs_where_the_ids_of_jobs_do(known, other):
    assert other_id(known) == other
