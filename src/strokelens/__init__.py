"""Core and penumbra in acute ischemic stroke: found, measured, explained. Research use only; not a medical device."""

__version__ = "0.1.0"
