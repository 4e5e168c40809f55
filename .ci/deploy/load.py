"""An exact number of requests over kept connections, to whichever endpoints are ready: the load, and the Service in front."""

import collections
import http.client
import queue
import threading
import time


class Load:
    """`endpoints` is asked for (ip, port) pairs whenever a connection is opened; the answer of a whole Service."""

    def __init__(self, endpoints, count, users, pause):
        self.endpoints, self.pause = endpoints, pause
        self.statuses, self.failures, self.served = collections.Counter(), [], collections.Counter()
        self.lock, self.todo = threading.Lock(), queue.SimpleQueue()
        for number in range(count):
            self.todo.put(number)
        self.threads = [threading.Thread(target=self.user, args=(number,), daemon=True) for number in range(users)]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def wait(self):
        for thread in self.threads:
            thread.join()
        return self

    def user(self, number):
        connection, place = None, None
        while True:
            try:
                self.todo.get_nowait()
            except queue.Empty:
                return
            if connection is None:
                ready = self.endpoints()
                place = ready[number % len(ready)]
                connection = http.client.HTTPConnection(*place, timeout=30)
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                with self.lock:
                    self.statuses[answer.status] += 1
                    self.served[place[0]] += 1
                if answer.will_close:
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                with self.lock:
                    self.failures.append(f"{place}: {error!r}")
                connection = None
            time.sleep(self.pause)  # a user's, not a wait for something
