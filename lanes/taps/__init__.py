"""Taps: copies of a few of the events that pass, made only while a live tail of the console is watched.

`tap` is what a process copies, in memory. `streams` moves the copies to Redis, where the console reads them.
"""
