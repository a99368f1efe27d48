"""GPS telemetry server with billing-aware device gating: unpaid means hidden, never deaf."""

__version__ = "0.1.0"
