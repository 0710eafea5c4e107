"""What the promises of speed are measured by: ``python -m tests.bench [part …]``, a table and JSON."""
