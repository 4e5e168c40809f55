# Made by rustcorn-loadtester locustfile of scenario.toml. Change the scenario instead.
from locust import User as _User, events as _events, task as _task
from locust.runners import MasterRunner as _MasterRunner


@_events.init.add_listener
def _only_a_master(environment, **_):
    if not isinstance(environment.runner, _MasterRunner):
        raise SystemExit("this locustfile is for a master: locust --master -f FILE; the load comes from rustcorn-loadtester worker")


class _Rustcorn(_User):
    abstract = True

    @_task
    def _by_rustcorn_loadtester(self):
        pass


class Visitor(_Rustcorn):
    weight = 1
    host = "http://rustcorn.rustcorn.svc.cluster.local"


# --- scenario scenario.toml
#|# What the load is. After a change: rustcorn-loadtester locustfile k8s/base/locust/scenario.toml >k8s/base/locust/locustfile.py
#|name = "rustcorn on Kubernetes"
#|host = "http://rustcorn.rustcorn.svc.cluster.local"
#|
#|[[class]]
#|name = "Visitor"
#|weight = 1
#|wait = "1s"
#|
#|[[class.task]]
#|path = "/"
# --- end of scenario
