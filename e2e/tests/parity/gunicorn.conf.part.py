loglevel = "debug"


def post_worker_init(worker):
    """Says what rustcorn says by itself, so that tests can wait for it."""
    worker.log.debug("Worker ready (pid: %s)", worker.pid)
