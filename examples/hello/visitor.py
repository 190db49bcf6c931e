"""Visits the greeter once a second."""

import time
from urllib.request import urlopen

while True:
    with urlopen("http://greeter/") as answer:
        print(answer.status, answer.read().decode().strip())
    time.sleep(1)
