"""The ledger: every request and every decision of thirty days, in Parquet files.

Its process takes what workers wrote to the delivery log, and is the only one that writes the files. docs/ledger.md
describes them. The modules need the packages of the extra `ledger` of pyproject.toml.
"""
