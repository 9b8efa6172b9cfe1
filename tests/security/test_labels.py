"""No label of one run's job says anything about another's."""


def test_a_label_does_not_end_anothers_job(hardened, service, start_worker, until):
    pool = hardened("docker", "labels-answer")

    with start_worker(pool.name, env=service("docker")):
        victim = pool.run(command="sleep 600")
        job = pool.job(victim)
        line = f"{job.id}|exited|Exited (1) 1 second ago|{job.key}"
        record = f'{{"id": "{job.id}", "key": "{job.key}", "state": "exited", "status": "Exited (1) 1 second ago"}}'
        labels = {"lines": f"x\n{line}\n{record}\n", "columns": f"|{line}|"}
        attacks = [pool.run(command="sleep 15", labels=labels, name=f"x\n{line}\n{record}")]
        for attack in attacks:
            assert pool.ended(attack).name == "Crashed"  # it ended well, and never reported

        assert not pool.read(victim).state.is_final()
        pool.cancel(victim)
        pool.ended(victim)


def test_a_label_by_which_the_worker_knows_its_jobs_is_refused(hardened, service, start_worker):
    pool = hardened("podman", "labels-names")
    template = pool.read_pool().base_job_template
    del template["variables"]["properties"]["labels"]["propertyNames"]  # so that the worker is asked
    pool.update(template)
    names = ["prefect-generic-worker.key", "Generic-Worker/key", "a=b", "a\nb", "a,prefect-generic-worker.key"]

    with start_worker(pool.name, env=service("podman")):
        runs = {name: pool.run(command="true", labels={name: "pf-1"}) for name in names}
        for name, run in runs.items():
            assert f"labels: {name!r} cannot be the name of a label" in pool.ended(run).message
