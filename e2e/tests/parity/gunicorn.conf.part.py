
# From here on: what the tests need to see, and what gunicorn has to be told to be a good neighbour.
loglevel = "debug"
control_socket_disable = True  # its default path is one for all servers of a user


def post_worker_init(worker):
    worker.log.debug("Worker ready (pid: %s)", worker.pid)
