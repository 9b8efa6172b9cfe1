"""The mark by which a job is found is the worker's: no deployment sets it, and no child run inherits it."""


def test_a_job_whose_deployment_sets_the_mark_is_ended_when_it_is_cancelled(
    hardened, start_worker, processes_of, until
):
    pool = hardened("process", "mark")

    with start_worker(pool.name):
        other = pool.run(command="sleep 300")
        key = pool.job(other).key
        marked = pool.run(command="sleep 300", env={"GENERIC_WORKER_JOB": key, "GENERIC_WORKER_QUEUED": key})
        own = pool.job(marked).key
        until(lambda: processes_of(own), 60)

        assert not set(processes_of(own)) & set(processes_of(key))
        pool.cancel(other)
        assert pool.ended(other).name == "Cancelled"
        until(lambda: not processes_of(key), 60)
        assert processes_of(own)
        pool.cancel(marked)
        assert pool.ended(marked).name == "Cancelled"
        until(lambda: not processes_of(own), 60)
