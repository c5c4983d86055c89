"""Prometheus metrics of the running appliance, read when asked for. `docs/metrics.md` lists them."""
