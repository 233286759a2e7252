"""Segment's own clients, unmodified, against a real pipeline over a network that delays and breaks requests.

`python -m tests.clients.node` and `python -m tests.clients.browser` repeat the runs of the suite and print a JSON line
for each. Both need Node and `make clients`; the browser needs Chromium too.
"""
