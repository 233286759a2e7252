"""Tests of moving from another destination."""
