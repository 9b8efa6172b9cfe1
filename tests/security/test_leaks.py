"""What one deployment has for a secret changes nothing for others, and nothing where the same word is no secret."""

ENV = {
    "EVIL_TOKEN": "finished",
    "DB_PASSWORD": "/proc/sys/kernel/random/boot_id",
    "POSTGRES_PASSWORD": "busybox:latest",
}


def test_a_deployments_secrets_do_not_blind_the_worker_for_other_jobs(hardened, start_worker, tmp_path):
    pool = hardened("process", "leaks-process")

    with start_worker(pool.name):
        evil = pool.run(command=f"sh -c 'until [ -e {tmp_path}/gate ]; do sleep 0.2; done'", env=ENV)
        pool.job(evil)
        other = pool.run(command="sh -c 'exit 3'")

        assert pool.ended(other).message == f"The process job {pool.job(other).id} ended as finished, exit code 3."
        assert not pool.read(evil).state.is_final()
        (tmp_path / "gate").touch()
        # in its own messages the word is masked, as it has called it a secret
        assert pool.ended(evil).message.endswith(
            "has ended (succeeded (********), exit code 0) and the flow run never reported its own end."
        )


def test_a_secret_that_is_a_word_of_the_image_does_not_crash_the_run(hardened, service, start_worker):
    pool = hardened("podman", "leaks-podman", image="localhost/busybox:latest")

    with start_worker(pool.name, env=service("podman")):
        run = pool.run(command="sh -c 'exit 3'", env=ENV)

        assert pool.ended(run).message == f"The podman job {pool.job(run).id} ended as exited, exit code 3."
