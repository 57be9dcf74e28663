"""Tests, their helpers and the benchmark.

A package by this file, although nothing else here needs one: a dependency installs a top-level package of the same
name, which would be found first.
"""
