"""What is shipped for Grafana and Prometheus: files, for whoever runs them."""

from pathlib import Path

DASHBOARD = Path(__file__).with_name("tulle.json")
"""To import into Grafana."""
ALERTS = Path(__file__).with_name("alerts.yaml")
"""For `rule_files` of Prometheus."""
